"""A component that has every image come from a mirror, whose address a ConfigMap of the site says."""

import json

from cdk8s_pypiserver.base.manifest import Manifest

from .names import POD_OWNERS, pod_of

CONFIG_MAP = "mirror-of-images"
"""Name of the ConfigMap that has the address; nothing but these transformers sees it."""
KEY = "prefix"
"""Its key."""
_KINDS = {
    "DaemonSet": "apps/v1",
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "Job": "batch/v1",
    "CronJob": "batch/v1",
}
_NOTHING = "nothing"


def images(manifest: Manifest) -> set[tuple[str, str, str]]:
    """Return kind of list, name and image of each container of an object."""
    pod = pod_of(manifest) or {}
    return {
        (field, container["name"], container["image"])
        for field in ("containers", "initContainers")
        for container in pod.get(field, [])
        if "image" in container
    }


def transformers() -> list[Manifest]:
    """Return what puts the address before the full name of each image, for Kustomize's `transformers`.

    A replacement is refused where the list that it looks into is not there, as init containers are in some pods: so
    there is an init container more while it works.
    """
    targets = [
        {
            "select": {"kind": kind},
            "fieldPaths": [f"{_pod(kind)}.{field}.*.image" for field in ("containers", "initContainers")],
            # An index below the first puts the value before all that is there.
            "options": {"delimiter": "/", "index": -1},
        }
        for kind in _KINDS
    ]
    source = {"kind": "ConfigMap", "name": CONFIG_MAP, "fieldPath": f"data.{KEY}"}
    gone = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIG_MAP}, "$patch": "delete"}
    return [
        *(_patch("with", kind, {"name": _NOTHING, "image": _NOTHING}) for kind in _KINDS),
        _transformer("Replacement", "prefix", replacements=[{"source": source, "targets": targets}]),
        *(_patch("without", kind, {"name": _NOTHING, "$patch": "delete"}) for kind in _KINDS),
        _transformer("Patch", "without-ConfigMap", patch=json.dumps(gone)),
    ]


def _patch(name: str, kind: str, container: Manifest) -> Manifest:
    body: Manifest = {"initContainers": [container]}
    for field in reversed(_pod(kind).split(".")):
        body = {field: body}
    patch = {"apiVersion": _KINDS[kind], "kind": kind, "metadata": {"name": "any"}, **body}
    return _transformer("Patch", f"{name}-{kind}", target={"kind": kind}, patch=json.dumps(patch))


def _transformer(kind: str, name: str, **fields: object) -> Manifest:
    return {"apiVersion": "builtin", "kind": f"{kind}Transformer", "metadata": {"name": name}, **fields}


def _pod(kind: str) -> str:
    return f"{POD_OWNERS[kind == 'CronJob']}.spec".replace("/", ".")
