"""The network policy opens the ways that concerns and users name, and no other."""

from pathlib import Path
from typing import Any, cast

import cdk8s
import pytest

from cases import HOST
from cdk8s_pypiserver import (
    CopySpec,
    MonitoringSpec,
    NetworkPolicy,
    PyPIServerChart,
    PyPIServerSpec,
    RegistryIngressSpec,
    RegistryNetworkPolicySpec,
    SpecError,
)
from cdk8s_pypiserver.access.network import Protocol, Way
from manifests import Manifest, by_kind, synthesize

COPYING = CopySpec(source="https://index.example.org/simple/")
PEER = {"ipBlock": {"cidr": "192.0.2.0/24"}}
SERVED = [{"port": name, "protocol": "TCP"} for name in ("http", "https")]
SELECTED = {f"app.kubernetes.io/{key}": value for key, value in (("name", "pypiserver"), ("instance", "pypiserver"))}


def _own(role: str) -> Manifest:
    """The registry's own pods of a role, of which there need not be any."""
    labels = {**SELECTED, "app.kubernetes.io/component": "server", "pypiserver/role": role}
    return {"podSelector": {"matchLabels": labels}}


FROM_READERS = {"from": [_own("reader")], "ports": SERVED}
TO_THE_WRITER = {"to": [_own("writer")], "ports": SERVED}


def _policy(spec: PyPIServerSpec) -> Manifest:
    policy: Manifest = by_kind(synthesize(spec), "NetworkPolicy")["spec"]
    return policy


def test_without_concerns_only_the_named_clients_may_and_nothing_goes_out() -> None:
    policy = _policy(PyPIServerSpec(network_policy=RegistryNetworkPolicySpec(clients=[PEER])))
    assert policy["ingress"] == [FROM_READERS, {"from": [PEER], "ports": SERVED}]
    assert policy["egress"] == [TO_THE_WRITER]
    assert policy["policyTypes"] == ["Ingress", "Egress"]


def test_nobody_is_not_everybody() -> None:
    assert _policy(PyPIServerSpec(network_policy=RegistryNetworkPolicySpec(clients=[])))["ingress"] == [FROM_READERS]


def test_each_concern_names_its_own_peers_and_ports() -> None:
    spec = PyPIServerSpec(
        ingress=RegistryIngressSpec(host=HOST, controllers=[PEER]),
        monitoring=MonitoringSpec(scrapers=[PEER]),
        network_policy=RegistryNetworkPolicySpec(clients=[]),
    )
    opened = [(rule["from"], [port["port"] for port in rule["ports"]]) for rule in _policy(spec)["ingress"]]
    assert opened == [([PEER], ["http"]), ([PEER], ["metrics"]), ([_own("reader")], ["http", "https"])]


def test_users_open_ways_of_their_own() -> None:
    chart = PyPIServerChart(cdk8s.App(), "chart", PyPIServerSpec(network_policy=RegistryNetworkPolicySpec()))
    chart.registry.network.allow_to([PEER], ports=[443])
    chart.registry.network.allow_from([PEER], ports=["http"])
    policy = by_kind(chart.to_json(), "NetworkPolicy")["spec"]
    assert policy["egress"] == [{"to": [PEER], "ports": [{"port": 443, "protocol": "TCP"}]}, TO_THE_WRITER]
    assert {"from": [PEER], "ports": [{"port": "http", "protocol": "TCP"}]} in policy["ingress"]


@pytest.mark.parametrize(
    ("peers", "ports", "protocol", "message"),
    [
        ([{}], [443], "TCP", r"peer {} must have podSelector, namespaceSelector or both, or ipBlock"),
        ([{"podSelectr": {}}], [443], "TCP", r"peer {'podSelectr': {}} must have podSelector"),
        (
            [{"ipBlock": {"cidr": "10.0.0.0"}}],
            [443],
            "TCP",
            r"peer {'ipBlock': {'cidr': '10.0.0.0'}}: ipBlock.cidr \('10.0.0.0'\) must be a network \(CIDR\)",
        ),
        ([PEER], [99999], "TCP", r"port 99999 must be a number from 1 to 65535"),
        ([PEER], ["A_port"], "TCP", r"port 'A_port' must be a name of lower-case letters, digits and single -"),
        ([PEER], [], "TCP", r"ports \(\[\]\) must not be empty, which would mean every port"),
        ([PEER], [443], cast("Protocol", "tcp"), r"protocol 'tcp' must be one of TCP, UDP, SCTP"),
    ],
)
def test_a_way_that_would_be_another_than_is_meant_is_refused(
    peers: list[Any], ports: list[Any], protocol: Protocol, message: str
) -> None:
    network = PyPIServerChart(cdk8s.App(), "chart").registry.network
    with pytest.raises(ValueError, match=message):
        network.allow_to(peers, ports=ports, protocol=protocol)
    with pytest.raises(ValueError, match=message):
        network.isolate("job", [Way(peers, ports, protocol)])
    if protocol == "TCP":
        with pytest.raises(ValueError, match=message):
            network.allow_from(peers, ports=ports)


BLOCKS = {
    "nothing": ({}, "clients[0].ipBlock.cidr is missing"),
    "no mapping": ("10.0.0.0/8", "clients[0].ipBlock ('10.0.0.0/8') must be a mapping of cidr and except"),
    "another field": (
        {"cidr": "10.0.0.0/8", "excluding": []},
        "clients[0].ipBlock.excluding ([]) is no field here; there are cidr, except",
    ),
    "no length": (
        {"cidr": "10.0.0.0"},
        "clients[0].ipBlock.cidr ('10.0.0.0') must be a network (CIDR) such as 10.0.0.0/8 or fd00::/8",
    ),
    "a number": ({"cidr": 10}, "clients[0].ipBlock.cidr (10) must be text"),
    "too long": ({"cidr": "10.0.0.0/33"}, "clients[0].ipBlock.cidr ('10.0.0.0/33') is no address that there can be"),
    "bits beyond": (
        {"cidr": "10.0.0.1/8"},
        "clients[0].ipBlock.cidr ('10.0.0.1/8') has bits beyond its mask: is 10.0.0.0/8 meant?",
    ),
    "no list": (
        {"cidr": "10.0.0.0/8", "except": "10.1.0.0/16"},
        "clients[0].ipBlock.except ('10.1.0.0/16') must be a list, even of one entry",
    ),
    "an address": (
        {"cidr": "10.0.0.0/8", "except": ["10.1.0.0"]},
        "clients[0].ipBlock.except[0] ('10.1.0.0') must be a network (CIDR) such as 10.0.0.0/8 or fd00::/8",
    ),
    "outside": (
        {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16", "192.168.0.0/16"]},
        "clients[0].ipBlock.except[1] ('192.168.0.0/16') must be a part of cidr (10.0.0.0/8)",
    ),
    "all of it": (
        {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]},
        "clients[0].ipBlock.except[0] ('10.0.0.0/8') must be a part of cidr (10.0.0.0/8)",
    ),
    "the other version": (
        {"cidr": "10.0.0.0/8", "except": ["fd00::/8"]},
        "clients[0].ipBlock.except[0] ('fd00::/8') must be a part of cidr (10.0.0.0/8)",
    ),
}


@pytest.mark.parametrize("case", BLOCKS)
def test_a_block_that_kubernetes_would_refuse_is_refused(case: str) -> None:
    block, problem = BLOCKS[case]
    with pytest.raises(SpecError) as raised:
        RegistryNetworkPolicySpec(clients=[{"ipBlock": block}])
    assert [str(each) for each in raised.value.problems] == [problem]


SELECTORS: dict[str, tuple[Any, str]] = {
    "nothing": (None, " (None) must be a mapping; {} is whoever there is"),
    "another field": (
        {"matchLabel": {"app": "a"}},
        ".matchLabel (given) is no field here; there are matchLabels, matchExpressions",
    ),
    "no labels": ({"matchLabels": None}, ".matchLabels (None) must be a mapping"),
    "a list of labels": ({"matchLabels": ["app"]}, ".matchLabels (['app']) must be a mapping"),
    "a key": (
        {"matchLabels": {"a b": "c"}},
        (
            ".matchLabels[\"a b\"] ('c') has no such key: it must be a label key such as team or example.org/team: "
            "letters, digits, - _ and . (63 at most after the /)"
        ),
    ),
    "a number": ({"matchLabels": {"app": 1}}, ".matchLabels.app (1) must be text"),
    "a value": (
        {"matchLabels": {"app": "a b"}},
        ".matchLabels.app ('a b') must be letters, digits, - _ and . with a letter or digit at both ends",
    ),
    "no expressions": ({"matchExpressions": {}}, ".matchExpressions (given) must be a list, even of one entry"),
    "no expression": ({"matchExpressions": ["a"]}, ".matchExpressions[0] ('a') must be a mapping"),
    "an unknown field": (
        {"matchExpressions": [{"key": "a", "operator": "Exists", "vals": []}]},
        ".matchExpressions[0].vals ([]) is no field here; there are key, operator, values",
    ),
    "no key": (
        {"matchExpressions": [{"operator": "Exists"}]},
        ".matchExpressions[0].key (None) must be text",
    ),
    "an operator": (
        {"matchExpressions": [{"key": "a", "operator": "in", "values": ["b"]}]},
        ".matchExpressions[0].operator ('in') must be In, NotIn, Exists or DoesNotExist",
    ),
    "no values": (
        {"matchExpressions": [{"key": "a", "operator": "In"}]},
        ".matchExpressions[0].values (None) must be a list, of one entry at least",
    ),
    "values of none": (
        {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]},
        ".matchExpressions[0].values (['b']) must be left out with the operator Exists",
    ),
    "a wrong value": (
        {"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["b", True]}]},
        ".matchExpressions[0].values[1] (True) must be text",
    ),
}


@pytest.mark.parametrize("case", SELECTORS)
@pytest.mark.parametrize("field", ["podSelector", "namespaceSelector"])
def test_a_selector_that_would_be_another_than_is_meant_is_refused(field: str, case: str) -> None:
    selector, problem = SELECTORS[case]
    with pytest.raises(SpecError) as raised:
        RegistryNetworkPolicySpec(clients=[{field: selector}])
    assert [str(each) for each in raised.value.problems] == [f"clients[0].{field}{problem}"]


def test_a_selector_may_be_all_that_kubernetes_knows() -> None:
    expressions = (
        {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ("a", "")},
        {"key": "team", "operator": "DoesNotExist", "values": ()},
    )
    selectors: list[Manifest] = [{}, {"matchLabels": {}}, {"matchLabels": {"a": ""}, "matchExpressions": expressions}]
    for selector in selectors:
        peer = {"podSelector": selector, "namespaceSelector": selector}
        assert RegistryNetworkPolicySpec(clients=[peer]).clients == (peer,)


def test_a_block_may_leave_parts_of_itself_out() -> None:
    block = {"cidr": "10.0.0.0/8", "except": ("10.1.0.0/16", "10.2.3.4/32")}
    assert RegistryNetworkPolicySpec(clients=[{"ipBlock": block}]).clients


def test_a_way_to_a_port_that_no_container_has_is_refused_at_synth(tmp_path: Path) -> None:
    app = cdk8s.App(outdir=str(tmp_path))
    registry = PyPIServerChart(app, "chart").registry
    registry.network.allow_from([PEER], ports=["metrics", "mine"])
    with pytest.raises(RuntimeError, match=r"network.allow_from: port 'mine' must be a port of a container: http"):
        app.synth()
    registry.gateway.add_port("mine", 9000)
    app.synth()


def test_pods_of_jobs_are_isolated_until_synth() -> None:
    app = cdk8s.App()
    chart = PyPIServerChart(app, "chart", PyPIServerSpec(network_policy=RegistryNetworkPolicySpec()))
    chart.registry.network.isolate("report", [Way([PEER], [80])])
    chart.registry.network.isolate("report", [Way([PEER], [443])])
    chart.registry.network.admit(PyPIServerChart(app, "other", PyPIServerSpec(copying=COPYING)).registry.network)
    policies = {each["metadata"]["name"]: each for each in chart.to_json() if each["kind"] == "NetworkPolicy"}
    assert policies.keys() == {"pypiserver", "pypiserver-report", "pypiserver-copy"}
    report = policies["pypiserver-report"]["spec"]
    assert report["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "report"
    assert report["egress"] == [{"to": [PEER], "ports": [{"port": 443, "protocol": "TCP"}]}]


def test_a_policy_can_have_the_ways_that_another_registry_has() -> None:
    app = cdk8s.App()
    spec = PyPIServerSpec(ingress=RegistryIngressSpec(host=HOST, controllers=[PEER]), copying=COPYING)
    other = PyPIServerChart(app, "other", spec)
    chart = PyPIServerChart(app, "chart")
    chart.registry.network.admit(other.registry.network)
    NetworkPolicy(chart.registry, "policy", spec=RegistryNetworkPolicySpec())
    NetworkPolicy(other.registry, "policy", spec=RegistryNetworkPolicySpec())

    def policies(chart: cdk8s.Chart) -> list[Manifest]:
        return [each for each in chart.to_json() if each["kind"] == "NetworkPolicy"]

    assert len(policies(chart)) > 1
    assert policies(chart) == policies(other)


def test_a_policy_can_open_other_ways_than_the_registry_needs() -> None:
    app = cdk8s.App()
    chart, other = PyPIServerChart(app, "chart"), PyPIServerChart(app, "other")
    chart.registry.network.allow_names()
    other.registry.network.allow_to([PEER], ports=[636])
    other.registry.network.allow_names()
    policy = NetworkPolicy(chart.registry, "policy", spec=RegistryNetworkPolicySpec())

    def opened() -> list[int | str]:
        rules = by_kind(chart.to_json(), "NetworkPolicy")["spec"]["egress"]
        return [port["port"] for rule in rules for port in rule["ports"]]

    assert opened() == [53, 53, "http", "https"]
    policy.network = chart.registry.network.reaching(other.registry.network)
    assert opened() == [53, 53, 636, "http", "https"]
