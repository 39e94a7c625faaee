"""A bucket that a driver has mounted: how its pods get rid of a mount that is dead."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cdk8s_pypiserver import PyPIServerSpec, ReadersSpec, S3VolumeSpec, ServerSpec, SharedVolumeSpec
from cdk8s_pypiserver.base.fields import quantity
from manifests import OVERLAYS, by_kind, pod_of, synthesize
from programs import wait_for
from refusing_store import RefusingStore
from remote_programs import KEYS, leave_parts, s3, told, uploads_in_parts
from remote_volume import kill, mounted
from server.volume.replacement import BYTES

DRIVER = OVERLAYS / "hetzner-s3/driver-without-systemd.yaml"
MOUNTS = Path("/proc/self/mounts")
STAGED = "/var/lib/kubelet/plugins/kubernetes.io/csi/ru.yandex.s3.csi"


def pods(spec: PyPIServerSpec) -> list[Any]:
    manifests = synthesize(spec)
    return [by_kind(manifests, kind)["spec"]["template"]["spec"] for kind in ("Deployment", "StatefulSet")]


def test_every_pod_of_a_bucket_can_ask_for_its_replacement() -> None:
    for pod in pods(PyPIServerSpec(storage=S3VolumeSpec(bucket="packages"), readers=ReadersSpec())):
        server = next(each for each in pod["containers"] if each["name"] == "pypiserver")
        (asked,) = (each["value"] for each in server["env"] if each["name"] == "REPLACEMENT_DIRECTORY")
        (mount,) = (each for each in server["volumeMounts"] if each["mountPath"] == asked)
        assert "readOnly" not in mount
        (volume,) = (each for each in pod["volumes"] if each["name"] == mount["name"])
        # What is written is more than the kubelet allows; of a directory alone it counts a block.
        assert 8192 < quantity(volume["emptyDir"]["sizeLimit"]) < BYTES / 2
        # tmpfs would refuse it instead.
        assert "medium" not in volume["emptyDir"]


def test_the_gateway_knows_how_much_room_uploads_have() -> None:
    spec = PyPIServerSpec(
        storage=S3VolumeSpec(bucket="packages"), readers=ReadersSpec(), server=ServerSpec(temporary_size="30Gi")
    )
    for pod in pods(spec):
        (room,) = (each["value"] for each in pod["containers"][0]["env"] if each["name"] == "UPLOAD_ROOM")
        (scratch,) = (each["emptyDir"] for each in pod["volumes"] if each["name"] == "server-tmp")
        assert room == scratch["sizeLimit"] == "30Gi"
    assert "UPLOAD_ROOM" not in str(pod_of(synthesize(PyPIServerSpec(storage=SharedVolumeSpec()))))


def test_other_volumes_are_waited_for() -> None:
    pod = pod_of(synthesize(PyPIServerSpec(storage=SharedVolumeSpec())))
    assert "dead-mount" not in {each["name"] for each in pod["volumes"]}
    assert "REPLACEMENT_DIRECTORY" not in str(pod)


def test_what_is_unfinished_is_ended_in_the_folder_of_the_packages_alone() -> None:
    def place(**fields: Any) -> tuple[str, dict[str, str]]:  # noqa: ANN401
        storage = S3VolumeSpec(bucket="packages", secret="keys", **fields)
        pod = by_kind(synthesize(PyPIServerSpec(storage=storage)), "CronJob")["spec"]["jobTemplate"]["spec"]["template"]
        (container,) = pod["spec"]["containers"]
        assert container["args"][:2] == ["backend", "cleanup"]
        secrets = {each["valueFrom"]["secretKeyRef"]["name"] for each in container["env"] if "valueFrom" in each}
        assert secrets == {"keys"}
        return container["args"][2], {each["name"]: each.get("value") for each in container["env"]}

    argument, environment = place(prefix="team/pypi")
    assert argument.startswith("store:$(BUCKET)/$(FOLDER)")
    assert (environment["BUCKET"], environment["FOLDER"]) == ("packages", "team/pypi")
    # There the driver chooses the folder.
    argument, environment = place(provisioning="dynamic")
    assert (argument, "FOLDER" in environment) == ("store:$(BUCKET)", False)
    kinds = {each["kind"] for each in synthesize(PyPIServerSpec(storage=S3VolumeSpec(bucket="packages", cleanup=None)))}
    assert "CronJob" not in kinds


def test_a_folder_whose_name_begins_alike_keeps_what_is_unfinished(tmp_path: Path) -> None:
    storage = S3VolumeSpec(bucket="packages", prefix="team/pypi")
    pod = by_kind(synthesize(PyPIServerSpec(storage=storage)), "CronJob")["spec"]["jobTemplate"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    (tmp_path / "s3/packages").mkdir(parents=True)
    old = ("team/pypi/a-1.0.zip", "team/pypi/deeper/a-1.0.zip", "team/pypi-old/a-1.0.zip", "team/pypi")
    young = "team/pypi/a-2.0.zip"
    with s3(tmp_path / "s3") as behind, RefusingStore(behind.port) as store:
        secret = {"accessKeyID": KEYS["access_key_id"], "secretAccessKey": KEYS["secret_access_key"]}
        secret |= {"endpoint": f"http://localhost:{store.port}", "region": "us-east-1"}
        environment = told(container["env"], secret)
        # Who begins them goes by other rules.
        usual = {name: value for name, value in environment.items() if not name.endswith("ENCODING")}
        for key in (*old, young):
            leave_parts(usual, f"store:packages/{key}")
        store.old = set(old)
        arguments = [re.sub(r"\$\((\w+)\)", lambda name: environment[name[1]], each) for each in container["args"]]
        subprocess.run(["rclone", *arguments], check=True, env=environment)
        left = uploads_in_parts(usual, "store:packages")
    assert left == [f"packages/{key}" for key in sorted((*old[2:], young))]


@pytest.fixture
def unmounting(tmp_path: Path) -> Any:  # noqa: ANN401
    """The container for nodes without systemd, about this directory."""
    (container,) = yaml.safe_load(DRIVER.read_text())["spec"]["template"]["spec"]["initContainers"]
    *shell, script = container["command"]
    assert STAGED in script
    places = {STAGED: str(tmp_path), "/tmp/looked": str(tmp_path / "looked"), "sleep 2": "sleep 0.1"}  # noqa: S108
    for place, here in places.items():
        script = script.replace(place, here)
    with subprocess.Popen([*shell, script], stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def test_a_dead_mount_of_the_driver_is_unmounted_and_no_other(tmp_path: Path, unmounting: Any) -> None:  # noqa: ANN401
    dead, alive = tmp_path / "one/globalmount", tmp_path / "two/globalmount"
    for each in (dead, alive, tmp_path / "three/globalmount"):
        each.mkdir(parents=True)
    with mounted(dead, {"a": b"a"}), mounted(alive, {"b": b"b"}):
        kill(dead)
        wait_for(lambda: not any(str(dead) in line for line in MOUNTS.read_text().splitlines()), "the dead mount to go")
        assert unmounting.stdout.readline() == f"dead: {dead.parent}\n"
        assert [each.name for each in alive.iterdir()] == ["b"]
        assert str(alive) in MOUNTS.read_text()
