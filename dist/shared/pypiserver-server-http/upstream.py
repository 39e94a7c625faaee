"""What this server builds on in pypiserver, which has no types of its own.

The names come from pypiserver 2.4: `backend.py` (Backend, BackendProxy), `core.py` (PkgFile), `config.py` (Config),
`__init__.py` (app_from_config, setup_routes_from_config), `_app.py` (the routes) and the bottle 0.12 it contains.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pypiserver
from pypiserver import backend, bottle_wrapper, core, pkg_helpers
from pypiserver.config import Config

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    class PkgFile:
        """One file of the index, as pypiserver's pages want it."""

        pkgname: str
        pkgname_norm: str
        version: str
        fn: str | None
        relfn: str | None
        digest: str | None

        def __init__(self, pkgname: str, version: str, fn: str, root: str, relfn: str) -> None: ...  # noqa: D107

    class Backend:
        """Where pypiserver finds and keeps packages."""

        def __init__(self, config: object) -> None: ...  # noqa: D107

    class HTTPError(Exception):
        """An answer that is an error; raising it ends the request."""

        status_code: int
        body: object

        def __init__(self, status: int, body: str, **headers: str) -> None: ...  # noqa: D107
else:
    PkgFile = core.PkgFile
    Backend = backend.Backend
    HTTPError = bottle_wrapper.HTTPError

FileUpload: Any = bottle_wrapper.FileUpload
FormsDict: Any = bottle_wrapper.FormsDict
request: Any = bottle_wrapper.request
response: Any = bottle_wrapper.response
html_escape: Callable[[str], str] = bottle_wrapper.html_escape

INDEX_RULE = "/simple/"
PROJECT_RULE = "/simple/:project/"
FILE_RULE = "/packages/:filename#.*#"

KNOWN_VERSION = "2.4"
KNOWN_METHODS = frozenset(
    {
        "add_package",
        "digest",
        "exists",
        "find_project_packages",
        "find_version",
        "get_all_packages",
        "get_projects",
        "package_count",
        "remove_package",
    }
)
KNOWN_ROUTES = frozenset(
    {("POST", "/"), ("GET", INDEX_RULE), ("GET", PROJECT_RULE), ("GET", FILE_RULE), ("GET", "/health")}
)


class UnknownPypiserverError(RuntimeError):
    """The pypiserver that is installed is not one this server was written for."""


def check() -> None:
    """Make sure that the pypiserver that is installed is known.

    Raises:
        UnknownPypiserverError: Its version, or the interface of its backend, is another.
    """
    version: str = pypiserver.__version__
    if not version.startswith(f"{KNOWN_VERSION}."):
        raise UnknownPypiserverError(f"pypiserver {version} is installed; this server works with {KNOWN_VERSION}.x")
    methods = frozenset(backend.IBackend.__abstractmethods__)
    if methods != KNOWN_METHODS:
        differing = ", ".join(sorted(methods ^ KNOWN_METHODS))
        raise UnknownPypiserverError(f"the backend of pypiserver {version} differs from the known one in: {differing}")


def configuration(root: Path) -> Any:  # noqa: ANN401 - pypiserver has no types
    """Configure pypiserver: no authentication (the gateway has done it), no fallback to another index."""
    arguments = ["run", "-P", ".", "-a", ".", "--disable-fallback", "--hash-algo", "sha256"]
    return Config.from_args([*arguments, "--backend", "simple-dir", str(root)])


def application(configuration: Any, packages: Backend) -> Any:  # noqa: ANN401 - pypiserver has no types
    """Make pypiserver's application over `packages`.

    Raises:
        UnknownPypiserverError: It lacks a route that this server changes the behaviour of.
    """
    configuration.backend = backend.BackendProxy(packages)
    app = pypiserver.setup_routes_from_config(pypiserver.app_from_config(configuration), configuration)
    missing = KNOWN_ROUTES - {(route.method, route.rule) for route in app.routes}
    if missing:
        raise UnknownPypiserverError(f"pypiserver {pypiserver.__version__} has no route {sorted(missing)}")
    return app


def name_and_version(filename: str) -> tuple[str, str] | None:
    """The project's name and the version that pypiserver reads from a file's name, or None if it is no package."""
    if "\n" in filename:
        # Its pattern for wheels can take minutes to find that such a name is none, and holds the interpreter meanwhile.
        return None
    guess: tuple[str, str] | None = pkg_helpers.guess_pkgname_and_version(filename)
    return guess


def version(filename: str) -> str:
    """The version in a file's name, "" if it has none; pypiserver counts a wheel's build tag to it."""
    guess = name_and_version(filename)
    found = guess[1] if guess else ""
    return found.partition("-")[0] if filename.endswith(".whl") else found


def normalised(name: str) -> str:
    """The project's name as PEP 503 compares it."""
    result: str = pkg_helpers.normalize_pkgname(name)
    return result
