"""A restore drill: what is kept elsewhere is restored, served by the server itself, and compared with the registry."""

from __future__ import annotations

import logging
import os
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from backup.comparing import Index, compare
from backup.problems import RunError
from backup.restoring import Restore
from backup.source import Volume
from backup.target import VolumeTarget
from server.index import findings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backup.comparing import Comparison
    from backup.store import Listed, Store

_PATIENCE_SECONDS = 300
_PAUSE_SECONDS = 0.2
_SHOWN = 10
_log = logging.getLogger("drill")


class Drill:
    """A run, in a directory that is thrown away."""

    def __init__(self, store: Store, registry: Index, scratch: Path, *, port: int) -> None:
        """Restore from `store` into `scratch`, serve it on loopback at `port`, and compare it with `registry`."""
        self._store = store
        self._registry = registry
        self._scratch = scratch
        self._port = port

    def run(self, there: Listed) -> tuple[str, Comparison]:
        """Return which backup it was, and what was found.

        Args:
            there: What the store has.

        Raises:
            RunError: It cannot be restored or served, or is not what the registry has.
        """
        packages = self._scratch / "packages"
        packages.mkdir(exist_ok=True)
        restore = Restore(Volume(packages), self._store, VolumeTarget(packages, self._store))
        plan = restore.plan("", there)
        restored = restore.run(plan)
        _log.info("restored %d files of %s", restored, plan.manifest.made)
        with self._served(packages):
            found = compare(Index(self._url), self._registry, plan.manifest.made)
        _log.info("%s", found)
        if found.different:
            told = "; ".join(found.different[:_SHOWN])
            raise RunError("different", f"{len(found.different)} files are not as the registry shows them: {told}")
        return plan.manifest.made, found

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @contextmanager
    def _served(self, packages: Path) -> Iterator[None]:
        """Run the server of a registry on a directory."""
        directory = Path(findings.__file__).parents[1]
        command = ["gunicorn", "--config", str(directory / "pod" / "gunicorn.conf.py")]
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._scratch),
            "TMPDIR": str(self._scratch),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PACKAGES_DIRECTORY": str(packages),
            "PAGES_DIRECTORY": str(self._scratch / "pages"),
            # It does not start without a user; nobody else reaches its port.
            "INITIAL_PASSWORD": "yes",
            "CREDENTIALS_DIRECTORY": str(self._scratch / "nobody"),
        }
        (self._scratch / "pages").mkdir(exist_ok=True)
        with subprocess.Popen([*command, "--bind", f"127.0.0.1:{self._port}"], env=environment) as process:
            try:
                self._wait(process)
                yield
            finally:
                process.terminate()

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + _PATIENCE_SECONDS
        ask = build_opener(ProxyHandler({}))
        while time.monotonic() < end:
            if process.poll() is not None:
                raise RunError(
                    "server", f"the server does not start on what was restored: it ended with {process.returncode}"
                )
            with suppress(URLError, OSError), ask.open(f"{self._url}/-/ready", timeout=_PATIENCE_SECONDS):
                return
            time.sleep(_PAUSE_SECONDS)
        raise RunError("server", f"the server was not ready within {_PATIENCE_SECONDS} s on what was restored")
