"""What a ServiceMonitor makes of the Services that Prometheus finds: Prometheus's own relabelling, by promtool."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from cdk8s_pypiserver import MonitoringSpec, PyPIServerSpec
from manifests import DIST, Manifest, by_kind, relative, render, synthesize
from programs import installed, needs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

pytestmark = needs("promtool")


def _targets(
    monitor: Manifest, services: Sequence[Manifest], folder: Path, *, operator: bool = True
) -> list[dict[str, str]]:
    """Return the labels of what a monitor has scraped of these Services, each with one pod."""
    namespace, name = monitor["metadata"].get("namespace", "default"), monitor["metadata"]["name"]
    selected = [
        {
            "__meta_kubernetes_namespace": namespace,
            "__meta_kubernetes_service_name": service["metadata"]["name"],
            "__meta_kubernetes_endpointslice_port_name": port["name"],
        }
        for service in services
        if service["metadata"].get("namespace", "default") == namespace
        if monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        for port in service["spec"]["ports"]
    ]
    found: list[dict[str, str]] = []
    for number, endpoint in enumerate(monitor["spec"]["endpoints"]):
        job = f"serviceMonitor/{namespace}/{name}/{number}"
        # What the operator itself puts before the relabellings of an endpoint.
        before: list[Mapping[str, Any]] = [
            {
                "action": "keep",
                "sourceLabels": ["__meta_kubernetes_endpointslice_port_name"],
                "regex": endpoint["port"],
            },
            {"sourceLabels": ["__meta_kubernetes_namespace"], "targetLabel": "namespace"},
            {"sourceLabels": ["__meta_kubernetes_service_name"], "targetLabel": "job"},
        ]
        if operator:
            before.insert(0, {"sourceLabels": ["job"], "targetLabel": "__tmp_prometheus_job_name"})
        config = {
            "job_name": job,
            "static_configs": [{"targets": ["192.0.2.1:9090"], "labels": labels} for labels in selected],
            "relabel_configs": [_as_prometheus_has_it(each) for each in (*before, *endpoint["relabelings"])],
        }
        path = folder / f"{name}-{number}.yaml"
        path.write_text(yaml.safe_dump({"scrape_configs": [config]}))
        promtool = installed("promtool")
        assert promtool
        # It looks for more until its time is over.
        command = [promtool, "check", "service-discovery", "--timeout=500ms", str(path), job]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found += [target["labels"] for target in json.loads(done.stdout) if target["labels"]]
    return [{key: value for key, value in labels.items() if not key.startswith("__")} for labels in found]


def _as_prometheus_has_it(relabelling: Mapping[str, Any]) -> dict[str, Any]:
    return {re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", key): value for key, value in relabelling.items()}


def _expected(namespace: str, job: str) -> list[dict[str, str]]:
    return [
        {"namespace": namespace, "job": job, "app": "pypiserver", "part": part, "instance": "192.0.2.1:9090"}
        for part in ("gateway", "server")
    ]


def _of_kind(manifests: Sequence[Manifest], kind: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def _variant(folder: Path, **fields: Any) -> Path:  # noqa: ANN401 - fields of a kustomization
    """Write a kustomization of a monitored registry with further fields."""
    folder.mkdir()
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [relative(folder, DIST / "local")],
        "components": [relative(folder, DIST / "components/monitoring")],
        **fields,
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return folder


def test_each_of_two_registries_in_one_namespace_is_its_own_job(tmp_path: Path) -> None:
    registries = [
        synthesize(PyPIServerSpec(name=name, monitoring=MonitoringSpec())) for name in ("team-a", "team-a-metrics")
    ]
    services = [service for manifests in registries for service in _of_kind(manifests, "Service")]
    for manifests, job in zip(registries, ("team-a", "team-a-metrics"), strict=True):
        assert _targets(by_kind(manifests, "ServiceMonitor"), services, tmp_path) == _expected("default", job)


@pytest.mark.parametrize(
    ("variants", "jobs"),
    [
        (
            [{"namePrefix": "a-"}, {"namePrefix": "b-"}],
            {"a-pypiserver": "a-pypiserver", "b-pypiserver": "b-pypiserver"},
        ),
        (
            [{"nameSuffix": "-a"}, {"nameSuffix": "-b"}],
            {"pypiserver-a": "pypiserver-a", "pypiserver-b": "pypiserver-b"},
        ),
    ],
    ids=["namePrefix", "nameSuffix"],
)
def test_a_job_follows_the_name_that_kustomize_gives(
    variants: list[dict[str, str]], jobs: dict[str, str], tmp_path: Path
) -> None:
    rendered = [
        manifest
        for number, fields in enumerate(variants)
        for manifest in render(_variant(tmp_path / str(number), **fields))
    ]
    found = {
        monitor["metadata"]["name"]: _targets(monitor, _of_kind(rendered, "Service"), tmp_path)
        for monitor in _of_kind(rendered, "ServiceMonitor")
    }
    assert found == {name: _expected("default", job) for name, job in jobs.items()}


def test_a_job_is_of_the_namespace_that_kustomize_gives(tmp_path: Path) -> None:
    rendered = [
        manifest
        for namespace in ("one", "two")
        for manifest in render(_variant(tmp_path / namespace, namespace=namespace))
    ]
    for monitor in _of_kind(rendered, "ServiceMonitor"):
        targets = _targets(monitor, _of_kind(rendered, "Service"), tmp_path)
        assert targets == _expected(monitor["metadata"]["namespace"], "pypiserver")


def test_labels_that_others_rewrite_do_not_matter(tmp_path: Path) -> None:
    """Argo CD puts the name of its application on every object, and people put labels of their own."""
    labels = {"app.kubernetes.io/instance": "our-app", "app.kubernetes.io/name": "index"}
    rendered = render(_variant(tmp_path / "labelled", labels=[{"pairs": labels}]))
    services = _of_kind(rendered, "Service")
    assert all(service["metadata"]["labels"].items() >= labels.items() for service in services)
    assert _targets(by_kind(rendered, "ServiceMonitor"), services, tmp_path) == _expected("default", "pypiserver")


def test_who_reads_monitors_without_the_operator_gets_the_same_job(tmp_path: Path) -> None:
    manifests = synthesize(PyPIServerSpec(name="team-a", monitoring=MonitoringSpec()))
    monitor, services = by_kind(manifests, "ServiceMonitor"), _of_kind(manifests, "Service")
    assert _targets(monitor, services, tmp_path, operator=False) == _expected("default", "team-a")
