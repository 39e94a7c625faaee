"""The spec of a registry: every field has an effect, and what cannot work is refused with field, value and reason."""

import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest

from cases import HOST, LETSENCRYPT, OWN_CA
from cdk8s_pypiserver import (
    AuthSpec,
    AvailabilitySpec,
    BackupAlertSpec,
    GatewayCertificateSpec,
    GatewaySpec,
    GatewayTLSSpec,
    IngressCertificateSpec,
    IngressTLSSpec,
    LocalVolumeSpec,
    MonitoringSpec,
    NamespaceSpec,
    NetworkPolicySpec,
    PodOptionsSpec,
    ProbeSpec,
    PyPIServerSpec,
    RegistryIngressSpec,
    RegistryServiceSpec,
    Resources,
    RolloutSpec,
    S3VolumeSpec,
    ServerSpec,
    ServiceAccountSpec,
    SharedVolumeSpec,
    Spec,
    SpecError,
)
from manifests import synthesize

SHARED = PyPIServerSpec(
    storage=SharedVolumeSpec(), ingress=RegistryIngressSpec(host=HOST, tls=LETSENCRYPT), availability=AvailabilitySpec()
)
S3 = PyPIServerSpec(storage=S3VolumeSpec(bucket="packages"))
LOCAL = PyPIServerSpec()
FIXED = PyPIServerSpec(storage=SharedVolumeSpec())
MONITORED = PyPIServerSpec(monitoring=MonitoringSpec())
BACKED_UP = PyPIServerSpec(monitoring=MonitoringSpec(backup=BackupAlertSpec(cron_job="backup")))
ISOLATED = PyPIServerSpec(
    ingress=RegistryIngressSpec(host=HOST), monitoring=MonitoringSpec(), network_policy=NetworkPolicySpec()
)
BALANCED = PyPIServerSpec(service=RegistryServiceSpec(type="LoadBalancer"))
CERTIFIED = PyPIServerSpec(gateway_tls=OWN_CA)

# Those of the fields of all containers.
OF_A_CONTAINER: dict[str, Any] = {
    "image_pull_policy": "Always",
    "env": [{"name": "PROXY", "valueFrom": {"configMapKeyRef": {"name": "proxies", "key": "https"}}}],
    "env_from": [{"secretRef": {"name": "site-settings"}}],
    "volume_mounts": [{"name": "packages", "mountPath": "/mnt/more", "readOnly": True}],
    "security_context": {"runAsUser": 4711, "seLinuxOptions": {"level": "s0:c1"}},
}
CONTAINERS = ((ServerSpec, LOCAL), (GatewaySpec, LOCAL), (MonitoringSpec, MONITORED))
A_CONTAINER = {
    "name": "mine",
    "image": "a:1",
    "securityContext": {"allowPrivilegeEscalation": True, "capabilities": {"drop": []}},
}

# For every field of every spec: a registry, and another value of the field in it.
OTHER_VALUES: dict[tuple[type[Spec], str], tuple[PyPIServerSpec, Any]] = {
    (PyPIServerSpec, "name"): (LOCAL, "other"),
    **{
        (container, field): (registry, value)
        for container, registry in CONTAINERS
        for field, value in OF_A_CONTAINER.items()
    },
    (ProbeSpec, "period_seconds"): (LOCAL, 77),
    (ProbeSpec, "timeout_seconds"): (LOCAL, 77),
    (ProbeSpec, "failure_threshold"): (LOCAL, 77),
    (ProbeSpec, "initial_delay_seconds"): (LOCAL, 77),
    (PodOptionsSpec, "node_selector"): (LOCAL, {"disk": "ssd"}),
    (PodOptionsSpec, "tolerations"): (LOCAL, [{"key": "example.org/batch", "operator": "Exists"}]),
    (PodOptionsSpec, "affinity"): (
        LOCAL,
        {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "example.org/rack"}]}},
    ),
    (PodOptionsSpec, "topology_spread_constraints"): (
        SHARED,
        [{"maxSkew": 2, "topologyKey": "example.org/rack", "whenUnsatisfiable": "DoNotSchedule"}],
    ),
    (PodOptionsSpec, "priority_class"): (LOCAL, "important"),
    (PodOptionsSpec, "runtime_class"): (LOCAL, "gvisor"),
    (PodOptionsSpec, "scheduler_name"): (LOCAL, "other-scheduler"),
    (PodOptionsSpec, "dns_policy"): (LOCAL, "Default"),
    (PodOptionsSpec, "dns_config"): (LOCAL, {"options": [{"name": "ndots", "value": "2"}]}),
    (PodOptionsSpec, "host_aliases"): (LOCAL, [{"ip": "192.0.2.1", "hostnames": ["ldap.example.org"]}]),
    (PodOptionsSpec, "image_pull_secrets"): (LOCAL, ["mirror"]),
    (PodOptionsSpec, "labels"): (LOCAL, {"example.org/team": "a"}),
    (PodOptionsSpec, "annotations"): (LOCAL, {"example.org/team": "b"}),
    (PodOptionsSpec, "containers"): (LOCAL, [A_CONTAINER]),
    (PodOptionsSpec, "init_containers"): (LOCAL, [A_CONTAINER]),
    (PodOptionsSpec, "volumes"): (LOCAL, [{"name": "mine", "configMap": {"name": "settings"}}]),
    (PodOptionsSpec, "security_context"): (LOCAL, {"supplementalGroups": [4712]}),
    (RolloutSpec, "max_surge"): (FIXED, "77%"),
    (RolloutSpec, "max_unavailable"): (FIXED, 77),
    (RolloutSpec, "revision_history_limit"): (LOCAL, 77),
    (RolloutSpec, "progress_deadline_seconds"): (LOCAL, 77),
    (RolloutSpec, "min_ready_seconds"): (LOCAL, 77),
    (ServiceAccountSpec, "existing"): (LOCAL, "other"),
    (ServiceAccountSpec, "annotations"): (LOCAL, {"example.org/role": "packages"}),
    (Resources, "ephemeral_storage_request"): (LOCAL, "7Gi"),
    (Resources, "ephemeral_storage_limit"): (LOCAL, "7Gi"),
    (PyPIServerSpec, "replicas"): (FIXED, 2),
    (PyPIServerSpec, "user_id"): (LOCAL, 1234),
    (PyPIServerSpec, "termination_grace_seconds"): (LOCAL, 60),
    (ServerSpec, "image"): (LOCAL, "example.org/pypiserver:1"),
    (ServerSpec, "threads"): (LOCAL, 7),
    (ServerSpec, "allow_removal"): (LOCAL, True),
    (ServerSpec, "ready_timeout_seconds"): (LOCAL, 9),
    (ServerSpec, "temporary_size"): (LOCAL, "90Gi"),
    (GatewaySpec, "image"): (LOCAL, "example.org/nginx:1"),
    (GatewaySpec, "max_upload"): (LOCAL, "512Mi"),
    (GatewaySpec, "temporary_size"): (LOCAL, "90Gi"),
    (GatewaySpec, "concurrent_uploads"): (LOCAL, 7),
    (GatewayTLSSpec, "secret"): (CERTIFIED, "other"),
    (GatewayCertificateSpec, "issuer"): (CERTIFIED, "other"),
    (GatewayCertificateSpec, "issuer_kind"): (CERTIFIED, "Issuer"),
    (GatewayCertificateSpec, "hosts"): (CERTIFIED, ["other.team.svc"]),
    (Resources, "cpu_request"): (LOCAL, "7m"),
    (Resources, "memory_request"): (LOCAL, "7Mi"),
    (Resources, "cpu_limit"): (LOCAL, "7"),
    (Resources, "memory_limit"): (LOCAL, "7Gi"),
    (AuthSpec, "secret"): (LOCAL, "other"),
    (AuthSpec, "anonymous_reads"): (LOCAL, True),
    (AuthSpec, "initial_password"): (LOCAL, True),
    (RegistryServiceSpec, "port"): (LOCAL, 8080),
    (GatewayTLSSpec, "port"): (CERTIFIED, 8443),
    (RegistryServiceSpec, "type"): (LOCAL, "NodePort"),
    (RegistryServiceSpec, "annotations"): (LOCAL, {"example.org/pool": "internal"}),
    (RegistryServiceSpec, "node_port"): (BALANCED, 30080),
    (RegistryServiceSpec, "load_balancer_class"): (BALANCED, "example.org/internal"),
    (RegistryServiceSpec, "load_balancer_source_ranges"): (BALANCED, ["192.0.2.0/24"]),
    (RegistryServiceSpec, "external_traffic_policy"): (BALANCED, "Local"),
    (RegistryServiceSpec, "internal_traffic_policy"): (LOCAL, "Local"),
    (RegistryServiceSpec, "ip_family_policy"): (LOCAL, "PreferDualStack"),
    (RegistryServiceSpec, "ip_families"): (LOCAL, ["IPv6"]),
    (RegistryIngressSpec, "further_hosts"): (SHARED, ["other.example.org"]),
    (RegistryIngressSpec, "annotations"): (SHARED, {"example.org/zone": "internal"}),
    (NetworkPolicySpec, "clients"): (ISOLATED, [{"ipBlock": {"cidr": "192.0.2.0/24"}}]),
    (RegistryIngressSpec, "controllers"): (ISOLATED, [{"ipBlock": {"cidr": "192.0.2.0/24"}}]),
    (MonitoringSpec, "scrapers"): (ISOLATED, [{"ipBlock": {"cidr": "192.0.2.0/24"}}]),
    (ServerSpec, "arguments"): (LOCAL, ["--keep-alive", "5"]),
    (ServerSpec, "log_level"): (LOCAL, "debug"),
    (GatewaySpec, "trusted_proxies"): (LOCAL, ["192.0.2.1"]),
    (GatewaySpec, "log_level"): (LOCAL, "info"),
    (LocalVolumeSpec, "access_mode"): (LOCAL, "ReadWriteOncePod"),
    **{
        (mode, field): (registry, value)
        for mode, registry in ((LocalVolumeSpec, LOCAL), (SharedVolumeSpec, SHARED), (S3VolumeSpec, S3))
        for field, value in (
            ("existing_claim", "other"),
            ("claim_annotations", {"example.org/backup": "daily"}),
            ("claim_labels", {"example.org/backup": "daily"}),
        )
    },
    (S3VolumeSpec, "driver"): (S3, "csi.example.org"),
    (S3VolumeSpec, "mount_options"): (S3, ["--no-checksum"]),
    (S3VolumeSpec, "rescan_seconds"): (S3, 7),
    (RegistryIngressSpec, "host"): (SHARED, "other.example.org"),
    (RegistryIngressSpec, "class_name"): (SHARED, "traefik"),
    (IngressTLSSpec, "secret"): (SHARED, "other"),
    (IngressCertificateSpec, "issuer"): (SHARED, "other"),
    (IngressCertificateSpec, "issuer_kind"): (SHARED, "Issuer"),
    (IngressCertificateSpec, "object"): (SHARED, True),
    (MonitoringSpec, "image"): (MONITORED, "example.org/mtail:1"),
    (MonitoringSpec, "scrape"): (MONITORED, "pod-monitor"),
    (MonitoringSpec, "interval_seconds"): (MONITORED, 7),
    (MonitoringSpec, "object_labels"): (MONITORED, {"release": "monitoring"}),
    (MonitoringSpec, "rules"): (MONITORED, False),
    (MonitoringSpec, "certificate"): (MONITORED, "wildcard"),
    (MonitoringSpec, "dashboard"): (MONITORED, False),
    (BackupAlertSpec, "cron_job"): (BACKED_UP, "other"),
    (BackupAlertSpec, "max_age"): (BACKED_UP, "8d"),
    (AvailabilitySpec, "min_replicas"): (SHARED, 3),
    (AvailabilitySpec, "max_replicas"): (SHARED, 9),
    (AvailabilitySpec, "cpu_percent"): (SHARED, 50),
    (AvailabilitySpec, "cpu_use"): (SHARED, "777m"),
    (AvailabilitySpec, "memory_use"): (SHARED, "777Mi"),
    (AvailabilitySpec, "behavior"): (SHARED, {"scaleDown": {"stabilizationWindowSeconds": 777}}),
    (AvailabilitySpec, "max_unavailable"): (SHARED, "77%"),
    (AvailabilitySpec, "min_available"): (
        PyPIServerSpec(storage=SharedVolumeSpec(), availability=AvailabilitySpec(min_replicas=4)),
        2,
    ),
    (LocalVolumeSpec, "size"): (LOCAL, "7Gi"),
    (LocalVolumeSpec, "storage_class"): (LOCAL, "fast"),
    (SharedVolumeSpec, "size"): (SHARED, "7Gi"),
    (SharedVolumeSpec, "storage_class"): (SHARED, "nfs"),
    (SharedVolumeSpec, "rescan_seconds"): (SHARED, 7),
    (S3VolumeSpec, "bucket"): (S3, "others"),
    (S3VolumeSpec, "prefix"): (S3, "other/prefix"),
    (S3VolumeSpec, "provisioning"): (S3, "dynamic"),
    (S3VolumeSpec, "size"): (S3, "7Gi"),
    (S3VolumeSpec, "secret"): (S3, "other"),
    (S3VolumeSpec, "namespace"): (S3, "other"),
    (S3VolumeSpec, "mount_memory"): (S3, 700),
}

# Where the manifests say a value in other words.
SHOWN_AS: dict[tuple[type[Spec], str], str] = {
    (PodOptionsSpec, "topology_spread_constraints"): "example.org/rack",
    (ServerSpec, "allow_removal"): "yes",
    (BackupAlertSpec, "max_age"): "691200",
    (AuthSpec, "anonymous_reads"): "needs no credentials",
    (AuthSpec, "initial_password"): "yes",
    (IngressCertificateSpec, "issuer_kind"): "cert-manager.io/issuer",
    (IngressCertificateSpec, "object"): "Certificate",
    (MonitoringSpec, "scrape"): "PodMonitor",
    (S3VolumeSpec, "provisioning"): "StorageClass",
}
# What these make is left out.
TAKEN_AWAY: dict[tuple[type[Spec], str], str] = {
    (MonitoringSpec, "rules"): "PrometheusRule",
    (MonitoringSpec, "dashboard"): "pypiserver-dashboard",
}


def _texts(value: object, path: tuple[object, ...] = ()) -> Iterator[tuple[tuple[object, ...], str]]:
    """Yield every key and scalar with its place."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*path, key), key
            yield from _texts(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _texts(item, (*path, number))
    else:
        yield (*path, None), str(value)


def _shows(texts: set[tuple[tuple[object, ...], str]], value: object) -> bool:
    if isinstance(value, dict):
        return all(_shows(texts, part) for item in value.items() for part in item)
    if isinstance(value, list):
        return all(_shows(texts, part) for part in value)
    return any(re.search(rf"(?<![\w.]){re.escape(str(value))}(?!\d)", text) for _, text in texts)


def _specs(model: type[Spec]) -> Iterator[type[Spec]]:
    """Yield those that others do not extend."""
    extensions = [each for each in model.__subclasses__() if each.__module__.startswith("cdk8s_pypiserver.")]
    for extension in extensions:
        yield from _specs(extension)
    if not extensions and model is not NamespaceSpec:
        yield model


def _fields() -> set[tuple[type[Spec], str]]:
    """Return every field with a value of its own: not those that hold another spec, nor the storage mode's tag."""
    return {
        (model, name)
        for model in _specs(Spec)
        for name, field in model.model_fields.items()
        if "Spec" not in str(field.annotation)
        and field.annotation is not Resources
        and name != "kind"
        # One value alone.
        and (model, name) not in {(SharedVolumeSpec, "access_mode"), (S3VolumeSpec, "access_mode")}
    }


def test_every_field_is_tried() -> None:
    assert _fields() == set(OTHER_VALUES)


def _with(spec: Spec, model: type[Spec], name: str, value: object) -> Spec:
    """Return the spec with the value in the first place where the model stands."""
    if type(spec) is model:
        return type(spec)(**{**{field: getattr(spec, field) for field in type(spec).model_fields}, name: value})
    for field in type(spec).model_fields:
        inner = getattr(spec, field)
        if isinstance(inner, Spec):
            changed = _with(inner, model, name, value)
            if changed is not inner:
                return _with(spec, type(spec), field, changed)
    return spec


@pytest.mark.parametrize(("model", "name"), OTHER_VALUES, ids=lambda part: getattr(part, "__name__", part))
def test_every_field_reaches_the_manifests(model: type[Spec], name: str) -> None:
    spec, value = OTHER_VALUES[model, name]
    changed = _with(spec, model, name, value)
    assert isinstance(changed, PyPIServerSpec)
    before, after = (set(_texts(synthesize(each))) for each in (spec, changed))
    if taken := TAKEN_AWAY.get((model, name)):
        assert _shows(before - after, taken)
        assert not _shows(after, taken)
    else:
        assert _shows(after - before, SHOWN_AS.get((model, name), value))


def test_every_field_is_described() -> None:
    missing = [(model.__name__, name) for model, name in _fields() if not model.model_fields[name].description]
    assert missing == []


# For every field that is neither a switch nor a choice: a value that cannot work, and the reason.
WRONG_VALUES: dict[tuple[type[Spec], str], tuple[Any, str]] = {
    **{
        (container, field): wrong
        for container in (ServerSpec, GatewaySpec, MonitoringSpec)
        for field, wrong in {
            "env": ([{"name": "A", "valeu": "b"}], "is no field here; did you mean value?"),
            "env_from": ([{"secretRef": "users"}], "must be a mapping"),
            "volume_mounts": ([{"name": "a", "mountPath": True}], "must be text"),
            "security_context": ({"runAsUser": "root"}, "must be a whole number"),
        }.items()
    },
    (ProbeSpec, "period_seconds"): (0, "must be at least 1"),
    (ProbeSpec, "timeout_seconds"): (86401, "must be at most 86400"),
    (ProbeSpec, "failure_threshold"): (0, "must be at least 1"),
    (ProbeSpec, "initial_delay_seconds"): (-1, "must be at least 0"),
    (PodOptionsSpec, "node_selector"): ({"disk": "a b"}, "must be letters, digits"),
    (PodOptionsSpec, "tolerations"): ([{"tolerationSeconds": "5"}], "must be a whole number"),
    (PodOptionsSpec, "affinity"): ({"nodeAffinity": {"requiredX": 1}}, "is no field here; there are preferredDuring"),
    (PodOptionsSpec, "topology_spread_constraints"): (
        [{"maxSkew": 1, "topologyKey": "zone"}],
        "is missing",
    ),
    (PodOptionsSpec, "priority_class"): ("Important", "must be a name of lower-case letters"),
    (PodOptionsSpec, "runtime_class"): ("a_b", "must be a name of lower-case letters"),
    (PodOptionsSpec, "scheduler_name"): ("", "must not be empty"),
    (PodOptionsSpec, "dns_config"): ({"nameservers": "192.0.2.1"}, "must be a list"),
    (PodOptionsSpec, "host_aliases"): ([{"ip": 1}], "must be text"),
    (PodOptionsSpec, "image_pull_secrets"): (["a/b"], "must be a name of lower-case letters"),
    (PodOptionsSpec, "labels"): ({"app.kubernetes.io/instance": "b"}, "the objects find each other by it"),
    (PodOptionsSpec, "annotations"): ({"a b": "c"}, "must be an annotation key"),
    (PodOptionsSpec, "containers"): ([{"image": "a"}], "is missing"),
    (PodOptionsSpec, "init_containers"): (
        [{"name": "a", "restartPolicy": "Always"}],
        "is not in Kubernetes 1.25, the oldest that is supported; on a later one",
    ),
    (PodOptionsSpec, "volumes"): ([{"name": "a", "emptyDir": {"size": "1Mi"}}], "did you mean sizeLimit?"),
    (PodOptionsSpec, "security_context"): ({"fsGroup": None, "runAsUser": 0.5}, "must be a whole number"),
    (RolloutSpec, "max_surge"): ("101%", "must be a percentage such as 50%"),
    (RolloutSpec, "max_unavailable"): (1001, "must be at most 1000"),
    (RolloutSpec, "revision_history_limit"): (-1, "must be at least 0"),
    (RolloutSpec, "progress_deadline_seconds"): (0, "must be at least 1"),
    (RolloutSpec, "min_ready_seconds"): (-1, "must be at least 0"),
    (ServiceAccountSpec, "existing"): ("a_b", "must be a name of lower-case letters"),
    (ServiceAccountSpec, "annotations"): ({"a b": "c"}, "must be an annotation key"),
    (Resources, "ephemeral_storage_request"): ("512m", "is 512Mi meant?"),
    (Resources, "ephemeral_storage_limit"): ("4", "must be at least 1Mi"),
    (PyPIServerSpec, "name"): ("4711-pypi", "must begin with a letter, as the name of a Service has to"),
    (PyPIServerSpec, "replicas"): (10**9, "must be at most 1000"),
    (PyPIServerSpec, "user_id"): (2**31, "must be at most 2147483647"),
    (PyPIServerSpec, "termination_grace_seconds"): (29, "must be at least 30"),
    (ServerSpec, "image"): ("", "must not be empty: it must be an image"),
    (ServerSpec, "threads"): (257, "must be at most 256"),
    (ServerSpec, "ready_timeout_seconds"): (0, "must be at least 1"),
    (ServerSpec, "arguments"): (["", "a"], "must not be empty"),
    (ServerSpec, "temporary_size"): ("20m", "is 20Mi meant?"),
    (GatewaySpec, "image"): ("docker.io/Nginx:1", "must be an image such as"),
    (GatewaySpec, "max_upload"): ("500m", "is 500Mi meant?"),
    (GatewaySpec, "concurrent_uploads"): (-1, "must be at least 1"),
    (GatewaySpec, "temporary_size"): ("4", "must be at least 1Mi, is 4 bytes"),
    (GatewaySpec, "trusted_proxies"): (["10.0.0.1/8"], "has bits beyond its mask: is 10.0.0.0/8 meant?"),
    (GatewayTLSSpec, "port"): (0, "must be at least 1"),
    (GatewayTLSSpec, "secret"): ("My_Secret", "must be a name of lower-case letters"),
    (GatewayCertificateSpec, "issuer"): ("", "must not be empty"),
    (GatewayCertificateSpec, "hosts"): ([], "must have at least 1, has 0"),
    (Resources, "cpu_request"): ("100Mi", "must be cores such as 2, 0.5 or 250m"),
    (Resources, "memory_request"): ("512m", "is 512Mi meant?"),
    (Resources, "cpu_limit"): ("٢", "must be cores such as 2, 0.5 or 250m"),
    (Resources, "memory_limit"): ("٥١٢Mi", "must be an amount of bytes"),  # noqa: RUF001 - Arabic digits
    (AuthSpec, "secret"): ("users/team", "must be a name of lower-case letters"),
    (RegistryServiceSpec, "port"): (65536, "must be at most 65535"),
    (RegistryServiceSpec, "node_port"): (-1, "must be at least 1"),
    (RegistryServiceSpec, "annotations"): ({"a b": "c"}, "must be an annotation key"),
    (RegistryServiceSpec, "load_balancer_class"): ("a b", "must be a name such as"),
    (RegistryServiceSpec, "load_balancer_source_ranges"): (["192.0.2.1"], "must be a network (CIDR)"),
    (RegistryServiceSpec, "ip_families"): (["IPv5"], "must be 'IPv4' or 'IPv6'"),
    (RegistryIngressSpec, "host"): ("10.0.0.1", "must be a name, not an address"),
    (RegistryIngressSpec, "further_hosts"): (["*.example.org"], "must be one name, not a wildcard"),
    (RegistryIngressSpec, "class_name"): ("Nginx", "must be a name of lower-case letters"),
    (RegistryIngressSpec, "annotations"): ({"a": 1}, "must be text"),
    (NetworkPolicySpec, "clients"): (
        [{"podSelecter": {}}],
        "must have podSelector, namespaceSelector or both, or ipBlock",
    ),
    (RegistryIngressSpec, "controllers"): ([{}], "must have podSelector, namespaceSelector or both, or ipBlock"),
    (MonitoringSpec, "scrapers"): ([{"ipBlock": {}, "podSelector": {}}], "must have nothing beside ipBlock"),
    (IngressTLSSpec, "secret"): (" tls", "must not begin or end with white space"),
    (IngressCertificateSpec, "issuer"): ("a..b", "must be a name of lower-case letters"),
    (MonitoringSpec, "image"): ("mtail:", "must be an image such as"),
    (MonitoringSpec, "interval_seconds"): (301, "must be at most 300"),
    (MonitoringSpec, "object_labels"): ({"release": "a b"}, "must be letters, digits"),
    (MonitoringSpec, "certificate"): ("*.example.org", "must be a name of lower-case letters"),
    (BackupAlertSpec, "cron_job"): ("a" * 53, "must have at most 52 characters, has 53"),
    (BackupAlertSpec, "max_age"): ("1d2h", "must be whole hours or days such as 26h or 8d"),
    (AvailabilitySpec, "min_replicas"): (1, "must be at least 2"),
    (AvailabilitySpec, "max_replicas"): (10**9, "must be at most 1000"),
    (AvailabilitySpec, "cpu_percent"): (0, "must be at least 1"),
    (AvailabilitySpec, "cpu_use"): ("100Mi", "must be cores such as 2, 0.5 or 250m"),
    (AvailabilitySpec, "memory_use"): ("512m", "is 512Mi meant?"),
    (AvailabilitySpec, "behavior"): ({"scaleUp": {"policies": [{"type": "Pods", "value": 1}]}}, "is missing"),
    (AvailabilitySpec, "min_available"): (0, "must be more than 0: otherwise all pods may be evicted at once"),
    (AvailabilitySpec, "max_unavailable"): (0, "must be more than 0: otherwise no pod may be evicted at rest"),
    **{
        (mode, field): wrong
        for mode in (LocalVolumeSpec, SharedVolumeSpec, S3VolumeSpec)
        for field, wrong in {
            "existing_claim": ("a_b", "must be a name of lower-case letters"),
            "claim_annotations": ({"/a": "b"}, "must be an annotation key"),
            "claim_labels": ({"a": "-"}, "must be letters, digits"),
            "size": ("9Ei", "must be at most 9223372036854775807 bytes"),
        }.items()
    },
    (LocalVolumeSpec, "storage_class"): ("", "must not be empty"),
    (SharedVolumeSpec, "storage_class"): ("NFS", "must be a name of lower-case letters"),
    (SharedVolumeSpec, "rescan_seconds"): (0, "must be at least 1"),
    (S3VolumeSpec, "bucket"): ("a..b", "beside each ."),
    (S3VolumeSpec, "prefix"): ("../x", "must not have . or .. as a part"),
    (S3VolumeSpec, "secret"): ("a\0", "must be a name of lower-case letters"),
    (S3VolumeSpec, "namespace"): ("a.b", "must be a name of lower-case letters"),
    (S3VolumeSpec, "driver"): ("A", "must be a name of lower-case letters"),
    (S3VolumeSpec, "mount_memory"): (10**9, "must be at most 1000000"),
    (S3VolumeSpec, "mount_options"): (["--a; rm -rf /"], "must be one option such as"),
    (S3VolumeSpec, "rescan_seconds"): (3601, "must be at most 3600"),
}


def _is_switch_or_choice(model: type[Spec], name: str) -> bool:
    annotation = model.model_fields[name].annotation
    types = {part for part in get_args(annotation) or (annotation,) if part is not type(None)}
    return get_origin(annotation) is Literal or all(part is bool or get_origin(part) is Literal for part in types)


def _innermost(value: object) -> str:
    """Return what is shown of a value: the first of a list, what a mapping's first key or value is."""
    if isinstance(value, list) and value:
        return _innermost(value[0])
    return "" if isinstance(value, dict) else repr(value)


def test_every_field_has_a_refusal_or_is_a_switch_or_a_choice() -> None:
    assert {field for field in _fields() if not _is_switch_or_choice(*field)} - WRONG_VALUES.keys() == set()
    assert WRONG_VALUES.keys() <= _fields()


@pytest.mark.parametrize(("model", "name"), WRONG_VALUES, ids=lambda part: getattr(part, "__name__", part))
def test_every_field_is_refused_with_its_value_and_the_reason(model: type[Spec], name: str) -> None:
    value, reason = WRONG_VALUES[model, name]
    with pytest.raises(SpecError) as refused:
        _with(OTHER_VALUES[model, name][0], model, name, value)
    (problem,) = refused.value.problems
    assert problem.path[0] == name
    assert reason in problem.reason
    assert _innermost(value) in str(problem)


HOSTILE: list[Any] = [
    *(
        "",
        " ",
        " a",
        "a\n",
        "a\0b",
        "\x1b[31m",
        "\ud800",
        "ü",
        "٣",
        "a" * 100_000,
        "../../x",
        "{{x}}",
        "$(id)",
        "\u202e",
    ),
    *(-1, -(10**9), 10**9, 10**30, 10**5000, 0.5, float("nan"), float("inf"), True, None, b"a", object(), "1e9"),
    *([], [None], [[]], ["a\0"], {}, {"": ""}, {"a\0": "b"}, {"a": None}, {1: 2}, {"kind": "x"}, [{}]),
]


def _refusal(model: type[Spec], name: str, value: object) -> str:
    """Return the message; nothing if the value is taken."""
    try:
        _with(OTHER_VALUES[model, name][0], model, name, value)
    except SpecError as refused:
        return str(refused)
    return ""


def test_nothing_hostile_is_refused_in_other_words_than_ours() -> None:
    jargon = ("Input should", "input_value", "pydantic", "http", "Value error", "<function", "\x1b", "\0")
    messages = [_refusal(*field, value) for field, value in itertools.product(sorted(_fields(), key=str), HOSTILE)]
    assert [message for message in messages if any(word in message for word in jargon)] == []
    assert max(map(len, messages)) < 1000
    # Most of it is.
    assert sum(map(bool, messages)) > 0.9 * len(messages)


def test_no_name_is_taken_that_no_service_can_have() -> None:
    names = [*HOSTILE, "a-", "a.b", "A", "4711-pypi", "1", "a_b"]
    assert [name for name in names if not _refusal(PyPIServerSpec, "name", name)] == []


def test_the_longest_name_leaves_room_for_every_suffix() -> None:
    name = "a" * 37
    objects = synthesize(
        PyPIServerSpec(
            name=name,
            storage=SharedVolumeSpec(),
            ingress=RegistryIngressSpec(host=HOST, tls=LETSENCRYPT),
            availability=AvailabilitySpec(),
            monitoring=MonitoringSpec(),
        )
    )
    names = {made["metadata"]["name"] for made in objects}
    assert max(map(len, names)) <= 63
    # Not shorter than it has to be.
    assert max(map(len, names)) > 60
    with pytest.raises(SpecError, match="must have at most 37 characters, has 38"):
        PyPIServerSpec(name=name + "a")


def _schemas(schema: object) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        yield schema
    for part in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from _schemas(part)


def test_the_json_schema_says_what_texts_and_numbers_may_be() -> None:
    free = [
        schema
        for schema in _schemas(PyPIServerSpec.model_json_schema())
        if (schema.get("type") == "string" and not schema.keys() & {"pattern", "enum", "const"})
        or (schema.get("type") == "integer" and not schema.keys() >= {"minimum", "maximum"})
    ]
    # Values of annotations.
    assert free == [{"type": "string"}] * len(free)
    assert len(free) == sum(name.endswith("annotations") for _, name in _fields())


# What is right field by field and cannot work together: what is made, and the lines of the refusal.
CONFLICTS: dict[str, tuple[Callable[[], Spec], list[str]]] = {
    "pods on a volume of one node": (
        lambda: PyPIServerSpec(replicas=2),
        ["replicas (2) must be 0 or 1 on storage of kind local: the volume is one node's"],
    ),
    "pods that take over one by one on a volume of one node": (
        lambda: PyPIServerSpec(rollout=RolloutSpec(max_surge=2, max_unavailable="10%")),
        [
            "rollout.max_surge (2) cannot be had on storage of kind local, where the old pod ends first: the volume is",
            "rollout.max_unavailable ('10%') cannot be had on storage of kind local, where the old pod ends first",
        ],
    ),
    "rollouts that never end": (
        lambda: RolloutSpec(max_surge="0%", min_ready_seconds=600),
        [
            "max_surge ('0%') must be more than 0 with max_unavailable (0)",
            "min_ready_seconds (600) must be below progress_deadline_seconds (600)",
        ],
    ),
    "annotations of an account that is there already": (
        lambda: ServiceAccountSpec(existing="other", annotations={"a": "b"}),
        ["annotations (given) cannot be had with existing (other): it is used as it is"],
    ),
    "no name servers": (
        lambda: PodOptionsSpec(dns_policy="None"),
        ["dns_config.nameservers is missing with dns_policy"],
    ),
    "what is there twice": (
        lambda: PodOptionsSpec(containers=[A_CONTAINER, A_CONTAINER], volumes=[{"name": "a"}, {"name": "a"}]),
        ["containers[1].name ('mine') is there twice", "volumes[1].name ('a') is there twice"],
    ),
    "variables and mounts that are there twice": (
        lambda: ServerSpec(
            env=[{"name": "A"}, {"name": "A"}],
            volume_mounts=[{"name": "a", "mountPath": "/a"}, {"name": "b", "mountPath": "/a"}],
        ),
        ["env[1].name ('A') is there twice", "volume_mounts[1].mountPath ('/a') is there twice"],
    ),
    "pods on a bucket": (
        lambda: PyPIServerSpec(storage=S3VolumeSpec(bucket="packages"), replicas=3),
        ["replicas (3) must be 0 or 1 on storage of kind s3: the mount knows no locks"],
    ),
    "autoscaler on a volume of one node": (
        lambda: PyPIServerSpec(availability=AvailabilitySpec()),
        ["availability (given) cannot be had on storage of kind local: the volume is one node's"],
    ),
    "autoscaler on a bucket": (
        lambda: PyPIServerSpec(storage=S3VolumeSpec(bucket="packages"), availability=AvailabilitySpec()),
        ["availability (given) cannot be had on storage of kind s3: the mount knows no locks"],
    ),
    "pods that the autoscaler counts": (
        lambda: PyPIServerSpec(storage=SharedVolumeSpec(), availability=AvailabilitySpec(), replicas=1),
        ["replicas (1) must be left out with availability, whose autoscaler counts the pods"],
    ),
    "autoscaler without requests": (
        lambda: PyPIServerSpec(
            storage=SharedVolumeSpec(),
            availability=AvailabilitySpec(cpu_percent=70),
            server=ServerSpec(resources=Resources(cpu_request=None)),
            gateway=GatewaySpec(resources=Resources(cpu_request=None, cpu_limit="1")),
            monitoring=MonitoringSpec(resources=Resources(cpu_request=None)),
        ),
        [
            "server.resources.cpu_request (None) must be set with availability.cpu_percent: the autoscaler measures",
            "monitoring.resources.cpu_request (None) must be set with availability.cpu_percent: the autoscaler",
        ],
    ),
    "autoscaler that shrinks, budget that keeps nodes from being drained": (
        lambda: AvailabilitySpec(min_replicas=4, max_replicas=3, min_available=4),
        [
            "max_replicas (3) must not be below min_replicas (4)",
            "min_available (4) must be below min_replicas (4): otherwise no pod may be evicted",
        ],
    ),
    "a budget and an autoscaler that say a thing twice": (
        lambda: AvailabilitySpec(cpu_use="1", cpu_percent=70, min_available="10%", max_unavailable=1),
        [
            "cpu_use ('1') must be left out with cpu_percent (70), which says the same",
            "min_available ('10%') must be left out with max_unavailable (1)",
        ],
    ),
    "a budget in percent that keeps nodes from being drained": (
        # Kubernetes rounds up: two of two.
        lambda: AvailabilitySpec(min_available="51%"),
        ["min_available ('51%') must be below min_replicas (2): otherwise no pod may be evicted"],
    ),
    "requests above limits": (
        lambda: Resources(cpu_request="1.5", cpu_limit="1400m", memory_request="1Gi", memory_limit="1G"),
        [
            "cpu_request ('1.5') must not be above cpu_limit (1400m)",
            "memory_request ('1Gi') must not be above memory_limit (1G)",
        ],
    ),
    "uploads beyond the server's scratch space": (
        lambda: PyPIServerSpec(storage=S3VolumeSpec(bucket="packages"), gateway=GatewaySpec(max_upload="2Gi")),
        [
            "server.temporary_size ('20Gi') must hold gateway.concurrent_uploads (20) x gateway.max_upload (2Gi) on",
        ],
    ),
    "upload beyond the volume": (
        lambda: PyPIServerSpec(storage=LocalVolumeSpec(size="500Mi")),
        ["gateway.max_upload ('1Gi') must not be above storage.size (500Mi)"],
    ),
    "uploads beyond the server's memory": (
        lambda: PyPIServerSpec(
            gateway=GatewaySpec(concurrent_uploads=54), server=ServerSpec(resources=Resources(memory_limit="256Mi"))
        ),
        ["server.resources.memory_limit ('256Mi') must be at least 258Mi for gateway.concurrent_uploads (54): 96Mi"],
    ),
    "password where others read, bucket without owner": (
        lambda: PyPIServerSpec(
            storage=S3VolumeSpec(bucket="packages"), auth=AuthSpec(initial_password=True), user_id=None
        ),
        [
            "auth.initial_password (True) cannot be had on storage of kind s3: the password is kept on the package",
            "user_id (None) must be a number on storage of kind s3: the mount names the owner",
        ],
    ),
    "password on a shared volume": (
        lambda: PyPIServerSpec(storage=SharedVolumeSpec(), auth=AuthSpec(initial_password=True)),
        ["auth.initial_password (True) cannot be had on storage of kind shared"],
    ),
    "folder that the driver chooses": (
        lambda: S3VolumeSpec(bucket="packages", prefix="pypi", provisioning="dynamic"),
        ["prefix ('pypi') must be left out with provisioning (dynamic)"],
    ),
    "claim that is there already": (
        lambda: LocalVolumeSpec(
            existing_claim="own", claim_annotations={"a": "b"}, claim_labels={"a": "b"}, storage_class="fast"
        ),
        [
            "claim_annotations (given) must be left out: existing_claim (own) stays as it is",
            "claim_labels (given) must be left out: existing_claim (own) stays as it is",
            "storage_class ('fast') must be left out: existing_claim (own) stays as it is",
        ],
    ),
    "rules without a job": (
        lambda: MonitoringSpec(scrape="annotations"),
        ["rules (True) must be False with scrape (annotations): without a monitor object nobody gives the targets"],
    ),
    "alerts without rules": (
        lambda: MonitoringSpec(rules=False, certificate="wildcard", backup=BackupAlertSpec(cron_job="backup")),
        [
            "rules (False) must be True with certificate (wildcard): an alert about it is a rule",
            "rules (False) must be True with backup (backup): an alert about it is a rule",
        ],
    ),
    "HTTPS on the port of HTTP": (
        lambda: PyPIServerSpec(service=RegistryServiceSpec(port=443), gateway_tls=GatewayTLSSpec()),
        ["gateway_tls.port (443) must be another one: service.port has it"],
    ),
    "TLS that ends twice": (
        lambda: PyPIServerSpec(ingress=RegistryIngressSpec(host=HOST), gateway_tls=GatewayTLSSpec()),
        ["gateway_tls (given) cannot be had with ingress (host pypi.example.org): a controller asks the gateway in"],
    ),
    "host that is there twice": (
        lambda: RegistryIngressSpec(host="a.b", further_hosts=["c.d", "a.b"]),
        ["further_hosts (('c.d', 'a.b')) must name each host once, and not host (a.b)"],
    ),
    "another type of Service": (
        lambda: RegistryServiceSpec(
            node_port=30080,
            external_traffic_policy="Local",
            load_balancer_class="a/b",
            load_balancer_source_ranges=["192.0.2.0/24"],
        ),
        [
            "node_port (30080) needs the type NodePort or LoadBalancer (type is ClusterIP)",
            "external_traffic_policy ('Local') needs the type NodePort or LoadBalancer (type is ClusterIP)",
            "load_balancer_class ('a/b') needs the type LoadBalancer (type is ClusterIP)",
            "load_balancer_source_ranges (('192.0.2.0/24',)) needs the type LoadBalancer (type is ClusterIP)",
        ],
    ),
    "families": (
        lambda: RegistryServiceSpec(ip_families=["IPv4", "IPv6"]),
        ["ip_families (('IPv4', 'IPv6')) must be one unless ip_family_policy is PreferDualStack or"],
    ),
    "the same family": (
        lambda: RegistryServiceSpec(ip_families=["IPv4", "IPv4"], ip_family_policy="PreferDualStack"),
        ["ip_families (('IPv4', 'IPv4')) must not name a family twice"],
    ),
    "several concerns at once": (
        lambda: PyPIServerSpec(
            replicas=2,
            storage=LocalVolumeSpec(size="500Mi"),
            ingress=RegistryIngressSpec(host=HOST),
            gateway_tls=GatewayTLSSpec(port=80),
        ),
        ["replicas (2)", "gateway.max_upload ('1Gi')", "gateway_tls.port (80)", "gateway_tls (given)"],
    ),
}


@pytest.mark.parametrize("case", CONFLICTS)
def test_all_that_cannot_work_together_is_refused_at_once(case: str) -> None:
    make, lines = CONFLICTS[case]
    with pytest.raises(SpecError) as refused:
        make()
    said = str(refused.value).split("\n  ")[1:]
    assert len(said) == len(lines)
    assert [line for line, start in zip(said, lines, strict=True) if not line.startswith(start)] == []


def test_a_spec_is_read_from_yaml(tmp_path: Path) -> None:
    file = tmp_path / "registry.yaml"
    file.write_text("storage: {kind: shared, size: 50Gi}\nreplicas: 2\nauth: {anonymous_reads: true}\n")
    assert PyPIServerSpec.from_yaml(file) == PyPIServerSpec(
        storage=SharedVolumeSpec(size="50Gi"), replicas=2, auth=AuthSpec(anonymous_reads=True)
    )


def test_fields_that_were_elsewhere_are_found(tmp_path: Path) -> None:
    file = tmp_path / "registry.yaml"
    file.write_text("max_upload: 2Gi\nservice:\n  Port: 80\nhost: pypi.example.org\n")
    with pytest.raises(SpecError) as refused:
        PyPIServerSpec.from_yaml(file)
    assert str(refused.value).replace(str(file), "registry.yaml").split("\n  ")[1:] == [
        "registry.yaml:1: max_upload ('2Gi') is no field here; did you mean gateway.max_upload?",
        "registry.yaml:3: service.Port (80) is no field here; did you mean port?",
        "registry.yaml:4: host ('pypi.example.org') is no field here; did you mean ingress.host?",
    ]


def test_the_json_schema_knows_every_concern() -> None:
    schema = PyPIServerSpec.model_json_schema()
    assert set(schema["properties"]) == set(PyPIServerSpec.model_fields)
    assert schema["additionalProperties"] is False
