"""Strategic-merge patches: the difference between two versions of an object, as Kustomize and kubectl merge it."""

from cdk8s_pypiserver.base.manifest import Manifest

# The merge keys of the Kubernetes API (patchMergeKey in k8s.io/api/core/v1 and networking/v1); every other list is
# replaced as a whole.
_MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "volumeMounts": "mountPath",
    "topologySpreadConstraints": "topologyKey",
}
_SERVICE_OR_CONTAINER_PORT = {"Service": "port"}


def merge_key(kind: str, field: str) -> str | None:
    """Return the key by which the items of a list are told apart, or None if the list is one value."""
    if field == "ports":
        return _SERVICE_OR_CONTAINER_PORT.get(kind, "containerPort")
    return _MERGE_KEYS.get(field)


def patch_between(old: Manifest, new: Manifest) -> Manifest:
    """Return the strategic-merge patch that turns `old` into `new`; empty if they are equal.

    Raises:
        ValueError: an item of a merged list went away, which such a patch should not do behind a user's back.
    """
    return _mapping(new["kind"], old, new)


def _mapping(kind: str, old: Manifest, new: Manifest) -> Manifest:
    patch: Manifest = {field: None for field in old if field not in new}
    for field, value in new.items():
        if field not in old:
            patch[field] = value
        elif old[field] != value:
            patch[field] = _changed(kind, field, old[field], value)
    return patch


def _changed(kind: str, field: str, old: object, new: object) -> object:
    if isinstance(old, dict) and isinstance(new, dict):
        return _mapping(kind, old, new)
    key = merge_key(kind, field)
    if key and isinstance(old, list) and isinstance(new, list):
        return _items(kind, field, key, old, new)
    return new


def _items(kind: str, field: str, key: str, old: list[Manifest], new: list[Manifest]) -> list[Manifest]:
    before = {item[key]: item for item in old}
    gone = before.keys() - {item[key] for item in new}
    if gone:
        raise ValueError(f"{kind}: {field} must not lose items in a component (lost {sorted(gone)})")
    changed = [(item, before.get(item[key])) for item in new if before.get(item[key]) != item]
    return [{key: item[key], **_mapping(kind, earlier, item)} if earlier else item for item, earlier in changed]
