"""ConfigMaps of files, named after what is in them: a pod of an earlier revision keeps the files of that revision."""

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from constructs import Construct

from .identity import Identity
from .objects import KubernetesObject, Manifest

_RUNTIME = Path(__file__).resolve().parent.parent / "runtime"
_SHIPPED = (".py", ".conf", ".mtail", ".sh")


@cache
def runtime_files(folder: str) -> Mapping[str, str]:
    """Return the files of a folder of runtime/, such as `gateway` or `server/index`, by name."""
    paths = sorted(path for path in (_RUNTIME / folder).iterdir() if path.suffix in _SHIPPED)
    return {path.name: path.read_text("utf-8") for path in paths}


@cache
def runtime_folders(folder: str) -> tuple[str, ...]:
    """Return the names of the folders in a folder of runtime/."""
    found = (path.name for path in (_RUNTIME / folder).iterdir() if path.is_dir())
    return tuple(sorted(name for name in found if not name.startswith("_")))


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
        super().__init__(scope, id_, kind="ConfigMap", identity=identity, suffix=suffix, content=self._data)
        self.base_name = identity.name_of(suffix)
        self.files = dict(files)

    @property
    def object_name(self) -> str:
        """The name with the hash of the files that are there now."""
        text = "\0".join(part for file in sorted(self.files.items()) for part in file)
        return f"{self.base_name}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"

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
