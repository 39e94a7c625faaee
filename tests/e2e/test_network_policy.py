"""The network policy, where the cluster enforces one: who is named reaches the registry, and it reaches nobody."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml

from cdk8s_pypiserver.base import images
from e2e import cluster
from e2e.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COMPONENTS = cluster.ROOT / "dist" / "components"
SUFFIX = "policy"
PROXY, SCRAPER, STRANGER = "e2e-policy-proxy", "e2e-policy-scraper", "e2e-policy-stranger"
ASK = (
    "import sys,urllib.error,urllib.request\n"
    "try: print(urllib.request.urlopen(sys.argv[1], timeout=4).status)\n"
    "except urllib.error.HTTPError as error: print(error.code)\n"
    "except OSError as error: print('none:', error)\n"
)
"""Prints the status of an address, or that nobody answers."""
NAMED = {"http": PROXY, "metrics": SCRAPER}
"""The namespaces that take the place of the ingress controllers' and of Prometheus', by the port that is for them."""
CUSTOM = {"PrometheusRule": "monitoring.coreos.com/v1", "ServiceMonitor": "monitoring.coreos.com/v1"}
"""What the component has for Prometheus's operator, which need not be here."""


class _Probe:
    """A pod that asks for addresses."""

    def __init__(self, namespace: str, labels: dict[str, str] | None = None) -> None:
        container = {
            "name": "probe",
            "image": images.SERVER,
            "command": ["sleep", "3600"],
            "securityContext": cluster.RESTRICTED,
        }
        security = {"runAsNonRoot": True, "runAsUser": 9898, "seccompProfile": {"type": "RuntimeDefault"}}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "probe", "labels": labels or {"app": "probe"}},
            "spec": {"containers": [container], "securityContext": security, "terminationGracePeriodSeconds": 0},
        }
        self._here = ("--namespace", namespace)
        cluster.kubectl(*self._here, "apply", "--filename", "-", stdin=json.dumps(pod))
        cluster.kubectl(*self._here, "wait", "--for=condition=Ready", "pod/probe", "--timeout=60s")

    def ask(self, url: str) -> str:
        return cluster.kubectl(*self._here, "exec", "probe", "--", "python3", "-c", ASK, url).strip()


def _named() -> list[cluster.Operation]:
    """Let in the namespaces of this test where the policy names others."""
    policy = yaml.safe_load((COMPONENTS / "network-policy/NetworkPolicy.pypiserver.yaml").read_text())
    found = {
        port["port"]: number
        for number, rule in enumerate(policy["spec"]["ingress"])
        for port in rule["ports"]
        if "namespaceSelector" in rule["from"][0]
    }
    assert found.keys() == NAMED.keys()
    return [
        {
            "op": "replace",
            "path": f"/spec/ingress/{found[port]}/from",
            "value": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}],
        }
        for port, namespace in NAMED.items()
    ]


@pytest.fixture(scope="module")
def registry(deploy: Callable[..., cluster.Registry]) -> cluster.Registry:
    without = [
        cluster.Patch(
            kind, {"$patch": "delete", "apiVersion": version, "kind": kind, "metadata": {"name": cluster.NAME}}
        )
        for kind, version in CUSTOM.items()
    ]
    return deploy(
        SUFFIX,
        cluster.OVERLAYS / "local",
        [cluster.Patch("NetworkPolicy", _named(), name=cluster.NAME), *without],
        components=[COMPONENTS / "network-policy", COMPONENTS / "monitoring"],
    )


@pytest.fixture(scope="module")
def namespaces() -> Iterator[None]:
    for name in (PROXY, SCRAPER, STRANGER):
        cluster.run("create", "namespace", name)
    yield
    for name in (PROXY, SCRAPER, STRANGER):
        cluster.remove_namespace(name)


def test_who_is_named_reaches_the_registry_and_nobody_else(registry: cluster.Registry, namespaces: None) -> None:
    del namespaces
    url = f"http://{cluster.NAME}.{registry.namespace}.svc.cluster.local"
    if not eventually(lambda: _Probe(STRANGER).ask(f"{url}/health"), "an answer", 60, 1).startswith("none"):
        pytest.skip("the cluster's network does not enforce policies")
    assert _Probe(registry.namespace).ask(f"{url}/health") == "200"
    assert _Probe(PROXY).ask(f"{url}/simple/") == "401"
    assert _Probe(STRANGER).ask(f"{url}/simple/").startswith("none")
    assert _Probe(SCRAPER).ask(f"{url}/simple/").startswith("none")


def test_prometheus_alone_reaches_the_metrics(registry: cluster.Registry, namespaces: None) -> None:
    del namespaces
    url = f"http://{cluster.NAME}-metrics.{registry.namespace}.svc.cluster.local:9090/metrics"
    if not eventually(lambda: _Probe(STRANGER).ask(f"{url}/gateway"), "an answer", 60, 1).startswith("none"):
        pytest.skip("the cluster's network does not enforce policies")
    scraper = _Probe(SCRAPER)
    assert [scraper.ask(f"{url}/{part}") for part in ("gateway", "server")] == ["200", "200"]
    for others in (registry.namespace, PROXY):
        assert _Probe(others).ask(f"{url}/gateway").startswith("none")


def test_the_pods_reach_nobody(registry: cluster.Registry, namespaces: None) -> None:
    del namespaces
    api = "https://kubernetes.default.svc/healthz"
    # The certificate is unknown, which is an answer.
    assert "certificate" in _Probe(STRANGER).ask(api)
    script = f'python3 -c "{ASK}" {api}'
    assert registry.exec(script).startswith("none")
    assert "certificate" not in registry.exec(script)
