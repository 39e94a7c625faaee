"""ConfigMaps of files, named after what is in them: a pod of an earlier revision keeps the files of that revision."""

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from constructs import Construct

from .identity import Identity
from .manifest import Manifest
from .objects import KubernetesObject

_PACKAGE = Path(__file__).resolve().parent.parent
_RUNTIME = _PACKAGE / "runtime"
_NOT_SUBSTITUTED = {"kustomize.toolkit.fluxcd.io/substitute": "disabled"}
"""Flux would take `${…}` in a shell script for a variable of its own (`postBuild.substitute`)."""
_SHIPPED = (".py", ".conf", ".mtail", ".sh", ".txt")


@cache
def runtime_files(folder: str) -> Mapping[str, str]:
    """Return the files of a folder of runtime/, such as `gateway` or `server/index`, by name."""
    paths = sorted(path for path in (_RUNTIME / folder).iterdir() if path.suffix in _SHIPPED)
    return {path.name: path.read_text("utf-8") for path in paths}


@cache
def command_files() -> Mapping[str, str]:
    """Return the files of `python -m cdk8s_pypiserver.moving`, and what its libraries are, by path in the package."""
    moving = (path for path in (_PACKAGE / "moving").iterdir() if path.suffix in {".py", ".txt"})
    paths = [_PACKAGE / "__init__.py", *sorted(moving)]
    return {str(path.relative_to(_PACKAGE)): path.read_text("utf-8") for path in paths}


@cache
def runtime_folders(folder: str) -> tuple[str, ...]:
    """Return the names of the folders in a folder of runtime/."""
    found = (path.name for path in (_RUNTIME / folder).iterdir() if path.is_dir())
    return tuple(sorted(name for name in found if not name.startswith("_")))


# Of the same files in many registries, and time and again until they are written.
@cache
def _digest(files: tuple[tuple[str, str], ...]) -> str:
    text = "\0".join(part for file in files for part in file)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


class ConfigFiles(KubernetesObject):
    """A ConfigMap of files, immutable and called `<name>-<suffix>-<hash of the files>`.

    A changed file makes another object and so rolls the pods; a rollback names the former one, which is still there.

    Attributes:
        base_name: The name without the hash.
        files: The files by name, to be added to until synth.
    """

    def __init__(
        self, scope: Construct, id_: str, *, identity: Identity, suffix: str, files: Mapping[str, str]
    ) -> None:
        """Make the ConfigMap; `files` are those that are known now."""
        super().__init__(
            scope,
            id_,
            kind="ConfigMap",
            identity=identity,
            suffix=suffix,
            annotations=_NOT_SUBSTITUTED,
            content=self._data,
        )
        self.base_name = identity.name_of(suffix)
        self.files = dict(files)

    @property
    def object_name(self) -> str:
        """The name with the hash of the files that are there now."""
        return f"{self.base_name}-{_digest(tuple(sorted(self.files.items())))}"

    def volume(self, name: str) -> Manifest:
        """Return a volume of the files."""
        return {"name": name, "configMap": {"name": self.object_name}}

    def to_json(self) -> Any:  # noqa: ANN401 - as in cdk8s
        """Return the object, under the name that its files give it."""
        manifest = super().to_json()
        manifest["metadata"]["name"] = self.object_name
        return manifest

    def _data(self) -> Manifest:
        return {"data": self.files, "immutable": True}
