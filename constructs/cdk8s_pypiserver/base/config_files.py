"""ConfigMaps made of the files in runtime/, and the checksums that roll the pods when one changes."""

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib import resources

from cdk8s_plus_27 import k8s
from constructs import Construct

from .identity import Identity


@cache
def runtime_files(folder: str) -> Mapping[str, str]:
    """Return the files of a folder of runtime/ by name."""
    directory = resources.files("cdk8s_pypiserver") / "runtime" / folder
    names = sorted(
        entry.name for entry in directory.iterdir() if entry.name.endswith((".py", ".conf", ".mtail", ".sh"))
    )
    return {name: (directory / name).read_text("utf-8") for name in names}


class ConfigFiles(k8s.KubeConfigMap):
    """A ConfigMap of configuration files.

    Attributes:
        checksums: Annotations for the pod template, one a file, so that a patch of one file touches no other.
    """

    def __init__(
        self, scope: Construct, id_: str, *, metadata: Identity, suffix: str, files: Mapping[str, str]
    ) -> None:
        """Make the ConfigMap `<name>-<suffix>`."""
        super().__init__(scope, id_, metadata=metadata.of(suffix), data=dict(files))
        self._object_name = metadata.name_of(suffix)
        self.checksums = {f"checksum/{suffix}-{name}": _checksum(text) for name, text in files.items()}

    def volume(self, name: str) -> k8s.Volume:
        """Return a volume of the files."""
        return k8s.Volume(name=name, config_map=k8s.ConfigMapVolumeSource(name=self._object_name))


@cache
def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
