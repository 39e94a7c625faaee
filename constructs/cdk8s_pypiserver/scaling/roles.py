"""The two pod templates of a registry with a writer and readers, made of the one that everything is added to."""

from collections.abc import Mapping
from typing import Any

from cdk8s_pypiserver.base.identity import READER, ROLE
from cdk8s_pypiserver.base.manifest import Manifest
from cdk8s_pypiserver.base.variables import variables
from cdk8s_pypiserver.pod.gateway import CONTAINER as GATEWAY
from cdk8s_pypiserver.pod.hardening import PACKAGES_VOLUME
from cdk8s_pypiserver.pod.server import CONTAINER as SERVER


def template_of(role: str, template: Manifest, *, writer: str, shared: bool) -> Manifest:
    """Return the pod template of a role.

    Args:
        role: READER or WRITER.
        template: The template that both have.
        writer: Name of the writer's Service.
        shared: Whether both have the same package volume, so that readers mount it read-only.
    """
    reads, read_only = role == READER, role == READER and shared
    settings = {
        SERVER: {"READERS": "yes", "ROLE": role},
        # A writer's gateway sends nothing on, and leaves the counting to whoever sent it.
        GATEWAY: {"WRITER": writer} if reads else {"READERS": "yes"},
    }
    labels = {**template["metadata"]["labels"], ROLE: role}
    spec = dict(template["spec"])
    for field in ("containers", "initContainers"):
        if field in spec:
            spec[field] = [_container(each, settings, read_only=read_only) for each in spec[field]]
    return {**template, "metadata": {**template["metadata"], "labels": labels}, "spec": spec}


def _container(container: Manifest, settings: Mapping[str, Mapping[str, str]], *, read_only: bool) -> Manifest:
    changed = dict(container)
    if own := settings.get(container["name"]):
        env = [*(each for each in container["env"] if each["name"] not in own), *variables(own)]
        changed["env"] = sorted(env, key=lambda variable: str(variable["name"]))
    if read_only and "volumeMounts" in container:
        # Of the users' own containers too: nobody but the writer changes anything.
        changed["volumeMounts"] = [_read_only(each) for each in container["volumeMounts"]]
    return changed


def _read_only(mount: Mapping[str, Any]) -> Manifest:
    return {**mount, "readOnly": True} if mount["name"] == PACKAGES_VOLUME else dict(mount)
