"""The component `monitoring`: the Prometheus operator's own Prometheus scrapes the registry and knows its alerts."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
import requests

from cdk8s_pypiserver import MonitoringSocket
from cdk8s_pypiserver.monitoring.alerts import rules
from cdk8s_pypiserver.monitoring.dashboard import dashboard
from e2e import cluster, samples
from e2e.waiting import eventually
from promql import names_and_labels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from e2e.cluster import Registry

COMPONENT = cluster.ROOT / "dist/components/monitoring"
FULL = "PyPIServerVolumeNearlyFull"
FILLER = "/data/packages/.filler"
OF_OTHERS = (
    "pypiserver_store_",
    "pypiserver_fetching_",
    "pypiserver_backup_",
    "pypiserver_drill_",
    "pypiserver_directory_",
    "pypiserver_retention_",
    "pypiserver_token_",
)
RECONFIGURED = 150
"""Seconds until Prometheus has read what its operator wrote: the kubelet refreshes volumes every minute or so."""
FIRES = 150
"""Seconds until an alert fires or ends: the server looks every 15 s, and the rule waits 10 s."""


class Prometheus:
    """What Prometheus says about one registry."""

    def __init__(self, port: int, registry: Registry) -> None:
        """Ask at a port of this machine."""
        self._url = f"http://127.0.0.1:{port}/api/v1"
        self._namespace = registry.namespace
        (pod,) = registry.wait_until_settled()
        self._pod = pod.name

    def series(self, name: str) -> list[dict[str, str]]:
        """The labels of each series of a metric."""
        return [found["metric"] for found in self._query(f'{name}{{namespace="{self._namespace}"}}')]

    def sum(self, name: str) -> float:
        """The sum of the last values of a metric; 0 if there is none."""
        # By the pod, since an earlier one of the same namespace may be remembered.
        found = self._query(f'sum({name}{{namespace="{self._namespace}", pod="{self._pod}"}})')
        return float(found[0]["value"][1]) if found else 0

    def rule_names(self) -> set[str]:
        """The names of all rules of all registries."""
        groups = self._get("rules")["groups"]
        return {rule["name"] for group in groups for rule in group["rules"]}

    def firing(self) -> set[str]:
        """The alerts that fire for this namespace."""
        return {
            alert["labels"]["alertname"]
            for alert in self._get("alerts")["alerts"]
            if alert["state"] == "firing" and alert["labels"].get("namespace") == self._namespace
        }

    def _query(self, expression: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._get("query", {"query": expression})["result"]
        return found

    def _get(self, what: str, parameters: dict[str, str] | None = None) -> Any:  # noqa: ANN401 - any JSON
        try:
            answer = requests.get(f"{self._url}/{what}", params=parameters, timeout=30)
        except requests.RequestException as error:
            raise AssertionError from error
        assert answer.ok, answer.text
        return answer.json()["data"]


@pytest.fixture(scope="module")
def service() -> tuple[str, str]:
    """Namespace and name of Prometheus's Service."""
    if not cluster.exists("crd", "servicemonitors.monitoring.coreos.com"):
        pytest.skip("the cluster does not know ServiceMonitor")
    namespace, _, name = os.environ.get("E2E_PROMETHEUS", "lab-monitoring/prometheus").partition("/")
    if not cluster.exists("--namespace", namespace, "service", name):
        pytest.skip(f"E2E_PROMETHEUS names no Service, and there is no {namespace}/{name}")
    return namespace, name


@pytest.fixture(scope="module")
def registry(deploy: Callable[..., Registry], service: tuple[str, str], sized_class: str) -> Registry:
    del service  # if it is missing there is nothing to deploy
    often = [{"op": "replace", "path": f"/spec/endpoints/{number}/interval", "value": "5s"} for number in range(2)]
    patches = [
        cluster.storage(sized_class, "200Mi"),
        cluster.Patch("ServiceMonitor", often),
        waiting_seconds(FULL, 10),
    ]
    return deploy("metrics", cluster.OVERLAYS / "local", patches, components=[COMPONENT], accounts=True)


@pytest.fixture(scope="module")
def prometheus(service: tuple[str, str], registry: Registry) -> Iterator[Prometheus]:
    """Prometheus, once it has scraped the registry and read its rules."""
    namespace, name = service
    forward = cluster.Forward(namespace, f"service/{name}", 9090)
    asked = Prometheus(forward.port, registry)
    wanted = {rule.get("alert") or rule["record"] for group in groups() for rule in group["rules"]}
    eventually(lambda: asked.sum("up") == 2, "two targets that are up", RECONFIGURED, 1)
    eventually(lambda: wanted <= asked.rule_names(), "the rules", RECONFIGURED, 1)
    yield asked
    forward.close()


def groups() -> list[dict[str, Any]]:
    """The rules, as the component has them."""
    return rules(MonitoringSocket())


def waiting_seconds(alert: str, seconds: int) -> cluster.Patch:
    """Let an alert fire when what it is about has lasted so long."""
    ((group, rule),) = (
        (number, position)
        for number, each in enumerate(groups())
        for position, found in enumerate(each["rules"])
        if found.get("alert") == alert
    )
    path = f"/spec/groups/{group}/rules/{rule}"
    named = {"op": "test", "path": f"{path}/alert", "value": alert}
    return cluster.Patch("PrometheusRule", [named, {"op": "replace", "path": f"{path}/for", "value": f"{seconds}s"}])


def visit(registry: Registry, directory: Path) -> int:
    """Send requests of every kind; return how many."""
    publisher, reader, nobody = (registry.client(who) for who in (cluster.PUBLISHER, cluster.READER, None))
    name, content = "counted-1.0-py3-none-any.whl", samples.make(directory, "counted").path.read_bytes()
    answers = [
        publisher.upload(name, content),
        publisher.upload(name, content),
        publisher.upload(".hidden-1.0.tar.gz", content),
        reader.upload("other-1.0.tar.gz", content),
        nobody.upload("other-1.0.tar.gz", content),
        *(
            reader.get(path)
            for path in ("", "simple/", "simple/counted/", f"packages/{name}", f"packages/{name}.metadata")
        ),
        *(reader.get(path) for path in ("counted/json", "simple/absent/", "packages/absent-1.0.zip")),
        nobody.get("simple/"),
    ]
    page = reader.get("simple/counted/")
    again = reader.session.get(page.url, headers={"If-None-Match": page.headers["ETag"]}, timeout=30)
    answers += [page, again]
    expected = [200, 409, 400, 403, 401, *[200] * 5, 200, 404, 404, 401, 200, 304]
    assert [answer.status_code for answer in answers] == expected
    return len(answers)


def test_what_panels_and_rules_name_is_there(
    registry: Registry, prometheus: Prometheus, tmp_path: Path, note: Callable[[str], None]
) -> None:
    """Every metric and label that a panel or a rule names is in Prometheus, and every request is counted."""
    # Of what has never happened a counter would show the first time only to a rate that had seen it at zero.
    eventually(lambda: prometheus.series("pypiserver_uploads_total"), "the counters", 90, 1)
    sent = visit(registry, tmp_path)
    eventually(lambda: prometheus.sum("pypiserver_requests_total") >= sent, f"{sent} counted requests", 90, 1)
    assert prometheus.sum("pypiserver_requests_total") == sent
    # A rate needs two scrapes with something new between them.
    reader = registry.client(cluster.READER)
    assert all(reader.get("simple/").ok for _ in range(5))
    eventually(lambda: prometheus.sum("pypiserver_requests_total") == sent + 5, "five more", 90, 1)
    expressions = [rule["expr"] for group in groups() for rule in group["rules"]]
    expressions += [target["expr"] for panel in dashboard(cluster.NAME)["panels"] for target in panel["targets"]]
    used = {
        (name, frozenset(labels))
        for expression in expressions
        for name, labels in names_and_labels(expression)
        # What nobody told, what is about other programs, and what this registry has not: a store, backups, users of a
        # directory, retention, tokens.
        if not name.startswith(("certmanager_", "kube_", "pypiserver_expected_", *OF_OTHERS))
    }
    missing = set(used)

    def complete() -> bool:
        for name, labels in tuple(missing):
            if any(labels <= series.keys() for series in prometheus.series(name)):
                missing.discard((name, labels))
        assert not missing, missing
        return True

    eventually(complete, "all metrics", 120, 2)
    note(f"{len({name for name, _ in used})} metrics, {sent} requests")


def test_an_alert_fires_on_its_fault_and_ends(registry: Registry, prometheus: Prometheus) -> None:
    """A volume that fills up is told to whoever is on call, until there is room again."""
    assert FULL not in prometheus.firing()
    registry.exec(f"dd if=/dev/zero of={FILLER} bs=1M count=400 2>/dev/null; true")
    eventually(lambda: FULL in prometheus.firing(), f"the alert {FULL}", FIRES, 1)
    registry.exec(f"rm {FILLER}")
    eventually(lambda: FULL not in prometheus.firing(), "the end of the alert", FIRES, 1)
