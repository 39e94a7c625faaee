"""What has a component refused in a layer whose objects are not in the namespace of the registry.

A layer below may have given the registry a namespace. What a component adds in a layer above has none, unless that
layer gives one too: it would be applied elsewhere, and Kustomize finds no references between namespaces. Only when all
is accumulated can this be told, and then Kustomize does nothing but resolve references, of which one with two
candidates is an error. So a component brings two objects that bear one name, which is the reason, and refer to it; the
chart brings a host of that name too, which is asked for first. In its namespace they find the host.
"""

from cdk8s_pypiserver.base.manifest import Manifest

from .names import API_VERSION, stand_in

_HOST = "Host"
_NEWCOMER = "Newcomer"
"""Kinds of these objects: Kustomize resolves references in the alphabetical order of the kinds that they lead to."""
_REASON = "layer-of-a-component-needs-the-namespace-of-its-registry"
_REFERENCE = "host"
_GROUP_OF_ALL, _VERSION = API_VERSION.split("/")
_OTHER_VERSION = "v2"
_PREFIX = "the-"
"""The same for all: of several candidates Kustomize takes those whose prefixes are those of whoever refers to them."""


def host(registry: str) -> Manifest:
    """Return what a chart brings that has the pods of this registry."""
    return {**stand_in(_HOST, _REASON), "apiVersion": f"{registry}.{API_VERSION}"}


def newcomers(concern: str) -> list[Manifest]:
    """Return what a component brings that adds objects."""
    return [
        {**stand_in(_NEWCOMER, _REASON), "apiVersion": f"{_group(concern)}/{version}", _REFERENCE: _REASON}
        for version in (_VERSION, _OTHER_VERSION)
    ]


def references() -> list[Manifest]:
    """Return what a chart adds to the table of references."""
    place = {"kind": _NEWCOMER, "path": _REFERENCE}
    return [{"kind": kind, "fieldSpecs": [place]} for kind in (_HOST, _NEWCOMER)]


def renaming_host() -> list[Manifest]:
    """Return what renames the host, for Kustomize's `transformers`: a reference is looked for among former names."""
    return [_prefix(_PREFIX, {"kind": _HOST})]


def renaming_newcomers(concern: str) -> list[Manifest]:
    """Return what renames the others, to two names: candidates of one name would be taken for one."""
    newcomer = {"group": _group(concern), "kind": _NEWCOMER}
    return [_prefix("upper-", {**newcomer, "version": _OTHER_VERSION}), _prefix(_PREFIX, newcomer)]


def _group(concern: str) -> str:
    return f"{concern}.{_GROUP_OF_ALL}"


def _prefix(prefix: str, kind: Manifest) -> Manifest:
    return {
        "apiVersion": "builtin",
        "kind": "PrefixTransformer",
        "metadata": {"name": prefix.removesuffix("-")},
        "prefix": prefix,
        "fieldSpecs": [{**kind, "path": "metadata/name"}],
    }
