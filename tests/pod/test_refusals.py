"""What Kubernetes would refuse of a container or a volume is refused here, with field, value and reason."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cdk8s
import pytest
import yaml

from cdk8s_pypiserver import BackupSpec, CopySpec, PyPIServerChart, PyPIServerSpec, ServerSpec, Spec, SpecError

HARDENED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
KEY = {"secretKeyRef": {"name": "a", "key": "b"}}
FIELD = {"fieldRef": {"fieldPath": "metadata.name"}}
UNKNOWN: dict[str, tuple[dict[str, Any], str]] = {
    "a key": ({"imagee": "x"}, "imagee ('x') is no field here; did you mean image?"),
    "a key within": ({"resources": {"memory": "1Gi"}}, "resources.memory ('1Gi') is no field here; there are"),
    "a mapping for a list": ({"env": {"A": "b"}}, "env (given) must be a list"),
    "a list for a mapping": ({"resources": {"limits": ["1Gi"]}}, "resources.limits (['1Gi']) must be a mapping"),
    "a number for a text": ({"env": [{"name": "A", "value": 1}]}, "env[0].value (1) must be text"),
    "a text for a number": (
        {"ports": [{"containerPort": "80"}]},
        "ports[0].containerPort ('80') must be a whole number",
    ),
    "a text for a list": ({"command": "sh -c x"}, "command ('sh -c x') must be a list"),
    "a text for a list within": (
        {"securityContext": {"capabilities": {"drop": "ALL"}}},
        "securityContext.capabilities.drop ('ALL') must be a list",
    ),
    "a number as an image": ({"image": 5}, "image (5) must be text"),
    "a variable without a name": ({"env": [{"value": "1"}]}, "env[0].name is missing"),
    "a port without a number": ({"ports": [{"name": "a"}]}, "ports[0].containerPort is missing"),
    "a mount without a path": ({"volumeMounts": [{"name": "run"}]}, "volumeMounts[0].mountPath is missing"),
}
IMPOSSIBLE: dict[str, tuple[dict[str, Any], str]] = {
    "a variable twice": ({"env": [{"name": "A"}, {"name": "A", "value": "2"}]}, "env.name (A) is there twice"),
    "a value from two": (
        {"env": [{"name": "A", "value": "1", "valueFrom": FIELD}]},
        "env.value (1) cannot be had with",
    ),
    "two sources": (
        {"env": [{"name": "A", "valueFrom": {**FIELD, **KEY}}]},
        "env.valueFrom (fieldRef, secretKeyRef) must have one source, for A",
    ),
    "no source": ({"env": [{"name": "A", "valueFrom": {}}]}, "env.valueFrom (none) must have one source, for A"),
    "a variable's object": (
        {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "a_b", "key": "c"}}}]},
        "env.valueFrom.configMapKeyRef.name (a_b) must be a name of lower-case letters",
    ),
    "a variable's key": (
        {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b/c"}}}]},
        "env.valueFrom.secretKeyRef.key (b/c) must be letters, digits, - _ and .",
    ),
    "an object of variables": ({"envFrom": [{"secretRef": {}}]}, "envFrom.secretRef.name () must not be empty"),
    "variables of nothing": ({"envFrom": [{"prefix": "a"}]}, "envFrom (none) must have one source: configMapRef or"),
    "port 0": ({"ports": [{"containerPort": 0}]}, "ports.containerPort (0) must be from 1 to 65535"),
    "port 70000": ({"ports": [{"containerPort": 70000}]}, "ports.containerPort (70000) must be from 1 to 65535"),
    "a port of the host": ({"ports": [{"containerPort": 1, "hostPort": -1}]}, "ports.hostPort (-1) must be from 1"),
    "a protocol": ({"ports": [{"containerPort": 9000, "protocol": "tcp"}]}, "ports.protocol (tcp) must be SCTP or TCP"),
    "a name of a port": ({"ports": [{"containerPort": 9000, "name": "9000"}]}, "ports.name (9000) must be at most 15"),
    "a port twice": (
        {"ports": [{"containerPort": 9000}, {"containerPort": 9000, "protocol": "TCP"}]},
        "ports.containerPort (9000) is there twice",
    ),
    "a port's name twice": (
        {"ports": [{"containerPort": 9000, "name": "a"}, {"containerPort": 9001, "name": "a"}]},
        "ports.name (a) is there twice",
    ),
    "no path of a mount": ({"volumeMounts": [{"name": "run", "mountPath": ""}]}, "mountPath (None) must be a path"),
    "a colon": ({"volumeMounts": [{"name": "run", "mountPath": "/a:b"}]}, "mountPath (/a:b) must be a path, without :"),
    "a path from the root": (
        {"volumeMounts": [{"name": "run", "mountPath": "/a", "subPath": "/b"}]},
        "volumeMounts.subPath (/b) must be a path within the volume",
    ),
    "a way out of a volume": (
        {"volumeMounts": [{"name": "run", "mountPath": "/a", "subPathExpr": "b/../.."}]},
        "volumeMounts.subPathExpr (b/../..) must be a path within the volume",
    ),
    "two paths within": (
        {"volumeMounts": [{"name": "run", "mountPath": "/a", "subPath": "b", "subPathExpr": "$(A)"}]},
        "volumeMounts.subPath (b) must be left out with subPathExpr",
    ),
    "a device of nothing": (
        {"volumeDevices": [{"name": "nil", "devicePath": "/dev/a"}]},
        "volumeDevices.name (nil) must be a volume of the pod: credentials,",
    ),
    "a pull policy": (
        {"imagePullPolicy": "always"},
        "imagePullPolicy (always) must be Always or IfNotPresent or Never",
    ),
    "last words": ({"terminationMessagePolicy": "x"}, "terminationMessagePolicy (x) must be FallbackToLogsOnError or"),
    "a resource": ({"resources": {"limits": {"memroy": "1Gi"}}}, "resources.limits.memroy (1Gi) is no resource: there"),
    "a device without a limit": (
        {"resources": {"requests": {"example.com/gpu": "1"}}},
        "resources.requests.example.com/gpu (1) must be what resources.limits has (None)",
    ),
    "privileged": (
        {"securityContext": {**HARDENED, "privileged": True}},
        "securityContext.privileged (True) cannot be had with allowPrivilegeEscalation (False)",
    ),
    "a user": ({"securityContext": {**HARDENED, "runAsUser": -1}}, "securityContext.runAsUser (-1) must be from 0 to"),
    "a kind of seccomp": (
        {"securityContext": {**HARDENED, "seccompProfile": {"type": "Default"}}},
        "securityContext.seccompProfile.type (Default) must be Localhost or RuntimeDefault or Unconfined",
    ),
    "no file of seccomp": (
        {"securityContext": {**HARDENED, "seccompProfile": {"type": "Localhost"}}},
        "securityContext.seccompProfile.localhostProfile (None) goes with type Localhost, and it alone",
    ),
}
OF_HANDLERS: dict[str, tuple[dict[str, Any], str]] = {
    "two handlers": (
        {"livenessProbe": {"tcpSocket": {"port": 1}, "exec": {"command": ["a"]}}},
        "livenessProbe (tcpSocket, exec) must have one handler",
    ),
    "no handler": ({"readinessProbe": {"periodSeconds": 1}}, "readinessProbe (none) must have one handler, such as"),
    "a port": ({"startupProbe": {"httpGet": {"port": 99999}}}, "startupProbe.httpGet.port (99999) must be from 1 to"),
    "a name": ({"livenessProbe": {"httpGet": {"port": "web"}}}, "livenessProbe.httpGet.port (web) must be a number or"),
    "a time": (
        {"livenessProbe": {"tcpSocket": {"port": 1}, "timeoutSeconds": 0}},
        "livenessProbe.timeoutSeconds (0) must be at least 1",
    ),
    "successes": (
        {"livenessProbe": {"tcpSocket": {"port": 1}, "successThreshold": 2}},
        "livenessProbe.successThreshold (2) must be 1",
    ),
    "a hook without a handler": ({"lifecycle": {"preStop": {}}}, "lifecycle.preStop (none) must have one handler"),
    "a hook with two": (
        {"lifecycle": {"postStart": {"exec": {"command": ["a"]}, "httpGet": {"port": 1}}}},
        "lifecycle.postStart (exec, httpGet) must have one handler",
    ),
}
OF_VOLUMES: dict[str, tuple[dict[str, Any], str]] = {
    "a name": ({"name": "My_Volume", "emptyDir": {}}, "name (My_Volume) must be a name of lower-case letters"),
    "two sources": (
        {"emptyDir": {}, "configMap": {"name": "a"}},
        "cannot be had together: a volume has one source",
    ),
    "no Secret": ({"secret": {"optional": True}}, "secret.secretName (None) must be set"),
    "no ConfigMap": ({"configMap": {}}, "configMap.name (None) must be set"),
    "no ConfigMap among several": (
        {"projected": {"sources": [{"configMap": {"optional": True}}]}},
        "projected.sources.configMap.name (None) must be set",
    ),
    "a mode": ({"configMap": {"name": "a", "defaultMode": 1000}}, "configMap.defaultMode (1000) must be from 0 to 511"),
    "a mode of a file": (
        {"secret": {"secretName": "a", "items": [{"key": "a", "path": "a", "mode": -1}]}},
        "secret.items.mode (-1) must be from 0 to 511, which is 0777",
    ),
    "a way out": (
        {"configMap": {"name": "a", "items": [{"key": "a", "path": "../a"}]}},
        "configMap.items.path (../a) must be a path within the volume",
    ),
    "a size": ({"emptyDir": {"sizeLimit": "1 GB"}}, "emptyDir.sizeLimit (1 GB) must be a Kubernetes quantity such as"),
    "a medium": ({"emptyDir": {"medium": "memory"}}, "emptyDir.medium (memory) must be Memory or HugePages"),
    "a kind of path": ({"hostPath": {"path": "/a", "type": "dir"}}, "hostPath.type (dir) must be BlockDevice or"),
    "a path of the node": ({"hostPath": {"path": "/a/../b"}}, "hostPath.path (/a/../b) must be without .."),
}
UNKNOWN_OF_VOLUMES: dict[str, tuple[dict[str, Any], str]] = {
    "a source": ({"emptydir": {}}, "emptydir (given) is no field here; did you mean emptyDir?"),
    "a name of a Secret": ({"secret": {"name": "a"}}, "secret.name ('a') is no field here; there are defaultMode,"),
    "no path of the node": ({"hostPath": {}}, "hostPath.path is missing"),
    "no claim": ({"persistentVolumeClaim": {}}, "persistentVolumeClaim.claimName is missing"),
    "a mode as text": (
        {"configMap": {"name": "a", "defaultMode": "0644"}},
        "configMap.defaultMode ('0644') must be a whole number",
    ),
}


def container(**fields: Any) -> dict[str, Any]:  # noqa: ANN401 - as in a manifest
    return {"name": "mine", "image": "a/b:1", "securityContext": HARDENED, **fields}


def problems(method: str, part: object) -> str:
    """Return what a pod says when this has joined it."""
    pod = PyPIServerChart(cdk8s.App(), "chart").registry.pod
    getattr(pod, method)(part)
    return "\n".join(pod.problems())


def problems_of_file(file: Path, field: str, part: object) -> str:
    """Return what is said of a file that has this."""
    file.write_text(yaml.safe_dump({"pod": {field: [part]}}))
    chart = PyPIServerChart(cdk8s.App(), "chart", PyPIServerSpec.from_yaml(file))
    return "\n".join(chart.registry.problems())


@pytest.mark.parametrize("method", ["add_container", "add_init_container"])
@pytest.mark.parametrize(("fields", "says"), UNKNOWN.values(), ids=UNKNOWN)
def test_a_container_that_kubernetes_does_not_know(method: str, fields: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError) as refused:
        problems(method, container(**fields))
    assert str(refused.value).startswith(f"container mine cannot be made:\n  {says}")


@pytest.mark.parametrize(("fields", "says"), UNKNOWN.values(), ids=UNKNOWN)
def test_such_a_container_in_a_file(fields: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as refused:
        problems_of_file(tmp_path / "registry.yaml", "containers", container(**fields))
    assert f"pod.containers[0].{says}" in str(refused.value)


@pytest.mark.parametrize(("fields", "says"), UNKNOWN_OF_VOLUMES.values(), ids=UNKNOWN_OF_VOLUMES)
def test_a_volume_that_kubernetes_does_not_know(fields: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as refused:
        problems("add_volume", {"name": "mine", **fields})
    assert str(refused.value).startswith(f"volume mine cannot be made:\n  {says}")
    with pytest.raises(SpecError) as refused:
        problems_of_file(tmp_path / "registry.yaml", "volumes", {"name": "mine", **fields})
    assert f"pod.volumes[0].{says.partition(' is no')[0]}" in str(refused.value)


@pytest.mark.parametrize("part", ["mine", None, [container()]], ids=["text", "nothing", "a list"])
def test_what_is_no_mapping(part: object) -> None:
    for method, kind in (("add_container", "Container"), ("add_init_container", "Container"), ("add_volume", "Volume")):
        with pytest.raises(
            ValueError, match=rf"a {kind.lower()} \(.*\) must be a k8s.{kind} or a mapping of its field"
        ):
            problems(method, part)
    with pytest.raises(SpecError, match="Container cannot be made:\n  name is missing"):
        problems("add_container", {"image": "a"})


@pytest.mark.parametrize("method", ["add_container", "add_init_container"])
@pytest.mark.parametrize(("fields", "says"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_a_container_that_cannot_be(method: str, fields: dict[str, Any], says: str, tmp_path: Path) -> None:
    (found,) = problems(method, container(**fields)).splitlines()
    assert found.startswith("container mine: ")
    assert says in found
    field = method.removeprefix("add_") + "s"
    assert found in problems_of_file(tmp_path / "registry.yaml", field, container(**fields))


@pytest.mark.parametrize(("fields", "says"), OF_HANDLERS.values(), ids=OF_HANDLERS)
def test_a_handler_that_cannot_be(fields: dict[str, Any], says: str) -> None:
    (found,) = problems("add_container", container(**fields)).splitlines()
    assert found.startswith(f"container mine: {says}")
    beside = container(**fields, restartPolicy="Always")
    assert problems("add_init_container", beside) == found
    field = next(iter(fields))
    assert f"container mine: {field} (given) must be left out: the container ends before the others begin" in problems(
        "add_init_container", container(**fields)
    )


@pytest.mark.parametrize(("fields", "says"), OF_VOLUMES.values(), ids=OF_VOLUMES)
def test_a_volume_that_cannot_be(fields: dict[str, Any], says: str, tmp_path: Path) -> None:
    volume = {"name": "mine", **fields}
    (found,) = problems("add_volume", volume).splitlines()
    assert found.startswith(f"volume {volume['name']}: ")
    assert says in found
    assert says in problems_of_file(tmp_path / "registry.yaml", "volumes", volume)


def test_two_containers_have_no_name_of_a_port_in_common() -> None:
    mine = container(ports=[{"containerPort": 9000, "name": "http"}])
    assert problems("add_container", mine) == "container mine: ports.name (http) must be another one: gateway has it"
    assert problems("add_init_container", {**mine, "restartPolicy": "Always"})
    # What has ended when the others begin is in nobody's way.
    assert problems("add_init_container", mine) == ""


def test_what_is_right_is_taken() -> None:
    mine = container(
        imagePullPolicy="Always",
        env=[{"name": "A", "value": "", "valueFrom": FIELD}, {"name": "B"}],
        envFrom=[{"prefix": "a", "secretRef": {"name": "a"}}],
        ports=[
            {"containerPort": 9000, "name": "mine", "hostPort": 0},
            {"containerPort": 9000, "protocol": "UDP", "name": "mine-2"},
        ],
        livenessProbe={"httpGet": {"port": "mine"}, "timeoutSeconds": 1, "initialDelaySeconds": 0},
        readinessProbe={"grpc": {"port": 9000}, "successThreshold": 2},
        lifecycle={"preStop": {"sleep": {"seconds": 1}}},
        volumeMounts=[{"name": "run", "mountPath": "/a", "subPath": "b..c/d"}],
        resources={"requests": {"cpu": "1", "example.com/gpu": 1}, "limits": {"example.com/gpu": "1", "cpu": 2}},
        securityContext={**HARDENED, "seccompProfile": {"type": "Localhost", "localhostProfile": "a.json"}},
    )
    assert problems("add_container", mine) == ""
    for source in (
        {},
        {"emptyDir": {"medium": "HugePages-2Mi", "sizeLimit": "1Gi"}},
        {"secret": {"secretName": "a", "defaultMode": 0o400, "items": [{"key": "a", "path": "b/c"}]}},
        {"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}, {"secret": {"name": "a"}}]}},
        {"hostPath": {"path": "/a", "type": "DirectoryOrCreate"}},
    ):
        assert problems("add_volume", {"name": "mine", **source}) == ""


@pytest.mark.parametrize(
    "made",
    [
        ServerSpec,
        partial(BackupSpec, claim="copies"),
        partial(CopySpec, source="https://old.example.org/simple/"),
    ],
    ids=["server", "backup", "copy"],
)
def test_variables_that_kubernetes_would_refuse_are_refused(made: Callable[..., Spec]) -> None:
    source = {"secretKeyRef": {"name": "A", "key": ".."}}
    with pytest.raises(SpecError) as refused:
        made(env=[{"name": "PROXYé"}, {"name": "B", "valueFrom": source}])
    assert [(problem.field, problem.value) for problem in refused.value.problems] == [
        ("env[0].name", "PROXYé"),
        ("env[1].valueFrom.secretKeyRef.name", "A"),
        ("env[1].valueFrom.secretKeyRef.key", ".."),
    ]


def test_objects_of_variables_that_kubernetes_would_refuse_are_refused() -> None:
    with pytest.raises(SpecError, match=r"env_from\[0\]\.configMapRef\.name \('a b'\) must be a name"):
        ServerSpec(env_from=[{"configMapRef": {"name": "a b"}}])
