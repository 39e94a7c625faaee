"""A private PyPI on Kubernetes, as cdk8s constructs.

`PyPIServer` is the registry; its spec has a field for each concern. `KustomizeApp` writes charts as Kustomize folders.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .exports import *  # noqa: F403
    from .exports import __all__ as __all__
else:

    def __getattr__(name: str) -> object:
        """Load the constructs, and with them Node.js, when the first is asked for: the commands need none."""
        if name == "__all__" or not name.startswith("__"):
            exports = import_module(".exports", __name__)
            if name == "__all__" or name in exports.__all__:
                return globals().setdefault(name, getattr(exports, name))
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
