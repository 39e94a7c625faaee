"""The objects of the Prometheus operator are what its CustomResourceDefinitions (tests/monitoring/crds) take."""

import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from cases import CASES
from cdk8s_pypiserver import MonitoringSpec, PyPIServerSpec, RegistryServiceSpec
from cdk8s_pypiserver.base.config_files import runtime_files
from cdk8s_pypiserver.monitoring.counting import LOG_ADDRESS, MTAIL_PORT
from manifests import by_kind, pod_of, synthesize

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


def test_each_way_of_scraping_finds_the_port() -> None:
    for scrape in ("service-monitor", "pod-monitor"):
        spec = PyPIServerSpec(monitoring=MonitoringSpec.model_validate({"scrape": scrape}))
        manifests = synthesize(spec)
        kind, field = {
            "service-monitor": ("ServiceMonitor", "endpoints"),
            "pod-monitor": ("PodMonitor", "podMetricsEndpoints"),
        }[scrape]
        monitor = by_kind(manifests, kind)["spec"]
        labels = by_kind(manifests, "Deployment")["spec"]["template"]["metadata"]["labels"]
        assert monitor["selector"]["matchLabels"].items() <= labels.items()
        assert monitor["selector"]["matchLabels"].items() <= by_kind(manifests, "Service")["metadata"]["labels"].items()
        assert [endpoint["path"] for endpoint in monitor[field]] == ["/metrics/gateway", "/metrics/server"]
        assert {endpoint["port"] for endpoint in monitor[field]} == {"metrics"}
        ports = {
            port["name"]: port["containerPort"] for c in pod_of(manifests)["containers"] for port in c.get("ports", [])
        }
        assert ports == {"http": 8080, "metrics": 9090}
    annotations = by_kind(synthesize(CASES["monitoring-by-annotations"]), "Deployment")["spec"]["template"]["metadata"]
    assert annotations["annotations"]["prometheus.io/port"] == "9090"


def test_no_client_is_given_a_port_that_the_gateway_sends_to() -> None:
    ports = re.findall(r"127\.0\.0\.1:(\d+)", runtime_files("gateway")["http-metrics.conf"])
    assert {str(MTAIL_PORT), LOG_ADDRESS.partition(":")[2]} == set(ports)
    # Where Linux begins by default.
    assert all(int(port) < 32768 for port in ports)


def test_the_service_has_the_port_beside_its_own() -> None:
    spec = PyPIServerSpec(service=RegistryServiceSpec(port=8000), monitoring=MonitoringSpec())
    assert by_kind(synthesize(spec), "Service")["spec"]["ports"] == [
        {"name": "http", "port": 8000, "targetPort": "http"},
        {"name": "metrics", "port": 9090, "targetPort": "metrics"},
    ]


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
