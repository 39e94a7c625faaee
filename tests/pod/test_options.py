"""What users of any chart set on pods and containers: what is merged or replaced, what Kubernetes would refuse."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import cdk8s
import pytest

import schemas
from cdk8s_pypiserver import (
    AvailabilitySpec,
    GatewaySpec,
    MonitoringSpec,
    PodOptionsSpec,
    ProbeSpec,
    PyPIServerChart,
    PyPIServerSpec,
    ServerSpec,
    SharedVolumeSpec,
    SpecError,
)
from manifests import by_kind, pod_of, synthesize

HARDENED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
EVERYTHING = """\
storage: {kind: shared}
availability: {}
pod:
  node_selector: {kubernetes.io/os: linux}
  tolerations: [{key: batch, operator: Exists, effect: NoSchedule}]
  affinity:
    nodeAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
        nodeSelectorTerms: [{matchExpressions: [{key: disk, operator: In, values: [ssd]}]}]
  topology_spread_constraints: []
  priority_class: important
  runtime_class: gvisor
  scheduler_name: other
  dns_policy: None
  dns_config: {nameservers: [192.0.2.1], options: [{name: ndots, value: "2"}]}
  host_aliases: [{ip: 192.0.2.1, hostnames: [ldap.example.org]}]
  image_pull_secrets: [mirror]
  labels: {example.org/team: a}
  annotations: {example.org/team: b}
  containers:
    - name: report
      image: example.org/report:1
      resources: {requests: {cpu: 10m}}
      securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
      volumeMounts: [{name: report, mountPath: /report}]
  init_containers:
    - name: prepare
      image: example.org/report:1
      resources: {requests: {cpu: 10m}}
      securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
  volumes: [{name: report, emptyDir: {sizeLimit: 1Mi}}]
  security_context: {supplementalGroups: [7]}
server:
  image_pull_policy: IfNotPresent
  env: [{name: HTTPS_PROXY, valueFrom: {secretKeyRef: {name: proxy, key: url, optional: true}}}]
  env_from: [{configMapRef: {name: site, optional: true}}]
  volume_mounts: [{name: report, mountPath: /report, readOnly: true}]
  security_context: {seLinuxOptions: {level: "s0:c1"}}
  startup: {failure_threshold: 999}
  resources: {memory_limit: 1Gi, ephemeral_storage_request: 1Gi, ephemeral_storage_limit: 9Gi}
rollout: {max_surge: 50%, revision_history_limit: 3, progress_deadline_seconds: 900, min_ready_seconds: 5}
service_account: {annotations: {example.org/role: packages}}
"""


def test_every_option_at_once_is_valid_for_every_minor(tmp_path: Path) -> None:
    file = tmp_path / "registry.yaml"
    file.write_text(EVERYTHING.replace("dns_policy: None", 'dns_policy: "None"'))
    assert list(schemas.problems(synthesize(PyPIServerSpec.from_yaml(file)))) == []


def test_a_mistake_within_a_kubernetes_value_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "registry.yaml"
    file.write_text("pod:\n  affinity:\n    nodeAffinity:\n      requiredX: 1\n  tolerations:\n    - key: 5\n")
    with pytest.raises(SpecError) as refused:
        PyPIServerSpec.from_yaml(file)
    first, second = refused.value.problems
    assert (first.field, first.line) == ("pod.affinity.nodeAffinity.requiredX", 4)
    assert (second.field, second.line, second.reason) == ("pod.tolerations[0].key", 6, "must be text")


def test_the_schemas_are_not_loaded_without_a_kubernetes_value() -> None:
    program = "import sys, cdk8s_pypiserver as p; p.PyPIServerSpec(pod={'priority_class': 'a'}); "
    loaded = "print('jsonschema' in sys.modules)"
    used = "p.PodOptionsSpec(volumes=[{'name': 'a'}]); "
    for code, expected in ((program + loaded, "False\n"), (program + used + loaded, "True\n")):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout == expected


def _container(spec: PyPIServerSpec, name: str) -> dict[str, Any]:
    (found,) = (each for each in pod_of(synthesize(spec))["containers"] if each["name"] == name)
    return dict(found)


def test_a_variable_of_ones_own_takes_the_place_of_that_of_the_same_name() -> None:
    server = ServerSpec(env=[{"name": "THREADS", "value": "9"}, {"name": "MINE", "value": "$(THREADS)"}])
    env = _container(PyPIServerSpec(server=server), "pypiserver")["env"]
    assert [each for each in env if each["name"] == "THREADS"] == [{"name": "THREADS", "value": "9"}]
    assert env[-1] == {"name": "MINE", "value": "$(THREADS)"}
    assert "PACKAGES_DIRECTORY" in {each["name"] for each in env}


def test_hardening_stays_but_for_what_is_said() -> None:
    gateway = GatewaySpec(security_context={"capabilities": {"add": ["NET_BIND_SERVICE"]}, "privileged": None})
    assert _container(PyPIServerSpec(gateway=gateway), "gateway")["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    pod = pod_of(synthesize(PyPIServerSpec(pod=PodOptionsSpec(security_context={"fsGroup": 7}))))
    assert pod["securityContext"]["fsGroup"] == 7
    assert pod["securityContext"]["runAsNonRoot"] is True


@pytest.mark.parametrize(
    ("spec", "container", "probe"),
    [
        (PyPIServerSpec(server=ServerSpec(startup=ProbeSpec(period_seconds=77))), "pypiserver", "startupProbe"),
        (PyPIServerSpec(server=ServerSpec(liveness=ProbeSpec(period_seconds=77))), "pypiserver", "livenessProbe"),
        (PyPIServerSpec(gateway=GatewaySpec(liveness=ProbeSpec(period_seconds=77))), "gateway", "livenessProbe"),
        (PyPIServerSpec(gateway=GatewaySpec(readiness=ProbeSpec(period_seconds=77))), "gateway", "readinessProbe"),
        (
            PyPIServerSpec(monitoring=MonitoringSpec(liveness=ProbeSpec(period_seconds=77))),
            "metrics",
            "livenessProbe",
        ),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_a_time_of_a_probe_leaves_the_others(spec: PyPIServerSpec, container: str, probe: str) -> None:
    usual = _container(PyPIServerSpec(monitoring=MonitoringSpec()), container)[probe]
    assert _container(spec, container)[probe] == {**usual, "periodSeconds": 77}
    assert usual["periodSeconds"] != 77


def test_affinity_of_ones_own_stands_beside_the_spread_over_zones() -> None:
    node = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": {}}]}}
    usual = PyPIServerSpec(storage=SharedVolumeSpec(), availability=AvailabilitySpec())
    before = pod_of(synthesize(usual))
    after = pod_of(synthesize(usual.replace(pod=PodOptionsSpec(affinity=node, topology_spread_constraints=[]))))
    assert after["affinity"] == {**before["affinity"], **node}
    assert before["topologySpreadConstraints"]
    assert "topologySpreadConstraints" not in after


def test_an_account_that_is_there_already_is_used_and_not_made() -> None:
    manifests = synthesize(PyPIServerSpec.model_validate({"service_account": {"existing": "mine"}}))
    assert pod_of(manifests)["serviceAccountName"] == "mine"
    assert "ServiceAccount" not in {manifest["kind"] for manifest in manifests}


def test_a_rollout_over_several_pods() -> None:
    def strategy(**fields: object) -> dict[str, Any]:
        spec = PyPIServerSpec.model_validate({"storage": {"kind": "shared"}, "rollout": fields})
        return dict(by_kind(synthesize(spec), "Deployment")["spec"]["strategy"]["rollingUpdate"])

    assert strategy() == {"maxSurge": 1, "maxUnavailable": 0}
    assert strategy(max_surge=0, max_unavailable="50%") == {"maxSurge": 0, "maxUnavailable": "50%"}


@pytest.mark.parametrize(
    ("container", "message"),
    [
        ({"image": ""}, r"container mine: image \(None\) must be set"),
        (
            {"volumeMounts": [{"name": "nil", "mountPath": "/a"}]},
            r"name \(nil\) must be a volume of the pod: credentials,",
        ),
        (
            {"volumeMounts": [{"name": "packages", "mountPath": "/a"}, {"name": "run", "mountPath": "/a"}]},
            r"mountPath \(/a\) must be another one",
        ),
        (
            {"volumeMounts": [{"name": "packages", "mountPath": "/a"}, {"name": "run", "mountPath": "/a/"}]},
            r"mountPath \(/a/\) must be another one",
        ),
        ({"image": "A B"}, r"container mine: image \(A B\) must be an image such as registry.example.org"),
        ({"name": "X_"}, r"container X_: name \(X_\) must be a name of lower-case letters"),
        ({"env": [{"name": "a=b", "value": "c"}]}, r"container mine: env.name \(a=b\) must be letters, digits, -, _"),
        (
            {"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1e0"}}},
            r"container mine: resources.requests.cpu \(2\) must not be above resources.limits \(1e0\)",
        ),
        (
            {"resources": {"limits": {"memory": "512 m"}}},
            r"container mine: resources.limits.memory \(512 m\) must be a Kubernetes quantity such as 512Mi",
        ),
        ({"securityContext": {**HARDENED, "runAsUser": 0}}, r"runAsUser \(0\) must be another with runAsNonRoot"),
        ({"securityContext": {}}, r"container mine: securityContext.allowPrivilegeEscalation \(None\) must be set"),
        (
            {"securityContext": {"allowPrivilegeEscalation": False}},
            r"container mine: securityContext.capabilities.drop \(None\) must be set",
        ),
    ],
)
@pytest.mark.parametrize("field", ["containers", "init_containers"])
def test_what_would_never_start_is_refused_at_synth(field: str, container: dict[str, Any], message: str) -> None:
    mine = {"name": "mine", "image": "a", "securityContext": HARDENED, **container}
    spec = PyPIServerSpec.model_validate({"pod": {field: [mine]}})
    with pytest.raises(RuntimeError, match=message):
        PyPIServerChart(cdk8s.App(), "chart", spec).to_json()


@pytest.mark.parametrize(("port", "other"), [(8080, "gateway"), (8081, "pypiserver"), (8082, "pypiserver")])
def test_two_containers_have_no_port_in_common(port: int, other: str) -> None:
    ports: list[dict[str, Any]] = [{"containerPort": port}]
    mine = {"name": "mine", "image": "a", "securityContext": HARDENED, "ports": ports}
    refused = rf"container mine: ports.containerPort \({port}\) must be another one: {other} listens there"
    with pytest.raises(RuntimeError, match=refused):
        synthesize(PyPIServerSpec(pod=PodOptionsSpec(containers=[mine])))
    # What has ended when the others begin is in nobody's way, nor is another protocol.
    synthesize(PyPIServerSpec(pod=PodOptionsSpec(init_containers=[mine])))
    ports[0]["protocol"] = "UDP"
    synthesize(PyPIServerSpec(pod=PodOptionsSpec(containers=[mine])))


def test_pods_that_are_root_and_must_not_be_are_refused() -> None:
    with pytest.raises(RuntimeError, match=r"container gateway: securityContext.runAsUser \(0\) must be another with"):
        synthesize(PyPIServerSpec(pod=PodOptionsSpec(security_context={"runAsUser": 0})))
    synthesize(PyPIServerSpec(pod=PodOptionsSpec(security_context={"runAsUser": 0, "runAsNonRoot": False})))


def test_whoever_wants_privileges_says_so() -> None:
    wanted = {"allowPrivilegeEscalation": True, "capabilities": {"add": ["NET_ADMIN"], "drop": []}}
    spec = PyPIServerSpec(pod=PodOptionsSpec(containers=[{"name": "vpn", "image": "a", "securityContext": wanted}]))
    assert _container(spec, "vpn")["securityContext"] == wanted


def test_a_container_of_the_registrys_own_names_is_refused() -> None:
    pod = PodOptionsSpec(containers=[{"name": "metrics", "image": "a"}])
    with pytest.raises(ValueError, match="container metrics is there already; give this one another name"):
        synthesize(PyPIServerSpec(pod=pod, monitoring=MonitoringSpec()))
