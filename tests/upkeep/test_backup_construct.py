"""The CronJobs of backup, restore and drill: what their pods may, where they run, and what they are told."""

from __future__ import annotations

from typing import Any

import pytest

from backup.settings import Settings
from cases import BACKUP, CASES, STORE
from cdk8s_pypiserver import (
    BackupSpec,
    DrillSpec,
    GatewayTLSSpec,
    LocalVolumeSpec,
    PodOptionsSpec,
    PyPIServerSpec,
    RegistryNetworkPolicySpec,
    RemoteSpec,
    S3VolumeSpec,
    ServiceAccountSpec,
    SharedVolumeSpec,
)
from cdk8s_pypiserver.base.identity import Identity
from manifests import Manifest, objects, pod_of, synthesize

KEPT = PyPIServerSpec(backup=BACKUP)
KINDS = ("backup", "drill", "restore")
OF_OTHERS = {"HOME", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH"}


def job(spec: PyPIServerSpec, kind: str) -> Manifest:
    found: Manifest = objects(synthesize(spec))["CronJob", f"{spec.name}-{kind}"]["spec"]
    return found


def pod(spec: PyPIServerSpec, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = job(spec, kind)["jobTemplate"]["spec"]["template"]["spec"]
    return found


def environment(spec: PyPIServerSpec, kind: str) -> dict[str, Any]:
    return {each["name"]: each.get("value") for each in pod(spec, kind)["containers"][0]["env"]}


class _Asked(dict[str, str]):
    """An environment that remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__(BACKUP_STORE="store:x")
        self.names: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:  # noqa: ANN401
        self.names.add(key)
        return super().get(key, default)


@pytest.mark.parametrize("case", [name for name, spec in CASES.items() if spec.backup])
def test_the_program_reads_what_is_set(case: str) -> None:
    asked = _Asked()
    Settings.from_environment(asked)
    spec = CASES[case]
    for kind in KINDS if spec.backup and spec.backup.drill else ("backup", "restore"):
        names = {name for name in environment(spec, kind) if not name.startswith("RCLONE_")}
        assert names - OF_OTHERS <= asked.names


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "storage", [LocalVolumeSpec(), SharedVolumeSpec(), S3VolumeSpec(bucket="packages")], ids=lambda each: each.kind
)
def test_the_pods_are_hardened_and_beside_the_registry(
    storage: LocalVolumeSpec | SharedVolumeSpec | S3VolumeSpec, kind: str
) -> None:
    spec = KEPT.replace(storage=storage)
    found = pod(spec, kind)
    assert found["automountServiceAccountToken"] is False
    assert found["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 9898,
        "runAsGroup": 9898,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    _hardened(found)
    (term,) = found["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["labelSelector"]["matchLabels"] == Identity("pypiserver").selector
    volumes = {volume["name"]: volume for volume in found["volumes"]}
    assert volumes["packages"] == next(
        each for each in pod_of(synthesize(spec))["volumes"] if each["name"] == "packages"
    )


def _hardened(found: dict[str, Any]) -> None:
    for container in [*found["containers"], *found["initContainers"]]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }
        assert container["resources"]["limits"]["memory"]
    volumes = {volume["name"]: volume for volume in found["volumes"]}
    assert all("sizeLimit" in volume["emptyDir"] for volume in volumes.values() if "emptyDir" in volume)
    mounted = {
        mount["name"] for each in [*found["containers"], *found["initContainers"]] for mount in each["volumeMounts"]
    }
    assert mounted == set(volumes)


@pytest.mark.parametrize("kind", KINDS)
def test_of_a_store_they_run_anywhere_and_know_both_places(kind: str) -> None:
    spec = PyPIServerSpec(storage=STORE, backup=BACKUP)
    found = pod(spec, kind)
    _hardened(found)
    assert "affinity" not in found
    assert "packages" not in {volume["name"] for volume in found["volumes"]}
    values = environment(spec, kind)
    assert values["BACKUP_SOURCE"] == "source:pypi-packages/pypiserver"
    assert values["BACKUP_STORE"] == "store:backups/pypiserver"
    assert "BACKUP_STATUS" not in values
    secrets = {
        each["name"]: each["valueFrom"]["secretKeyRef"]["name"]
        for each in found["containers"][0]["env"]
        if "secretKeyRef" in each.get("valueFrom", {})
    }
    assert secrets["RCLONE_CONFIG_SOURCE_ACCESS_KEY_ID"] == "pypiserver-s3"
    assert secrets["RCLONE_CONFIG_STORE_ACCESS_KEY_ID"] == "pypiserver-backup"
    policies = objects(synthesize(spec.replace(network_policy=RegistryNetworkPolicySpec())))
    reached = policies["NetworkPolicy", f"pypiserver-{kind}"]["spec"]["egress"]
    assert sum([port["port"] for port in rule["ports"]] == [443] for rule in reached) == 2


def test_a_store_copies_by_itself_where_both_are_one_account() -> None:
    variable = "RCLONE_SERVER_SIDE_ACROSS_CONFIGS"
    apart = PyPIServerSpec(storage=STORE, backup=BackupSpec(remote=STORE.remote.replace(path="copies")))
    assert variable not in environment(apart, "backup")
    same = apart.replace(backup=BackupSpec(remote=STORE.remote.replace(path="copies", secret="pypiserver-s3")))
    assert environment(same, "backup")[variable] == "true"


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_but_the_status_is_written_on_the_volume(kind: str) -> None:
    mounts = [each for each in pod(KEPT, kind)["containers"][0]["volumeMounts"] if each["name"] == "packages"]
    whole, status = mounts
    assert status["subPath"] == ".pypiserver/backup"
    assert whole.get("readOnly") is (None if kind == "restore" else True)


def test_nobody_takes_the_pods_for_those_of_the_registry() -> None:
    for kind in KINDS:
        labels = job(KEPT, kind)["jobTemplate"]["spec"]["template"]["metadata"]["labels"]
        assert not Identity("pypiserver").selector.items() <= labels.items()


def test_one_run_at_a_time_with_an_end() -> None:
    for kind in KINDS:
        found = job(KEPT, kind)
        assert found["concurrencyPolicy"] == "Forbid"
        assert found["jobTemplate"]["spec"]["activeDeadlineSeconds"] == 6 * 3600
    assert job(KEPT, "backup")["jobTemplate"]["spec"]["backoffLimit"] == 2
    assert job(KEPT, "drill")["jobTemplate"]["spec"]["backoffLimit"] == 0


def test_a_restore_waits_for_somebody() -> None:
    assert job(KEPT, "restore")["suspend"] is True
    assert environment(KEPT, "restore")["RESTORE_DRY_RUN"] == "yes"
    assert "suspend" not in job(KEPT, "backup")


def test_what_the_registrys_pods_have_these_have_too() -> None:
    spec = KEPT.replace(
        pod=PodOptionsSpec(
            node_selector={"disk": "ssd"},
            tolerations=[{"key": "a", "operator": "Exists"}],
            image_pull_secrets=["mirror"],
        ),
        service_account=ServiceAccountSpec(existing="known-to-the-cloud"),
    )
    for kind in KINDS:
        found = pod(spec, kind)
        assert found["nodeSelector"] == {"disk": "ssd"}
        assert found["tolerations"] == [{"key": "a", "operator": "Exists"}]
        assert found["imagePullSecrets"] == [{"name": "mirror"}]
        assert found["serviceAccountName"] == "known-to-the-cloud"


def test_encryption_stands_before_the_store() -> None:
    spec = PyPIServerSpec(backup=BACKUP.replace(encryption_secret="passwords"))
    values = environment(spec, "backup")
    assert values["BACKUP_STORE"] == "crypt:"
    assert values["RCLONE_CONFIG_CRYPT_REMOTE"] == "store:backups/pypiserver"
    keys = {
        each["name"]: each["valueFrom"]["secretKeyRef"]
        for each in pod(spec, "backup")["containers"][0]["env"]
        if "valueFrom" in each
    }
    assert keys["RCLONE_CONFIG_CRYPT_PASSWORD"] == {"name": "passwords", "key": "password"}
    assert keys["RCLONE_CONFIG_CRYPT_PASSWORD2"] == {"name": "passwords", "key": "password2", "optional": True}
    assert keys["RCLONE_CONFIG_STORE_ACCESS_KEY_ID"] == {"name": "pypiserver-backup", "key": "access_key_id"}


def test_a_second_volume_is_written_by_the_backup_alone() -> None:
    spec = PyPIServerSpec(backup=BackupSpec(claim="copies"))
    assert environment(spec, "backup")["BACKUP_STORE"] == "/backup"
    for kind in KINDS:
        (mount,) = (each for each in pod(spec, kind)["containers"][0]["volumeMounts"] if each["name"] == "target")
        assert mount.get("readOnly") is (None if kind == "backup" else True)


def test_a_volume_of_the_drills_own_is_given_to_it() -> None:
    drill = DrillSpec(scratch_storage_class="fast")
    spec = PyPIServerSpec(backup=BACKUP.replace(drill=drill))
    found = pod(spec, "drill")
    assert found["securityContext"] == pod_of(synthesize(spec))["securityContext"]
    (scratch,) = (each for each in found["volumes"] if each["name"] == "scratch")
    assert scratch["ephemeral"]["volumeClaimTemplate"]["spec"]["storageClassName"] == "fast"


def test_the_ways_are_those_to_the_store_and_to_the_registry() -> None:
    own = [{"ipBlock": {"cidr": "192.0.2.0/24"}}]
    remote = RemoteSpec(type="sftp", path="a", options={"host": "files"}, secret_options=["pass"], peers=own)
    made = objects(
        synthesize(
            PyPIServerSpec(backup=BackupSpec(remote=remote), network_policy=RegistryNetworkPolicySpec(clients=()))
        )
    )
    for kind in KINDS:
        policy = made["NetworkPolicy", f"pypiserver-{kind}"]["spec"]
        assert policy["podSelector"]["matchLabels"] == Identity("pypiserver").selector_of(kind)
        assert policy["policyTypes"] == ["Ingress", "Egress"]
        assert "ingress" not in policy
        reached = [(rule["to"], sorted(port["port"] for port in rule["ports"])) for rule in policy["egress"]]
        assert (own, [22]) in reached
        registry = [{"podSelector": {"matchLabels": Identity("pypiserver").selector}}]
        assert ((registry, [8080, 8443]) in reached) is (kind == "drill")
        assert {tuple(ports) for _, ports in reached} <= {(22,), (53,), (8080, 8443)}
    incoming = made["NetworkPolicy", "pypiserver"]["spec"]["ingress"]
    drill = {"podSelector": {"matchLabels": Identity("pypiserver").selector_of("drill")}}
    assert [drill] in [rule["from"] for rule in incoming]


def test_the_drill_knows_the_registry_by_its_certificate() -> None:
    secured = KEPT.replace(gateway_tls=GatewayTLSSpec())
    values = environment(secured, "drill")
    assert (values["DRILL_PORT"], values["DRILL_TLS"]) == ("443", "yes")
    (authority,) = (each for each in pod(secured, "drill")["volumes"] if each["name"] == "registry-ca")
    # Not the key.
    assert authority["secret"] == {
        "secretName": "pypiserver-tls",
        "items": [{"key": "ca.crt", "path": "ca.crt"}],
        "optional": True,
    }
    assert "registry-ca" not in {each["name"] for each in pod(secured, "backup")["volumes"]}
    told = KEPT.replace(gateway_tls=GatewayTLSSpec(), backup=BACKUP.replace(drill=DrillSpec(url="https://a.example/")))
    values = environment(told, "drill")
    assert values["DRILL_URL"] == "https://a.example"
    assert "DRILL_TLS" not in values


def test_the_server_knows_by_when_they_are_due() -> None:
    (server,) = (each for each in pod_of(synthesize(KEPT))["containers"] if each["name"] == "pypiserver")
    values = {each["name"]: each.get("value") for each in server["env"]}
    assert values["BACKUP_MAX_AGE_SECONDS"] == str(26 * 3600)
    assert values["DRILL_MAX_AGE_SECONDS"] == str(8 * 86400)
