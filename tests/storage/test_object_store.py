"""A registry on an object store: two containers, a cache, and what gateway, server and network policy know of it."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import cdk8s
import pytest

from cases import CASES, PUBLIC, STORE
from cdk8s_pypiserver import (
    ObjectStore,
    ObjectStoreSpec,
    PyPIServer,
    PyPIServerChart,
    PyPIServerSpec,
    RcloneSpec,
    RegistryNetworkPolicySpec,
    RemoteSpec,
    Resources,
    S3VolumeSpec,
    VolumeChart,
)
from cdk8s_pypiserver.base.config_files import runtime_files
from cdk8s_pypiserver.base.peers import NAME_SERVERS
from cdk8s_pypiserver.base.peers import PUBLIC as EVERYBODY
from fetching_programs import Rclone, spec_of
from manifests import Manifest, by_kind, pod_of, synthesize
from remote_programs import s3

if TYPE_CHECKING:
    from pathlib import Path

PLAIN = PyPIServerSpec(storage=STORE)
COMPANY = CASES["object-store-of-a-company"]
HARDENED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def _container(spec: PyPIServerSpec, name: str) -> Manifest:
    pod = pod_of(synthesize(spec))
    (found,) = (each for each in [*pod["containers"], *pod.get("initContainers", ())] if each["name"] == name)
    return dict(found)


def _environment(container: Manifest) -> dict[str, Any]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}


def _mounts(container: Manifest) -> dict[str, Manifest]:
    return {mount["mountPath"]: mount for mount in container["volumeMounts"]}


def test_rclone_starts_before_the_others_and_ends_after_them() -> None:
    """https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/."""
    pod = pod_of(synthesize(PLAIN))
    (rclone,) = pod["initContainers"]
    assert (rclone["name"], rclone["restartPolicy"]) == ("rclone", "Always")
    assert rclone["startupProbe"]["exec"]["command"][0] == "rclone"
    assert "lifecycle" not in rclone


def test_rclone_knows_the_store_and_reads_the_secret_from_a_file_that_may_change() -> None:
    rclone, fetching = (_container(PLAIN, name) for name in ("rclone", "store"))
    environment = _environment(rclone)
    assert environment["RCLONE_CONFIG_STORE_ENDPOINT"] == "https://s3.example.org"
    assert environment["RCLONE_CONFIG"] == _environment(fetching)["RCLONE_FILE"]
    # What is in the environment would count for as long as the container lives.
    known = {name for name in environment if name.startswith("RCLONE_CONFIG_STORE_")}
    assert not known & {f"RCLONE_CONFIG_STORE_{key}" for key in ("TYPE", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY")}
    assert _environment(fetching)["STORE_TYPE"] == "s3"
    for container in (rclone, fetching):
        assert _mounts(container)["/run/rclone"].get("readOnly") is None
    volumes = {each["name"]: each for each in pod_of(synthesize(PLAIN))["volumes"]}
    assert volumes["rclone"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "1Mi"}
    items = [{"key": key, "path": key} for key in ("access_key_id", "secret_access_key")]
    assert volumes["store-secret"]["secret"] == {"secretName": "pypiserver-s3", "items": items}


def test_nobody_else_has_the_keys() -> None:
    for name in ("gateway", "pypiserver", "rclone"):
        assert "/etc/pypiserver/store-secret" not in _mounts(_container(PLAIN, name)), name
    for name in ("gateway", "pypiserver"):
        assert "/run/rclone" not in _mounts(_container(PLAIN, name)), name
    assert "secretKeyRef" not in json.dumps(pod_of(synthesize(PLAIN)))


def test_a_store_that_knows_the_pod_has_no_secret() -> None:
    remote = RemoteSpec(type="google cloud storage", path="bucket", options={"env_auth": "true"}, secret_options=[])
    spec = PyPIServerSpec(storage=ObjectStoreSpec(remote=remote))
    environment = _environment(_container(spec, "rclone"))
    assert environment["RCLONE_CONFIG"] == "/dev/null"
    assert environment["RCLONE_CONFIG_STORE_TYPE"] == "google cloud storage"
    assert "SECRET_DIRECTORY" not in _environment(_container(spec, "store"))
    assert not {"rclone", "store-secret"} & {each["name"] for each in pod_of(synthesize(spec))["volumes"]}


def test_rclone_listens_where_no_other_pod_reaches_it() -> None:
    rclone = _container(PLAIN, "rclone")
    assert "--rc-addr=127.0.0.1:5572" in rclone["args"]
    assert "ports" not in rclone


@pytest.mark.parametrize(
    ("spec", "path"), [(PLAIN, "store:pypi-packages/pypiserver"), (COMPANY, "store:srv/pypi/packages")]
)
def test_all_who_read_or_write_mean_the_same_place(spec: PyPIServerSpec, path: str) -> None:
    for name in ("pypiserver", "store"):
        environment = _environment(_container(spec, name))
        assert environment["STORE_PATH"] == path
        assert environment["STORE_URL"] == "http://127.0.0.1:5572"
    chart = PyPIServerChart(cdk8s.App(), "chart", spec)
    assert isinstance(chart.registry.storage, ObjectStore)
    assert chart.registry.storage.path == path


@pytest.mark.parametrize("spec", [PLAIN, PyPIServerSpec(storage=S3VolumeSpec(bucket="packages"))])
def test_two_registries_in_one_place_can_be_told_apart(spec: PyPIServerSpec) -> None:
    environment = _environment(_container(spec, "pypiserver"))
    assert environment["REGISTRY_NAMESPACE"] == {"fieldRef": {"fieldPath": "metadata.namespace"}}
    field = "metadata.labels['app.kubernetes.io/instance']"
    assert environment["REGISTRY_NAME"] == {"fieldRef": {"fieldPath": field}}


def test_the_cache_is_bounded_and_no_claim_is_made() -> None:
    manifests = synthesize(PLAIN)
    assert "PersistentVolumeClaim" not in {each["kind"] for each in manifests}
    (volume,) = (each for each in pod_of(manifests)["volumes"] if each["name"] == "packages")
    assert volume["emptyDir"] == {"sizeLimit": "50Gi"}
    kept = int(_environment(_container(PLAIN, "store"))["CACHE_BYTES"])
    assert int(_environment(_container(PLAIN, "gateway"))["UPLOAD_ROOM"]) == kept - (1 << 30)
    assert 40 << 30 < kept < (50 << 30) * 0.9
    (claimed,) = (each for each in pod_of(synthesize(COMPANY))["volumes"] if each["name"] == "packages")
    assert claimed["persistentVolumeClaim"] == {"claimName": "cache"}


def test_the_gateway_notes_the_use_of_a_file_and_rclone_changes_none() -> None:
    """Read-only, the file system would not note when a file was last read."""
    for name, read_only in (("gateway", None), ("pypiserver", None), ("store", None), ("rclone", True)):
        mount = _mounts(_container(PLAIN, name))["/data/packages"]
        assert (mount["name"], mount.get("readOnly")) == ("packages", read_only), name


def test_the_gateway_has_the_files_of_it_and_without_it_none() -> None:
    shipped = {name for name in runtime_files("gateway") if name.endswith("-store.conf")}
    assert len(shipped) == 3
    for spec, wanted in ((PLAIN, shipped), (PyPIServerSpec(), set())):
        (files,) = (made["data"] for made in synthesize(spec) if "nginx.conf" in made.get("data", {}))
        assert {name for name in files if name.endswith("-store.conf")} == wanted


def test_the_network_policy_opens_the_ways_to_the_store_and_to_name_servers_alone() -> None:
    policy = by_kind(synthesize(PLAIN.replace(network_policy=RegistryNetworkPolicySpec())), "NetworkPolicy")["spec"]
    names = [{"to": list(NAME_SERVERS), "ports": [{"port": 53, "protocol": each}]} for each in ("UDP", "TCP")]
    # A writer's is that of its readers too, and without readers leads to no pod.
    *ways, _ = policy["egress"]
    assert ways == [{"to": list(EVERYBODY), "ports": [{"port": 443, "protocol": "TCP"}]}, *names]
    egress = by_kind(synthesize(COMPANY), "NetworkPolicy")["spec"]["egress"]
    assert egress[0] == {"to": list(_remote(COMPANY).peers), "ports": [{"port": 2222, "protocol": "TCP"}]}
    # Public packages need the same name servers.
    assert [rule["ports"] for rule in egress].count([{"port": 53, "protocol": "UDP"}]) == 1


def _remote(spec: PyPIServerSpec) -> Any:  # noqa: ANN401 - of one of several modes
    return getattr(spec.storage, "remote")  # noqa: B009 - mypy knows them by what they share


def test_the_garbage_collector_of_rclone_keeps_to_its_limit() -> None:
    storage = STORE.replace(rclone=RcloneSpec(resources=Resources(memory_limit="500Mi")))
    limited = PLAIN.replace(storage=storage)
    assert _environment(_container(limited, "rclone"))["GOMEMLIMIT"] == str(400 << 20)
    storage = STORE.replace(rclone=RcloneSpec(resources=Resources(memory_limit=None)))
    assert "GOMEMLIMIT" not in _environment(_container(PLAIN.replace(storage=storage), "rclone"))


@pytest.mark.parametrize("port", [8084, 5572])
def test_a_port_that_is_taken_is_refused(port: int) -> None:
    chart = PyPIServerChart(cdk8s.App(), "chart", PLAIN)
    mine = {"name": "mine", "image": "a", "securityContext": HARDENED, "ports": [{"containerPort": port}]}
    chart.registry.pod.add_container(mine)
    with pytest.raises(RuntimeError, match=rf"container mine: ports.containerPort \({port}\) must be another one"):
        cdk8s.Testing.synth(chart)


def test_it_has_no_volume_that_outlives_the_pods() -> None:
    with pytest.raises(ValueError, match="storage of kind object-store has no volume"):
        VolumeChart(cdk8s.App(), "volume", PLAIN)


def test_a_registry_is_made_of_a_store_whatever_storage_the_spec_has() -> None:
    chart = cdk8s.Chart(cdk8s.App(), "chart")
    registry = PyPIServer.from_object_store(chart, "registry", STORE, PyPIServerSpec(name="team", upstream=PUBLIC))
    assert registry.spec.storage == STORE
    assert "rclone" in json.dumps(cdk8s.Testing.synth(chart))


def test_the_container_is_what_rclone_takes(tmp_path: Path) -> None:
    """The arguments, the environment and the probe, with a Secret, against a store that speaks S3."""
    with s3(tmp_path / "s3") as store, Rclone(tmp_path / "rclone", spec := spec_of(store)) as rclone:
        container = _container(PyPIServerSpec(storage=spec), "rclone")
        probe = [each.replace("5572", str(rclone.port)) for each in container["livenessProbe"]["exec"]["command"]]
        subprocess.run(probe, check=True, capture_output=True, env=rclone.environment())
        asked = ["rclone", "rc", f"--url={rclone.url}", "operations/list", f"fs={spec.remote.fs('store')}", "remote="]
        done = subprocess.run(asked, check=True, capture_output=True, text=True, env=rclone.environment())
        assert json.loads(done.stdout) == {"list": []}
        rclone.kill()
        assert subprocess.run(probe, check=False, capture_output=True, env=rclone.environment()).returncode != 0
