"""What lets a namePrefix, nameSuffix or namespace of any Kustomize layer reach every place where a registry is named.

Kustomize renames objects and what refers to them by its own tables. It knows no references in labels and selectors,
where a registry's name tells its pods from those of another, nor names of objects that are not there, such as Secrets.
So each chart brings objects that stand for such names, which Kustomize renames as it renames any object and then leaves
out, being marked as local, and a table of the places that refer to them.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from cdk8s_pypiserver.base.manifest import Manifest

API_VERSION = "cdk8s-pypiserver/v1"
INSTANCE = "app.kubernetes.io/instance"
"""The label that has the name of a registry."""
POD_OWNERS = ("spec/template", "spec/jobTemplate/spec/template")
"""Where the template of pods is: in a CronJob at the second place, in every other kind at the first."""
_CLAIM = "spec/volumes/persistentVolumeClaim/claimName"
_JOB_SECRET = "spec/jobTemplate/spec/template/spec/containers/env/valueFrom/secretKeyRef/name"  # noqa: S105 - a place
_TERMS = (
    "preferredDuringSchedulingIgnoredDuringExecution/podAffinityTerm/labelSelector",
    "requiredDuringSchedulingIgnoredDuringExecution/labelSelector",
)


def stand_in(kind: str, name: str, namespace: str | None = None) -> Manifest:
    """Return an object that is there while Kustomize works and is not in what it makes."""
    metadata: Manifest = {"annotations": {"config.kubernetes.io/local-config": "true"}, "name": name}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata}


class Names:
    """The names in the objects of a chart that follow the registry's: its own and those that begin with it.

    Other names, such as that of a Secret that was there before, stay as they are.
    """

    def __init__(
        self, manifests: Iterable[Manifest], composed: Iterable[Manifest] = (), added: Iterable[Manifest] = ()
    ) -> None:
        """Look for the names.

        Args:
            manifests: The objects of the chart.
            composed: Objects as components make them of charts with pods. Two components may refer to the same name,
                so the charts bring it.
            added: The objects that components add.
        """
        manifests = list(manifests)
        # Two kinds of chart, whose stand-ins may meet in one kustomization: one with the pods, one with their volume.
        self._prefix = "" if any(pod_of(each) and each["kind"] != "CronJob" for each in manifests) else "Volume"
        composed, added = ([], []) if self._prefix else (list(composed), list(added))
        self._registries = sorted({name for manifest in manifests if (name := _registry(manifest))})
        made = {manifest["metadata"]["name"] for manifest in manifests if manifest["kind"] == "PersistentVolumeClaim"}
        everything = [*manifests, *composed]
        self._secrets = self._derived(each for manifest in everything for each in _secrets(manifest))
        # A volume names its driver's Secret with a namespace, and Kustomize would give that to the same name without.
        namespaced = {name for name, namespace in self._secrets if namespace}
        self._beside = [name for name, namespace in self._secrets if not namespace and name in namespaced]
        self._secrets = [each for each in self._secrets if each[1] or each[0] not in namespaced]
        self._services = self._derived((name, "") for manifest in everything for name in _services(manifest))
        self._claims = self._derived((name, "") for each in everything for name in _claims(each) if name not in made)
        self._objects = self._derived((manifest["metadata"]["name"], "") for manifest in added)
        self._added_kinds = sorted({manifest["kind"] for manifest in added})

    @property
    def host(self) -> str | None:
        """The registry whose pods these are, if there are any; the first of several."""
        return self._registries[0] if self._registries and not self._prefix else None

    def stand_ins(self) -> list[Manifest]:
        """Return the objects that stand for the names."""
        return [
            *(stand_in(f"{self._prefix}RegistryName", name) for name in self._registries),
            *(stand_in(f"{self._prefix}SecretName", name, namespace) for name, namespace in self._secrets),
            *(stand_in(f"{self._prefix}JobSecretName", name) for name in self._beside),
            *(stand_in("ServiceName", name) for name, _ in self._services),
            *(stand_in(f"{self._prefix}ClaimName", name) for name, _ in self._claims),
            *(stand_in("ComponentObjectName", name) for name, _ in self._objects),
        ]

    def references(self) -> Manifest:
        """Return the table of the places that refer to them, as Kustomize's `configurations` take it."""
        # What a component adds is called as the registry is, also where its prefix was given in a layer below.
        added = [{"path": "metadata/name", "kind": kind} for kind in self._added_kinds]
        tables = {
            f"{self._prefix}RegistryName": [*({"path": path} for path in sorted(_registry_places())), *added],
            f"{self._prefix}SecretName": [{"path": path} for path in sorted(_secret_places())],
            f"{self._prefix}JobSecretName": [{"path": _JOB_SECRET} for _ in self._beside[:1]],
            f"{self._prefix}ClaimName": [{"path": f"{owner}/{_CLAIM}"} for owner in POD_OWNERS],
            # The variable that tells readers of the writer's Service has nothing but that name as its value.
            "ServiceName": [{"path": f"{owner}/spec/containers/env/value"} for owner in POD_OWNERS if self._services],
            "ComponentObjectName": added,
        }
        return {"nameReference": [{"kind": kind, "fieldSpecs": places} for kind, places in tables.items() if places]}

    def _derived(self, names: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        return sorted(each for each in set(names) if any(each[0].startswith(f"{name}-") for name in self._registries))


def _registry_places() -> list[str]:
    label = INSTANCE.replace("/", "\\/")
    selectors = [
        "spec/selector",
        "spec/podSelector",
        "spec/ingress/from/podSelector",
        "spec/egress/to/podSelector",
        *(
            f"{owner}/spec/affinity/{affinity}/{term}"
            for owner in POD_OWNERS
            for affinity in ("podAffinity", "podAntiAffinity")
            for term in _TERMS
        ),
        *(f"{owner}/spec/topologySpreadConstraints/labelSelector" for owner in POD_OWNERS),
    ]
    return [
        f"metadata/labels/{label}",
        f"spec/jobTemplate/metadata/labels/{label}",
        *(f"{owner}/metadata/labels/{label}" for owner in POD_OWNERS),
        f"spec/selector/{label}",
        # The host of the Service, in the pods of a CronJob.
        "spec/jobTemplate/spec/template/spec/containers/env/value",
        *(f"{selector}/matchLabels/{label}" for selector in selectors),
    ]


def _secret_places() -> list[str]:
    inside = [
        "volumes/secret/secretName",
        "volumes/projected/sources/secret/name",
        *(
            f"{kind}/{place}"
            for kind in ("containers", "initContainers")
            # A variable that names a Secret has nothing but its name as its value.
            for place in ("env/value", "env/valueFrom/secretKeyRef/name", "envFrom/secretRef/name")
        ),
    ]
    return [
        *(f"{owner}/spec/{place}" for owner in POD_OWNERS for place in inside),
        "spec/tls/secretName",
        # Of cert-manager's Certificate.
        "spec/secretName",
        # Here the namespace follows too.
        "spec/csi/nodeStageSecretRef",
        "spec/csi/nodePublishSecretRef",
    ]


def _registry(manifest: Manifest) -> str | None:
    labels = manifest["metadata"].get("labels", {})
    return labels.get(INSTANCE) if labels.get("app.kubernetes.io/part-of") == "pypiserver" else None


def pod_of(manifest: Manifest) -> Manifest | None:
    """Return the spec of the pods that an object makes, if it makes any."""
    spec = manifest.get("spec") or {}
    if "jobTemplate" in spec:
        spec = spec["jobTemplate"].get("spec") or {}
    found: Manifest | None = (spec.get("template") or {}).get("spec")
    return found


def _secrets(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Yield names and, where one is given, namespaces of the Secrets that an object refers to."""
    pod, spec = pod_of(manifest) or {}, manifest.get("spec") or {}
    for volume in pod.get("volumes", []):
        if "secret" in volume:
            yield volume["secret"]["secretName"], ""
        for source in volume.get("projected", {}).get("sources", []):
            if "secret" in source:
                yield source["secret"]["name"], ""
    for container in [*pod.get("containers", []), *pod.get("initContainers", [])]:
        yield from ((name, "") for name in _secrets_of_container(container))
    if manifest["kind"] == "Ingress":
        yield from ((tls["secretName"], "") for tls in spec.get("tls", []) if "secretName" in tls)
    if manifest["kind"] == "Certificate":
        yield spec["secretName"], ""
    for place in ("nodeStageSecretRef", "nodePublishSecretRef"):
        if reference := spec.get("csi", {}).get(place):
            yield reference["name"], reference.get("namespace", "")


def _secrets_of_container(container: dict[str, Any]) -> Iterator[str]:
    for variable in container.get("env", []):
        if "secretKeyRef" in variable.get("valueFrom", {}):
            yield variable["valueFrom"]["secretKeyRef"]["name"]
    for source in container.get("envFrom", []):
        if "secretRef" in source:
            yield source["secretRef"]["name"]


def _services(manifest: Manifest) -> Iterator[str]:
    if manifest["kind"] == "StatefulSet":
        yield manifest["spec"]["serviceName"]


def _claims(manifest: Manifest) -> Iterator[str]:
    for volume in (pod_of(manifest) or {}).get("volumes", []):
        if "persistentVolumeClaim" in volume:
            yield volume["persistentVolumeClaim"]["claimName"]
