"""Specs: every field has an effect, and what cannot work is refused with field, value and reason."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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
    PyPIServerSpec,
    RegistryIngressSpec,
    RegistryServiceSpec,
    Resources,
    S3VolumeSpec,
    ServerSpec,
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
CERTIFIED = PyPIServerSpec(gateway_tls=OWN_CA)

# For every field of every spec: a registry, and another value of the field in it.
OTHER_VALUES: dict[tuple[type[Spec], str], tuple[PyPIServerSpec, Any]] = {
    (PyPIServerSpec, "name"): (LOCAL, "other"),
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
    (RegistryServiceSpec, "node_port"): (LOCAL, 30080),
    (RegistryServiceSpec, "load_balancer_class"): (LOCAL, "example.org/internal"),
    (RegistryServiceSpec, "load_balancer_source_ranges"): (LOCAL, ["192.0.2.0/24"]),
    (RegistryServiceSpec, "external_traffic_policy"): (LOCAL, "Local"),
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
    (ServerSpec, "allow_removal"): "yes",
    (GatewaySpec, "trusted_proxies"): "192.0.2.1",
    (NetworkPolicySpec, "clients"): "192.0.2.0/24",
    (RegistryIngressSpec, "controllers"): "192.0.2.0/24",
    (MonitoringSpec, "scrapers"): "192.0.2.0/24",
    (ServerSpec, "arguments"): "--keep-alive",
    (RegistryServiceSpec, "annotations"): "example.org/pool",
    (RegistryServiceSpec, "load_balancer_source_ranges"): "192.0.2.0/24",
    (RegistryServiceSpec, "ip_families"): "IPv6",
    (RegistryIngressSpec, "further_hosts"): "other.example.org",
    (RegistryIngressSpec, "annotations"): "example.org/zone",
    **{
        (mode, field): "example.org/backup"
        for mode in (LocalVolumeSpec, SharedVolumeSpec, S3VolumeSpec)
        for field in ("claim_annotations", "claim_labels")
    },
    (S3VolumeSpec, "mount_options"): "--no-checksum",
    (AuthSpec, "anonymous_reads"): "needs no credentials",
    (AuthSpec, "initial_password"): "yes",
    (IngressCertificateSpec, "issuer_kind"): "cert-manager.io/issuer",
    (IngressCertificateSpec, "object"): "Certificate",
    (MonitoringSpec, "scrape"): "PodMonitor",
    (MonitoringSpec, "object_labels"): "release",
    (GatewayCertificateSpec, "hosts"): "other.team.svc",
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


REFUSALS: dict[str, tuple[Callable[[], Spec], str]] = {
    "unknown field": (
        lambda: PyPIServerSpec.model_validate({"replica": 2}),
        r"replica \(2\) is no field here; did you mean replicas\?",
    ),
    "wrong type": (
        lambda: PyPIServerSpec.model_validate({"replicas": "2"}),
        r"replicas \('2'\) must be a whole number",
    ),
    "text for a switch": (
        lambda: AuthSpec.model_validate({"anonymous_reads": "no"}),
        r"anonymous_reads \('no'\) must be true or false",
    ),
    "quantity": (lambda: LocalVolumeSpec(size="10 GB"), r"size \('10 GB'\) must be an amount of bytes"),
    "quantity of nothing": (lambda: LocalVolumeSpec(size="0"), r"size \('0'\) must be at least 1Mi"),
    "host": (
        lambda: RegistryIngressSpec(host="https://a.b/"),
        r"host \('https://a.b/'\) .*without scheme, port or path",
    ),
    "host of one label": (lambda: RegistryIngressSpec(host="pypi"), r"host \('pypi'\) must be a full DNS name"),
    "port": (lambda: RegistryServiceSpec(port=70000), r"port \(70000\) must be at most 65535"),
    "name": (
        lambda: PyPIServerSpec(name="My_Registry"),
        r"name \('My_Registry'\) must be a name of",
    ),
    "bucket": (lambda: S3VolumeSpec(bucket="My Bucket"), r"bucket \('My Bucket'\) must match "),
    "prefix": (lambda: S3VolumeSpec(bucket="abc", prefix="/pypi/"), r"prefix \('/pypi/'\) must match "),
    "storage mode": (
        lambda: PyPIServerSpec.model_validate({"storage": {"kind": "nfs"}}),
        r"storage.kind \('nfs'\) must be one of 'local', 'shared', 's3'",
    ),
    "replicas on a volume of one node": (
        lambda: PyPIServerSpec(replicas=2),
        r"replicas \(2\) must be 0 or 1 on LocalVolumeSpec: the volume is one node's",
    ),
    "replicas on a bucket": (
        lambda: PyPIServerSpec(storage=S3VolumeSpec(bucket="packages"), replicas=3),
        r"replicas \(3\) must be 0 or 1 on S3VolumeSpec: the mount knows no locks",
    ),
    "autoscaler on a volume of one node": (
        lambda: PyPIServerSpec(availability=AvailabilitySpec()),
        r"availability \(min_replicas=2\) cannot be had on LocalVolumeSpec",
    ),
    "autoscaler on a bucket": (
        lambda: PyPIServerSpec(storage=S3VolumeSpec(bucket="packages"), availability=AvailabilitySpec()),
        r"availability \(min_replicas=2\) cannot be had on S3VolumeSpec",
    ),
    "autoscaler that shrinks": (
        lambda: AvailabilitySpec(min_replicas=4, max_replicas=3),
        r"max_replicas \(3\) must not be below min_replicas \(4\)",
    ),
    "budget that keeps nodes from being drained": (
        lambda: AvailabilitySpec(min_replicas=2, min_available=2),
        r"min_available \(2\) must be below min_replicas \(2\): .* never be drained",
    ),
    "upload beyond the server's scratch space": (
        lambda: PyPIServerSpec(storage=S3VolumeSpec(bucket="packages"), gateway=GatewaySpec(max_upload="2Gi")),
        r"server.temporary_size \(20Gi\) must hold gateway.concurrent_uploads \(20\) x gateway.max_upload \(2Gi\) on ",
    ),
    "uploads beyond the threads": (
        lambda: GatewaySpec(concurrent_uploads=257),
        r"concurrent_uploads \(257\) must be at most 256",
    ),
    "upload beyond the volume": (
        lambda: PyPIServerSpec(storage=LocalVolumeSpec(size="500Mi")),
        r"gateway.max_upload \(1Gi\) must not be above storage.size \(500Mi\)",
    ),
    "password where others read": (
        lambda: PyPIServerSpec(storage=SharedVolumeSpec(), auth=AuthSpec(initial_password=True)),
        r"auth.initial_password \(True\) needs LocalVolumeSpec \(got SharedVolumeSpec\)",
    ),
    "bucket without owner": (
        lambda: PyPIServerSpec(storage=S3VolumeSpec(bucket="packages"), user_id=None),
        r"user_id \(None\) must be a number on S3VolumeSpec",
    ),
    "rules without a job": (
        lambda: MonitoringSpec(scrape="annotations"),
        r"rules \(True\) must be False with scrape \(annotations\): without a monitor object nobody says",
    ),
    "certificate without rules": (
        lambda: MonitoringSpec(rules=False, certificate="wildcard"),
        r"rules \(False\) must be True with certificate \(wildcard\): an alert about it is a rule",
    ),
    "backup without rules": (
        lambda: MonitoringSpec(rules=False, backup=BackupAlertSpec(cron_job="backup")),
        r"rules \(False\) must be True with backup \(backup\): an alert about it is a rule",
    ),
    "age of a backup": (
        lambda: BackupAlertSpec(cron_job="backup", max_age="1d2h"),
        r"max_age \('1d2h'\) must be whole hours or days such as 26h or 8d",
    ),
    "CronJob": (
        lambda: BackupAlertSpec(cron_job="Backup"),
        r"cron_job \('Backup'\) must be a name of",
    ),
    "port that is scraped": (
        lambda: PyPIServerSpec(service=RegistryServiceSpec(port=9090), monitoring=MonitoringSpec()),
        r"service.port \(9090\) must be another one: the port that is scraped has it",
    ),
    "HTTPS on the port of HTTP": (
        lambda: PyPIServerSpec(service=RegistryServiceSpec(port=443), gateway_tls=GatewayTLSSpec()),
        r"service.port \(443\) must be another one: gateway_tls.port has it",
    ),
    "HTTPS on the port that is scraped": (
        lambda: PyPIServerSpec(gateway_tls=GatewayTLSSpec(port=9090), monitoring=MonitoringSpec()),
        r"gateway_tls.port \(9090\) must be another one: the port that is scraped has it",
    ),
    "TLS that ends twice": (
        lambda: PyPIServerSpec(ingress=RegistryIngressSpec(host=HOST), gateway_tls=GatewayTLSSpec()),
        r"gateway_tls cannot be had with ingress \(host=pypi.example.org\): a controller asks the gateway in the clear",
    ),
    "certificate without names": (
        lambda: GatewayCertificateSpec(issuer="own-ca", hosts=[]),
        r"hosts \(\[\]\) must have at least 1",
    ),
    "root": (lambda: PyPIServerSpec(user_id=0), r"user_id \(0\) must be at least 1"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusal_names_field_value_and_reason(case: str) -> None:
    make, message = REFUSALS[case]
    with pytest.raises(SpecError, match=message):
        make()


def test_a_spec_is_read_from_yaml(tmp_path: Path) -> None:
    file = tmp_path / "registry.yaml"
    file.write_text("storage: {kind: shared, size: 50Gi}\nreplicas: 2\nauth: {anonymous_reads: true}\n")
    assert PyPIServerSpec.from_yaml(file) == PyPIServerSpec(
        storage=SharedVolumeSpec(size="50Gi"), replicas=2, auth=AuthSpec(anonymous_reads=True)
    )


def test_a_yaml_file_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "registry.yaml"
    file.write_text("- 1\n")
    with pytest.raises(SpecError, match=r"registry.yaml:1: must be a mapping of fields, not \[1\]"):
        PyPIServerSpec.from_yaml(file)


def test_the_json_schema_knows_every_concern() -> None:
    schema = PyPIServerSpec.model_json_schema()
    assert set(schema["properties"]) == set(PyPIServerSpec.model_fields)
    assert schema["additionalProperties"] is False


def test_a_spec_cannot_be_changed() -> None:
    spec = PyPIServerSpec()
    with pytest.raises(SpecError, match="cannot be changed"):
        spec.replicas = 3
