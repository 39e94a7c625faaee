"""A component that has every image come from a mirror, whose address a ConfigMap of the site says."""

import json

from cdk8s_pypiserver.base.fields import MIRROR
from cdk8s_pypiserver.base.manifest import Manifest

from .names import API_VERSION, POD_OWNERS, pod_of, stand_in

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
_MIRROR = "Mirror"
"""Kind of an object that has the address as its name: Kustomize compares names alone with a regular expression."""
_REASON = (
    f"the {KEY} in {CONFIG_MAP} must be a registry and perhaps a path in it, in lower case, without a scheme, a tag, a "
    "digest and a slash at its end"
)


def images(manifest: Manifest) -> set[tuple[str, str, str]]:
    """Return kind of list, name and image of each container of an object."""
    pod = pod_of(manifest) or {}
    return {
        (field, container["name"], container["image"])
        for field in ("containers", "initContainers")
        for container in pod.get(field, [])
        if "image" in container
    }


def mirror() -> Manifest:
    """Return what stands for the mirror while Kustomize works."""
    return stand_in(_MIRROR, "mirror")


def transformers() -> list[Manifest]:
    """Return what puts the address before the full name of each image, for Kustomize's `transformers`.

    An address that can be before none is an error. A replacement is refused where the list that it looks into is not
    there, as init containers are in some pods: so there is an init container more while it works.
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
    targets.append({"select": {"kind": _MIRROR}, "fieldPaths": ["metadata.name"]})
    source = {"kind": "ConfigMap", "name": CONFIG_MAP, "fieldPath": f"data.{KEY}"}
    gone = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIG_MAP}, "$patch": "delete"}
    right = {"apiVersion": API_VERSION, "kind": _MIRROR, "metadata": {"name": "any"}, "$patch": "delete"}
    # It ends with an error, unless the other one has taken away what it is for.
    wrong = [{"op": "remove", "path": f"/{_REASON}"}]
    return [
        *(_patch("with", kind, {"name": _NOTHING, "image": _NOTHING}) for kind in _KINDS),
        _transformer("Replacement", "prefix", replacements=[{"source": source, "targets": targets}]),
        _transformer("Patch", "right", target={"kind": _MIRROR, "name": MIRROR}, patch=json.dumps(right)),
        _transformer("Patch", "wrong", target={"kind": _MIRROR}, patch=json.dumps(wrong)),
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
