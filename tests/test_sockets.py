"""What users and subclasses add to a registry after it was made, from outside and in a subclass."""

from collections.abc import Callable
from pathlib import Path

import cdk8s
import cdk8s_plus_27 as kplus
import pytest
from cdk8s_plus_27 import k8s
from constructs import Construct

from cases import CASES
from cdk8s_pypiserver import (
    AvailabilitySpec,
    Gateway,
    GatewayTLSSpec,
    LocalVolumeSpec,
    PyPIServer,
    PyPIServerChart,
    PyPIServerSpec,
    RegistryServiceSpec,
    Server,
    SharedVolumeSpec,
)
from manifests import by_kind, pod_of

HARDENED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


class _Late(PyPIServer):
    """A subclass whose additions need what it makes only after its parent is ready."""

    def __init__(self, scope: Construct, id_: str, spec: PyPIServerSpec | None = None) -> None:
        super().__init__(scope, id_, spec)
        self.team = "a"
        self.pod.add_label("example.org/team", self.team)
        self.server.set("THREADS", "9")


def test_what_is_added_to_a_finished_registry_is_in_the_objects() -> None:
    chart = PyPIServerChart(cdk8s.App(), "chart", registry_class=_Late, namespace="team-a")
    registry = chart.registry
    typed = k8s.SecurityContext(allow_privilege_escalation=False, capabilities=k8s.Capabilities(drop=["ALL"]))
    registry.pod.add_container(k8s.Container(name="typed", image="a", security_context=typed))
    registry.pod.add_container({"name": "plain", "image": "b", "securityContext": HARDENED})
    registry.pod.add_init_container({"name": "first", "image": "c", "securityContext": HARDENED})
    registry.pod.add_volume({"name": "mine", "emptyDir": {"sizeLimit": "1Mi"}})
    registry.pod.add_annotation("example.org/note", "later")
    registry.pod.set({"nodeSelector": {"disk": "ssd"}, "securityContext": {"runAsUser": 7}})
    registry.gateway.add_file("http", "mine", "# mine\n")
    registry.add_label("example.org/cost", "4711")
    registry.add_annotation("example.org/on-call", "me")
    manifests = chart.to_json()
    pod = pod_of(manifests)
    assert [container["name"] for container in pod["containers"]] == ["gateway", "pypiserver", "typed", "plain"]
    assert [container["name"] for container in pod["initContainers"]] == ["first"]
    assert {"name": "mine", "emptyDir": {"sizeLimit": "1Mi"}} in pod["volumes"]
    assert pod["nodeSelector"] == {"disk": "ssd"}
    assert (pod["securityContext"]["runAsUser"], pod["securityContext"]["runAsNonRoot"]) == (7, True)
    assert {"name": "THREADS", "value": "9"} in pod["containers"][1]["env"]
    template = by_kind(manifests, "Deployment")["spec"]["template"]["metadata"]
    assert template["labels"]["example.org/team"] == "a"
    assert template["annotations"]["example.org/note"] == "later"
    for manifest in manifests:
        assert manifest["metadata"]["labels"]["example.org/cost"] == "4711"
        assert manifest["metadata"]["annotations"]["example.org/on-call"] == "me"
        assert manifest["metadata"]["namespace"] == "team-a"
    (gateway,) = (m for m in manifests if m["metadata"]["name"].startswith("pypiserver-gateway-"))
    assert gateway["data"]["http-mine.conf"] == "# mine\n"
    assert {"name": "gateway-files", "configMap": {"name": gateway["metadata"]["name"]}} in pod["volumes"]


def test_a_changed_file_makes_another_config_map() -> None:
    def name(text: str) -> str:
        chart = PyPIServerChart(cdk8s.App(), "chart")
        chart.registry.gateway.add_file("http", "mine", text)
        (found,) = (
            manifest["metadata"]["name"]
            for manifest in chart.to_json()
            if manifest["metadata"]["name"].startswith("pypiserver-gateway-")
        )
        return str(found)

    assert name("# one\n") == name("# one\n") != name("# two\n")


def test_patches_of_cdk8s_reach_what_is_decided_late() -> None:
    chart = PyPIServerChart(cdk8s.App(), "chart")
    deployment = cdk8s.ApiObject.of(chart.registry)
    deployment.add_json_patch(cdk8s.JsonPatch.replace("/spec/replicas", 0))
    chart.registry.service.metadata.add_label("example.org/zone", "b")
    manifests = chart.to_json()
    assert by_kind(manifests, "Deployment")["spec"]["replicas"] == 0
    assert by_kind(manifests, "Service")["metadata"]["labels"]["example.org/zone"] == "b"


def test_the_metadata_that_cdk8s_has_is_that_of_the_object() -> None:
    chart = PyPIServerChart(cdk8s.App(), "chart")
    registry = chart.registry
    registry.add_label("example.org/zone", "a")
    metadata = cdk8s.ApiObject.of(registry.service).metadata
    assert metadata.name == "pypiserver"
    assert metadata.get_label("app.kubernetes.io/part-of") == "pypiserver"
    assert metadata.get_label("example.org/zone") == "a"
    registry.add_label("example.org/zone", "b")
    registry.add_annotation("example.org/on-call", "me")
    registry.service.metadata.add_label("example.org/cost", "4711")
    assert metadata.get_label("example.org/zone") == "b"
    written = by_kind(chart.to_json(), "Service")["metadata"]
    assert metadata.to_json() == {key: written[key] for key in ("name", "labels", "annotations")}


KINDS = {
    "Default": {"Deployment"},
    "availability": {"HorizontalPodAutoscaler"},
    "backup": {"CronJob"},
    "copying": {"CronJob"},
    "gateway": {"ConfigMap"},
    "gateway-tls": {"Certificate"},
    "ingress": {"Ingress"},
    "retention": {"CronJob"},
    "server": {"ConfigMap"},
    "service": {"Service"},
    "service-account": {"ServiceAccount"},
}
"""What `ApiObject.of` finds in the parts of a registry, of those that have more than one object."""


@pytest.mark.parametrize("case", CASES)
def test_every_child_has_an_object(case: str) -> None:
    registry = PyPIServerChart(cdk8s.App(), "chart", CASES[case]).registry
    # HTTPS at the pod has an object of its own only where it asks for a certificate.
    without = registry.gateway_tls if registry.gateway_tls and not registry.gateway_tls.certificate else None
    for child in registry.node.children:
        if child is not without:
            kind = cdk8s.ApiObject.of(child).kind
            assert kind in KINDS.get(child.node.id, {kind})


def test_policies_of_cdk8s_plus_find_the_pods() -> None:
    chart = PyPIServerChart(cdk8s.App(), "chart")
    kplus.NetworkPolicy(chart, "mine", selector=chart.registry.pods)
    manifests = chart.to_json()
    labels = by_kind(manifests, "Deployment")["spec"]["template"]["metadata"]["labels"]
    selected = by_kind(manifests, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"]
    assert selected
    assert selected.items() <= labels.items()


def test_services_of_cdk8s_plus_leave_the_writer_out() -> None:
    chart = PyPIServerChart(cdk8s.App(), "chart", CASES["readers"])
    kplus.Service(chart, "mine", selector=chart.registry.served_pods, ports=[kplus.ServicePort(port=80)])
    kplus.NetworkPolicy(chart, "policy", selector=chart.registry.pods)
    manifests = chart.to_json()
    readers, writer = (
        by_kind(manifests, kind)["spec"]["template"]["metadata"]["labels"].items()
        for kind in ("Deployment", "StatefulSet")
    )
    (served,) = (
        m["spec"]["selector"].items() for m in manifests if m["kind"] == "Service" and "mine" in m["metadata"]["name"]
    )
    assert served <= readers
    assert not served <= writer
    selected = by_kind(manifests, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"].items()
    assert selected <= readers
    assert selected <= writer


@pytest.mark.parametrize(
    ("add", "message"),
    [
        (lambda pod: pod.add_container({"name": "gateway"}), "container gateway is there already"),
        (lambda pod: pod.add_init_container({"name": "gateway"}), "container gateway is there already"),
        (lambda pod: pod.add_container({"image": "a"}), "Container cannot be made:\n  name is missing"),
        (lambda pod: pod.add_volume({"name": "packages"}), "volume packages is there already"),
        (lambda pod: pod.add_label("app.kubernetes.io/name", "x"), "app.kubernetes.io/name .* cannot be changed"),
        (
            lambda pod: pod.set({"nodeSelectr": {"a": "b"}}),
            r"nodeSelectr \(given\) is no field here; did you mean nodeS",
        ),
        (
            lambda pod: pod.set({"tolerations": [{"kei": "a"}]}),
            r"tolerations\[0\].kei \('a'\) is no field here; did you",
        ),
        (lambda pod: pod.set({"hostNetwork": "yes"}), r"hostNetwork \('yes'\) must be true or false"),
        (lambda pod: pod.set({"containers": []}), r"containers cannot be set: each is added, with add_container"),
    ],
)
def test_what_cannot_join_the_pod_is_refused(add: object, message: str) -> None:
    registry = PyPIServerChart(cdk8s.App(), "chart").registry
    assert callable(add)
    with pytest.raises(ValueError, match=message):
        add(registry.pod)


def test_a_field_that_only_the_newest_kubernetes_knows_can_be_set() -> None:
    chart = PyPIServerChart(cdk8s.App(), "chart")
    chart.registry.pod.set({"hostnameOverride": "other", "securityContext": {"runAsUser": None}})
    pod = pod_of(chart.to_json())
    assert pod["hostnameOverride"] == "other"
    assert "runAsUser" not in pod["securityContext"]


def test_a_label_by_which_pods_are_told_apart_is_refused() -> None:
    registry = PyPIServerChart(cdk8s.App(), "chart").registry
    for label in ("app.kubernetes.io/instance", "pypiserver/role"):
        with pytest.raises(ValueError, match=rf"label {label} \(x\) cannot be changed"):
            registry.add_label(label, "x")


@pytest.mark.parametrize(
    ("add", "message"),
    [
        (lambda gateway: gateway.add_file("bogus", "mine", ""), r"place 'bogus' must be one of http, server, reads"),
        (lambda gateway: gateway.add_file("http", "a/b", ""), r"concern 'a/b' must be letters, digits, -, _ and \."),
        (lambda gateway: gateway.add_port("A_name", 9000), r"port 'A_name' must be a name of lower-case letters"),
        (lambda gateway: gateway.add_port("a" * 16, 9000), r"must have at most 15 characters, has 16"),
        (lambda gateway: gateway.add_port("mine", 99999), r"port 99999 must be a number from 1 to 65535"),
        (lambda gateway: gateway.add_port("mine", 8080), r"port mine \(8080\) is there already"),
        (lambda gateway: gateway.add_port("mine", 9000, service_port=0), r"port 0 must be a number from 1 to 65535"),
        (lambda gateway: gateway.add_port("mine", 9000, service_port=80), r"service_port \(80\) is there already"),
        (lambda gateway: gateway.set("MAXUPLOAD", "2Gi"), r"MAXUPLOAD \('2Gi'\) is not read here; did you mean MAX_UP"),
        (lambda gateway: gateway.set("TZ", "UTC"), r"TZ \('UTC'\) is not read here; what other .* is GatewaySpec.env"),
    ],
)
def test_what_the_gateway_would_never_look_at_is_refused(add: Callable[[Gateway], None], message: str) -> None:
    gateway = PyPIServerChart(cdk8s.App(), "chart").registry.gateway
    with pytest.raises(ValueError, match=message):
        add(gateway)


@pytest.mark.parametrize(
    ("add", "message"),
    [
        (lambda server: server.set("RESCAN_SECOND", "5"), r"\('5'\) is not read here; did you mean RESCAN_SECONDS\?"),
        (lambda server: server.set("TZ", "UTC"), r"TZ \('UTC'\) is not read here; what other .* is ServerSpec.env"),
        (lambda server: server.set("THREADS", 9), r"variable THREADS \(9\) must be text"),
    ],
)
def test_what_the_server_would_never_read_is_refused(add: Callable[[Server], None], message: str) -> None:
    server = PyPIServerChart(cdk8s.App(), "chart").registry.server
    with pytest.raises(ValueError, match=message):
        add(server)


def test_what_the_server_would_not_start_with_is_refused_at_synth(tmp_path: Path) -> None:
    app = cdk8s.App(outdir=str(tmp_path / "dist"))
    server = PyPIServerChart(app, "chart").registry.server
    for variable, value in (("THREADS", "many"), ("RESCAN_SECONDS", "0"), ("WRITERS", "2"), ("POLL_SECONDS", "1e3")):
        server.set(variable, value)
    with pytest.raises(RuntimeError) as refused:
        app.synth()
    assert [line.partition("server.set: ")[2] for line in str(refused.value).splitlines() if "server.set" in line] == [
        "WRITERS is '2'; it must be one of one, many",
        "RESCAN_SECONDS is 0; it must be a number of at least 0.1",
        "THREADS is 'many'; it must be a number",
    ]
    assert not [*(tmp_path / "dist").iterdir()]
    # What is missing beside another one is told, too, and no more.
    server.set("PUBLISH_METHOD", "store")
    with pytest.raises(RuntimeError, match=r"server.set: STORE_PATH is ''; it must be a place as rclone writes it"):
        app.synth()


def test_an_autoscaler_wants_a_request_of_every_container(tmp_path: object) -> None:
    app = cdk8s.App(outdir=str(tmp_path))
    spec = PyPIServerSpec(storage=SharedVolumeSpec(), availability=AvailabilitySpec(cpu_percent=70))
    registry = PyPIServerChart(app, "chart", spec).registry
    registry.pod.add_container({"name": "mine", "image": "a", "securityContext": HARDENED})
    with pytest.raises(RuntimeError, match=r"container mine: resources.requests.cpu \(None\) must be set with avail"):
        app.synth()


@pytest.mark.parametrize(
    ("namespaces", "names", "where"),
    [
        (("a", "a"), ("pypiserver", "pypiserver"), "in namespace a"),
        (("a", "b"), ("pypiserver", "pypiserver"), None),
        (("a", "a"), ("one", "two"), None),
        # Whoever applies them may name a namespace for each.
        ((None, None), ("pypiserver", "pypiserver"), None),
        ((None, "a"), ("pypiserver", "pypiserver"), None),
    ],
)
def test_two_registries_of_one_name_are_refused(
    namespaces: tuple[str | None, str | None], names: tuple[str, str], where: str | None
) -> None:
    app = cdk8s.App()
    charts = [
        PyPIServerChart(app, f"chart-{number}", PyPIServerSpec(name=name), namespace=namespace)
        for number, (namespace, name) in enumerate(zip(namespaces, names, strict=True))
    ]
    if where is None:
        assert all(chart.to_json() for chart in charts)
        return
    reason = rf"chart-1/registry: name \(pypiserver\) must be another one: chart-0/registry has it {where}"
    with pytest.raises(RuntimeError, match=reason):
        charts[0].to_json()


@pytest.mark.parametrize("namespace", [None, "a"])
def test_two_registries_of_one_name_in_one_chart_are_refused(namespace: str | None) -> None:
    chart = cdk8s.Chart(cdk8s.App(), "chart", namespace=namespace)
    PyPIServer(chart, "one")
    PyPIServer(Construct(chart, "part"), "two")
    with pytest.raises(RuntimeError, match=r"part/two: name \(pypiserver\) must be another one: chart/one has it in"):
        chart.to_json()


@pytest.mark.parametrize("whole", [True, False], ids=["with its chart", "alone"])
def test_a_registry_that_was_taken_away_is_asked_nothing(whole: bool) -> None:
    app = cdk8s.App()
    chart = PyPIServerChart(app, "chart", namespace="a")
    chart.registry.refuse(lambda: ["it is wrong"])
    assert app.node.try_remove_child("chart") if whole else chart.node.try_remove_child("registry")
    chart = PyPIServerChart(app, "chart", namespace="a") if whole else chart
    registry = chart.registry if whole else PyPIServer(Construct(chart, "part"), "registry")
    assert chart.to_json()
    registry.refuse(lambda: ["it is wrong too"])
    with pytest.raises(RuntimeError, match="it is wrong too") as refused:
        chart.to_json()
    assert "must be another one" not in str(refused.value)


@pytest.mark.parametrize(
    ("storage", "namespaces", "refused"),
    [
        (LocalVolumeSpec(existing_claim="kept"), ("a", "a"), True),
        (LocalVolumeSpec(existing_claim="one-packages"), ("a", "a"), True),
        (LocalVolumeSpec(existing_claim="kept"), ("a", "b"), False),
        (LocalVolumeSpec(existing_claim="kept"), (None, None), False),
        (SharedVolumeSpec(existing_claim="kept"), ("a", "a"), False),
    ],
)
def test_two_registries_of_one_claim_are_refused_where_one_pod_writes(
    storage: LocalVolumeSpec | SharedVolumeSpec, namespaces: tuple[str | None, str | None], *, refused: bool
) -> None:
    app = cdk8s.App()
    first = LocalVolumeSpec() if storage.existing_claim == "one-packages" else storage
    one = PyPIServerChart(app, "one", PyPIServerSpec(name="one", storage=first), namespace=namespaces[0])
    PyPIServerChart(app, "two", PyPIServerSpec(name="two", storage=storage), namespace=namespaces[1])
    if not refused:
        assert one.to_json()
        return
    field = rf"storage.existing_claim \({storage.existing_claim}\)"
    reason = rf"two/registry: {field} must be another one: one/registry has it in namespace a"
    with pytest.raises(RuntimeError, match=reason):
        one.to_json()


def test_two_registries_of_one_claim_are_refused_in_one_chart() -> None:
    chart = cdk8s.Chart(cdk8s.App(), "both")
    for name in ("one", "two"):
        PyPIServer(chart, name, PyPIServerSpec(name=name, storage=LocalVolumeSpec(existing_claim="kept")))
    with pytest.raises(RuntimeError, match=r"both/two: storage.existing_claim \(kept\) .* both/one has it in one"):
        chart.to_json()


def test_a_port_of_the_nodes_leads_to_the_port_that_it_is_said_of() -> None:
    spec = PyPIServerSpec(
        service=RegistryServiceSpec(type="NodePort"), gateway_tls=GatewayTLSSpec(node_port=30443, secret="own")
    )
    chart = PyPIServerChart(cdk8s.App(), "chart", spec)
    chart.registry.gateway.add_port("mine", 9000, service_port=9000, node_port=30900)
    ports = by_kind(chart.to_json(), "Service")["spec"]["ports"]
    assert {port["name"]: port.get("nodePort") for port in ports} == {"http": None, "https": 30443, "mine": 30900}


def test_the_address_of_the_index() -> None:
    def url(namespace: str | None = None, **fields: object) -> str:
        spec = PyPIServerSpec.model_validate(fields)
        return PyPIServerChart(cdk8s.App(), "chart", spec, namespace=namespace).registry.index_url

    assert url() == "http://pypiserver/simple/"
    assert url("team-a") == "http://pypiserver.team-a.svc/simple/"
    assert url("team-a", service={"port": 8080}) == "http://pypiserver.team-a.svc:8080/simple/"
    assert url("team-a", gateway_tls={}) == "https://pypiserver.team-a.svc/simple/"
    assert url(ingress={"host": "pypi.example.org", "tls": {}}) == "https://pypi.example.org/simple/"
    below = {"path_prefix": "/team-a/pypi"}
    assert url(gateway=below) == "http://pypiserver/team-a/pypi/simple/"
    assert url(gateway=below, ingress={"host": "example.org"}) == "http://example.org/team-a/pypi/simple/"


def test_registries_by_storage_mode() -> None:
    chart = cdk8s.Chart(cdk8s.App(), "chart")
    shared = PyPIServer.from_shared_volume(chart, "shared", SharedVolumeSpec(storage_class="nfs"))
    assert shared.spec.storage == SharedVolumeSpec(storage_class="nfs")
    assert PyPIServer.from_local_volume(chart, "local", spec=PyPIServerSpec(name="other")).identity.name == "other"
