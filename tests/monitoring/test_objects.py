"""The objects of the Prometheus operator are what its CustomResourceDefinitions (tests/monitoring/crds) take."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cdk8s
import jsonschema
import pytest
import yaml

from cases import CASES
from cdk8s_pypiserver import Alert, MonitoringSpec, Panel, PyPIServerChart, PyPIServerSpec, RegistryServiceSpec
from cdk8s_pypiserver.base.config_files import runtime_files
from cdk8s_pypiserver.monitoring.counting import LOG_ADDRESS, MTAIL_PORT
from manifests import Manifest, by_kind, compose, pod_of, synthesize

CRDS = Path(__file__).parent / "crds"


def _schemas() -> dict[str, Any]:
    found = {}
    for path in CRDS.glob("*.yaml"):
        spec = yaml.safe_load(path.read_text("utf-8"))["spec"]
        (version,) = (version for version in spec["versions"] if version["name"] == "v1")
        found[spec["names"]["kind"]] = _strict(version["schema"]["openAPIV3Schema"])
    return found


def _strict(schema: Any) -> Any:  # noqa: ANN401 - a JSON schema
    """Refuse the fields that the API server would drop, and take its number-or-text fields as such."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _strict(value) for key, value in schema.items()}
    if isinstance(made.get("properties"), dict) and made.get("type") == "object" and made["properties"]:
        made.setdefault("additionalProperties", False)
    # Go's way to ignore case, which Python does not take there.
    if "(?i)" in str(made.get("pattern")):
        del made["pattern"]
    if made.get("x-kubernetes-int-or-string"):
        made.pop("anyOf", None)
        made["type"] = ["integer", "string"]
    return made


SCHEMAS = _schemas()


@pytest.mark.parametrize("case", ["monitoring", "monitoring-by-pods", "everything"])
def test_objects_are_valid(case: str) -> None:
    own = [manifest for manifest in synthesize(CASES[case]) if manifest["kind"] in SCHEMAS]
    assert len(own) == 2
    for manifest in own:
        schema = SCHEMAS[manifest["kind"]]
        # A CustomResourceDefinition leaves the metadata to the API server.
        schema["properties"]["metadata"] = {"type": "object"}
        jsonschema.validate(manifest, schema)


def test_an_unknown_field_is_refused() -> None:
    monitor = by_kind(synthesize(CASES["monitoring"]), "ServiceMonitor")
    monitor["spec"]["endpoints"][0]["paths"] = "/metrics"
    with pytest.raises(jsonschema.ValidationError, match="'paths' was unexpected"):
        jsonschema.validate(monitor, SCHEMAS["ServiceMonitor"])


def _pod_ports(manifests: Sequence[Manifest]) -> dict[str, int]:
    containers = pod_of(manifests)["containers"]
    return {port["name"]: port["containerPort"] for container in containers for port in container.get("ports", [])}


def test_a_service_monitor_finds_a_service_of_its_own() -> None:
    spec = PyPIServerSpec(service=RegistryServiceSpec(port=8000), monitoring=MonitoringSpec())
    manifests = synthesize(spec)
    services = {m["metadata"]["name"]: m for m in manifests if m["kind"] == "Service"}
    assert services.keys() == {"pypiserver", "pypiserver-metrics"}
    # What others reach has no way to the metrics.
    assert [port["name"] for port in services["pypiserver"]["spec"]["ports"]] == ["http"]
    scraped = services["pypiserver-metrics"]
    assert scraped["spec"]["clusterIP"] == "None"
    assert [port["targetPort"] for port in scraped["spec"]["ports"]] == ["metrics"]
    assert _pod_ports(manifests) == {"http": 8080, "metrics": 9090}
    pods = by_kind(manifests, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert scraped["spec"]["selector"].items() <= pods.items()
    monitor = by_kind(manifests, "ServiceMonitor")["spec"]
    selected = monitor["selector"]["matchLabels"].items()
    assert [name for name, m in services.items() if selected <= m["metadata"]["labels"].items()] == [
        "pypiserver-metrics"
    ]
    assert [(each["port"], each["path"]) for each in monitor["endpoints"]] == [
        ("metrics", "/metrics/gateway"),
        ("metrics", "/metrics/server"),
    ]


def test_a_pod_monitor_finds_the_pods() -> None:
    manifests = synthesize(PyPIServerSpec(monitoring=MonitoringSpec(scrape="pod-monitor")))
    assert [m["metadata"]["name"] for m in manifests if m["kind"] == "Service"] == ["pypiserver"]
    monitor = by_kind(manifests, "PodMonitor")["spec"]
    pods = by_kind(manifests, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert monitor["selector"]["matchLabels"].items() <= pods.items()
    assert {each["port"] for each in monitor["podMetricsEndpoints"]} <= _pod_ports(manifests).keys()


def test_annotations_lead_to_the_port() -> None:
    template = by_kind(synthesize(CASES["monitoring-by-annotations"]), "Deployment")["spec"]["template"]
    assert template["metadata"]["annotations"]["prometheus.io/port"] == "9090"


def test_a_target_that_a_user_adds_is_scraped() -> None:
    app = cdk8s.App()
    chart = PyPIServerChart(app, "chart", PyPIServerSpec(monitoring=MonitoringSpec()))
    chart.registry.monitoring.add_target("exporter", port="exporter", path="/metrics")
    with pytest.raises(ValueError, match="target exporter is there already"):
        chart.registry.monitoring.add_target("exporter")
    manifests = chart.to_json()
    endpoint = by_kind(manifests, "ServiceMonitor")["spec"]["endpoints"][-1]
    assert (endpoint["port"], endpoint["path"]) == ("exporter", "/metrics")
    assert {"action": "replace", "targetLabel": "part", "replacement": "exporter"} in endpoint["relabelings"]
    (service,) = (m for m in manifests if m["metadata"]["name"] == "pypiserver-metrics")
    assert service["spec"]["ports"] == [
        {"name": "metrics", "port": 9090, "targetPort": "metrics"},
        {"name": "exporter", "port": 9091, "targetPort": "exporter"},
    ]


def test_what_users_add_is_watched_until_synth() -> None:
    chart = PyPIServerChart(cdk8s.App(), "chart", PyPIServerSpec(monitoring=MonitoringSpec()))
    watched = chart.registry.monitoring
    watched.add_alert(Alert(name="Many", expression="pypiserver_packages > 9", summary="Many", description="Tidy up."))
    for number in range(4):
        watched.add_panel(
            Panel(title=f"Own {number}", queries={"files": f"max(pypiserver_packages{{{Panel.REGISTRY}}})"})
        )
    watched.watch_certificate("wildcard")
    manifests = chart.to_json()
    assert by_kind(manifests, "PrometheusRule")["spec"]["groups"][-1]["rules"][0]["alert"] == "Many"
    (shown,) = (m["data"] for m in manifests if m["metadata"]["name"] == "pypiserver-dashboard")
    places = {p["title"]: p["gridPos"] for p in json.loads(*shown.values())["panels"]}
    own = [places[f"Own {number}"] for number in range(4)]
    assert {place["y"] for place in own[:3]} == {own[0]["y"]} != {own[3]["y"]}
    assert min(place["y"] for place in own) == max(place["y"] for place in places.values()) - 8
    (programs,) = (m["data"] for m in manifests if "gateway.mtail" in m.get("data", {}))
    assert '["wildcard"] = 1' in programs["expectations.mtail"]


def test_no_client_is_given_a_port_that_the_gateway_sends_to() -> None:
    ports = re.findall(r"127\.0\.0\.1:(\d+)", runtime_files("gateway")["http-metrics.conf"])
    assert {str(MTAIL_PORT), LOG_ADDRESS.partition(":")[2]} == set(ports)
    # Where Linux begins by default.
    assert all(int(port) < 32768 for port in ports)


def test_labels_for_the_operator_are_on_its_objects_alone() -> None:
    labelled = [
        manifest["kind"]
        for manifest in synthesize(CASES["monitoring-by-pods"])
        if manifest["metadata"]["labels"].get("release") == "prometheus"
    ]
    assert sorted(labelled) == ["PodMonitor", "PrometheusRule"]


def test_grafana_finds_the_dashboard() -> None:
    (found,) = (m for m in synthesize(CASES["monitoring"]) if m["metadata"]["name"] == "pypiserver-dashboard")
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert list(found["data"]) == ["pypiserver.json"]


def _files_of_grafana(*registries: Sequence[Manifest]) -> dict[str, Any]:
    """What the sidecar puts into the folder of Grafana's provider, by its name; none may take another's place."""
    files: dict[str, str] = {}
    for manifests in registries:
        (data,) = (each["data"] for each in manifests if each["metadata"]["name"].endswith("-dashboard"))
        for name, text in data.items():
            assert files.setdefault(name, text) == text, name
    made = {name: json.loads(text) for name, text in files.items()}
    # Otherwise Grafana writes none of them any more.
    assert len({each["uid"] for each in made.values()}) == len({each["title"] for each in made.values()}) == len(made)
    assert all(len(each["uid"]) <= 40 for each in made.values())
    return made


def test_registries_that_show_the_same_have_one_dashboard(tmp_path: Path) -> None:
    composed = [
        compose(tmp_path / "prefix", "local", "monitoring", namePrefix="a-"),
        compose(tmp_path / "namespace", "local", "monitoring", namespace="team-a"),
        compose(tmp_path / "store", "object-store", "monitoring"),
    ]
    made = [synthesize(PyPIServerSpec(name=name, monitoring=MonitoringSpec())) for name in ("team-a", "team-b")]
    assert list(_files_of_grafana(*composed, *made)) == ["pypiserver.json"]


def test_a_registry_that_shows_more_has_a_dashboard_of_its_own() -> None:
    def registry(name: str, namespace: str | None, title: str) -> Sequence[Manifest]:
        spec = PyPIServerSpec(name=name, monitoring=MonitoringSpec())
        chart = PyPIServerChart(cdk8s.App(), "chart", spec, namespace=namespace)
        chart.registry.monitoring.add_panel(Panel(title=title, queries={"": "up"}))
        manifests: Sequence[Manifest] = chart.to_json()
        return manifests

    long = "team-platform-packages-internal"
    registries = [
        registry(f"{long}-aa", None, "one"),
        registry(f"{long}-bb", None, "two"),
        registry("pypiserver", "team-a", "three"),
        registry("pypiserver", "team-b", "four"),
    ]
    made = _files_of_grafana(*registries, synthesize(CASES["monitoring"]))
    assert {each["title"] for each in made.values()} == {
        f"PyPI: {long}-aa",
        f"PyPI: {long}-bb",
        "PyPI: team-a/pypiserver",
        "PyPI: team-b/pypiserver",
        "PyPI",
    }
