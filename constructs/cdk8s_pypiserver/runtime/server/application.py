"""The WSGI application."""

from __future__ import annotations

import pypiserver
from pypiserver.config import Config
from settings import Settings


def create() -> object:
    """Build the application from the environment."""
    settings = Settings.from_environment()
    config = Config.from_args(
        ["run", "-P", ".", "-a", ".", "--disable-fallback", "--backend", "simple-dir", str(settings.packages_directory)]
    )
    return pypiserver.setup_routes_from_config(pypiserver.app_from_config(config), config)
