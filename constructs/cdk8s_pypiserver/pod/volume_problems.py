"""Why Kubernetes would not take a volume of the pod."""

from collections.abc import Iterator, Mapping
from typing import Any

from cdk8s_pypiserver.base.fields import Label, quantity, refusal

from .container_problems import leads_out

_HOST_PATHS = (
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
)
_MOST = 0o777
"""Of the bits of a mode."""


def problems_of(volume: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with a volume, each beginning with the field that it is about."""
    if reason := refusal(Label, volume["name"]):
        yield f"name ({volume['name']}) {reason}"
    sources = {field: value for field, value in volume.items() if field != "name" and value is not None}
    if len(sources) > 1:
        yield f"{' and '.join(sources)} cannot be had together: a volume has one source"
    for field, source in sources.items():
        if field == "projected":
            yield from _modes(field, source)
            for each in source.get("sources") or ():
                for kind, inner in each.items():
                    yield from _files(f"projected.sources.{kind}", inner or {}, named="name")
        elif field in {"configMap", "secret", "downwardAPI"}:
            yield from _files(field, source, named="secretName" if field == "secret" else "name")
        elif field == "emptyDir":
            yield from _scratch(source)
        elif field == "hostPath":
            yield from _of_the_node(source)


def _files(field: str, source: Mapping[str, Any], *, named: str) -> Iterator[str]:
    if field.rpartition(".")[2] in {"configMap", "secret"} and not source.get(named):
        yield f"{field}.{named} (None) must be set"
    yield from _modes(field, source)
    for item in source.get("items") or ():
        if leads_out(item["path"]):
            yield f"{field}.items.path ({item['path']}) must be a path within the volume, without / first or .."
        yield from _modes(f"{field}.items", item)


def _modes(field: str, source: Mapping[str, Any]) -> Iterator[str]:
    for mode in ("defaultMode", "mode"):
        if not 0 <= (source.get(mode) or 0) <= _MOST:
            yield f"{field}.{mode} ({source[mode]}) must be from 0 to {_MOST}, which is 0777"


def _scratch(source: Mapping[str, Any]) -> Iterator[str]:
    medium, size = source.get("medium") or "", source.get("sizeLimit")
    if medium not in {"", "Memory"} and not medium.startswith("HugePages"):
        yield f"emptyDir.medium ({medium}) must be Memory or HugePages, or be left out"
    if size is not None:
        try:
            quantity(str(size))
        except ValueError as error:
            yield f"emptyDir.sizeLimit ({size}) {error}"


def _of_the_node(source: Mapping[str, Any]) -> Iterator[str]:
    kind, path = source.get("type") or "", source["path"]
    if kind and kind not in _HOST_PATHS:
        yield f"hostPath.type ({kind}) must be {' or '.join(_HOST_PATHS)}"
    if ".." in path.split("/"):
        yield f"hostPath.path ({path}) must be without .."
