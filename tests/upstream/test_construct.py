"""The container that asks other indexes, its configuration, and what gateway, server and network policy know of it."""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import signal
import socket
import subprocess
from typing import Any

import cdk8s
import pytest

from cases import CASES, PUBLIC
from cdk8s_pypiserver import (
    MonitoringSpec,
    PyPIServerChart,
    PyPIServerSpec,
    RegistryNetworkPolicySpec,
    SharedVolumeSpec,
    SpecError,
    UpstreamCacheSpec,
    UpstreamIndexSpec,
    UpstreamSpec,
)
from cdk8s_pypiserver.base.config_files import runtime_files
from cdk8s_pypiserver.base.identity import ROLE
from cdk8s_pypiserver.base.patterns import covers, normalised
from cdk8s_pypiserver.base.places import place
from cdk8s_pypiserver.pod.gateway import in_use
from manifests import Manifest, by_kind, pod_of, synthesize

COMPANY = CASES["upstream-of-a-company"]
INDEX = "https://index.example.org/simple/"


def _configuration(spec: PyPIServerSpec) -> dict[str, Any]:
    (found,) = (made["data"] for made in synthesize(spec) if "upstream.json" in made.get("data", {}))
    configuration: dict[str, Any] = json.loads(found["upstream.json"])
    return configuration


def _container(spec: PyPIServerSpec, name: str = "upstream") -> Manifest:
    (found,) = (each for each in pod_of(synthesize(spec))["containers"] if each["name"] == name)
    return dict(found)


def _mounts(container: Manifest) -> dict[str, str]:
    return {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}


def test_the_configuration_says_what_the_spec_says() -> None:
    assert _configuration(COMPANY) == {
        "indexes": [
            {
                "name": "proxied",
                "url": "https://nexus.example.org:8443/repository/pypi/simple/",
                "file_hosts": [],
                "credentials": True,
                "ca": True,
                "plain_http": False,
            },
            {
                "name": "index-example-org",
                "url": "https://index.example.org/simple/",
                "file_hosts": ["files.example.org", "files.example.org:8443"],
                "credentials": False,
                "ca": True,
                "plain_http": False,
            },
        ],
        "private_names": ["acme-*"],
        "merge": ["torch"],
        "shadowing": "allowed",
        "minimum_age_days": 7,
        "no_minimum_age": ["setuptools"],
        "allow": ["django>=4,<5", "typing-extensions"],
        "deny": ["torch<2"],
        "page_seconds": 60,
        "cache_bytes": 192_736_657_408,
        "proxy": "http://proxy.example.org:3128",
    }


def test_files_leave_room_on_the_volume() -> None:
    for size in ("1Gi", "10Gi", "1T"):
        cache = UpstreamCacheSpec(size=size)
        (volume,) = (
            each
            for each in pod_of(synthesize(PyPIServerSpec(upstream=PUBLIC.replace(cache=cache))))["volumes"]
            if each["name"] == "upstream-cache"
        )
        assert volume["emptyDir"] == {"sizeLimit": size}
        total = {"1Gi": 1 << 30, "10Gi": 10 << 30, "1T": 10**12}[size]
        assert 0 < cache.bytes_of_files <= 0.9 * total - (500 << 20)


def test_plain_http_is_asked_where_it_is_said() -> None:
    index = UpstreamIndexSpec(url="http://index.example.org/", plain_http=True, file_hosts=["files.example.org"])
    assert [(each.host, each.port) for each in index.places] == [("index.example.org", 80), ("files.example.org", 80)]
    (said,) = _configuration(PyPIServerSpec(upstream=UpstreamSpec(indexes=[index])))["indexes"]
    assert (said["url"], said["plain_http"]) == ("http://index.example.org/", True)


def test_the_container_has_nothing_of_the_private_packages() -> None:
    container = _container(COMPANY)
    assert _mounts(container) == {
        "/var/cache/pypiserver": "upstream-cache",
        "/etc/pypiserver/upstream": "upstream-files",
        "/etc/pypiserver/server/fetching": "server-fetching",
        "/etc/pypiserver/server/http": "server-http",
        "/etc/pypiserver/server/index": "server-index",
        "/etc/pypiserver/server/upstream": "server-upstream",
        "/etc/pypiserver/upstream-credentials/proxied": "upstream-credentials-proxied",
        "/etc/pypiserver/upstream-ca/proxied": "upstream-ca-proxied",
        "/etc/pypiserver/upstream-ca/index-example-org": "upstream-ca-index-example-org",
    }
    assert container["image"] == _container(COMPANY, "pypiserver")["image"]
    assert "readinessProbe" not in container
    volumes = {each["name"]: each for each in pod_of(synthesize(COMPANY))["volumes"]}
    assert volumes["upstream-cache"]["persistentVolumeClaim"] == {"claimName": "upstream"}
    assert volumes["upstream-credentials-proxied"]["secret"] == {"secretName": "nexus", "optional": True}
    assert volumes["upstream-ca-proxied"]["configMap"] == {"name": "company-ca", "optional": True}
    assert volumes["upstream-ca-index-example-org"]["secret"] == {"secretName": "index-ca", "optional": True}


def test_no_other_container_has_the_credentials() -> None:
    for name in ("gateway", "pypiserver"):
        assert [path for path in _mounts(_container(COMPANY, name)) if "credentials" in path] == []


def test_gateway_and_server_know_of_it() -> None:
    gateway, server = _container(COMPANY, "gateway"), _container(COMPANY, "pypiserver")
    # Read-only, the file system would not note when a file was last read.
    assert {"name": "upstream-cache", "mountPath": "/var/cache/pypiserver"} in gateway["volumeMounts"]
    assert _mounts(server)["/etc/pypiserver/upstream"] == "upstream-files"
    named = {"name": "UPSTREAM_CONFIGURATION", "value": "/etc/pypiserver/upstream/upstream.json"}
    assert named in server["env"]
    assert named in _container(COMPANY)["env"]
    (files,) = (made["data"] for made in synthesize(COMPANY) if "nginx.conf" in made.get("data", {}))
    shipped = {name for name in runtime_files("gateway") if name.endswith("-upstream.conf")}
    assert len(shipped) == 4
    assert shipped <= files.keys()


def test_without_it_there_is_nothing_of_it() -> None:
    pod = pod_of(synthesize())
    assert [each["name"] for each in pod["containers"]] == ["gateway", "pypiserver"]
    assert "upstream" not in json.dumps(pod).lower()


def test_a_changed_configuration_makes_new_pods() -> None:
    names = {
        made["metadata"]["name"]
        for seconds in (60, 61)
        for made in synthesize(PyPIServerSpec(upstream=PUBLIC.replace(page_seconds=seconds)))
        if made["metadata"]["name"].startswith("pypiserver-upstream-")
    }
    assert len(names) == 2


def _egress(upstream: UpstreamSpec | None) -> list[tuple[list[Any], list[tuple[int, str]]]]:
    spec = PyPIServerSpec(upstream=upstream, network_policy=RegistryNetworkPolicySpec())
    rules = by_kind(synthesize(spec), "NetworkPolicy")["spec"]["egress"]
    # Without that of readers to their writer, which each has.
    rules = [rule for rule in rules if ROLE not in str(rule["to"])]
    return [(rule["to"], [(each["port"], each["protocol"]) for each in rule["ports"]]) for rule in rules]


def test_the_policy_opens_the_ways_to_the_indexes_and_to_name_servers() -> None:
    assert _egress(None) == []
    peers = [{"ipBlock": {"cidr": "192.0.2.0/24"}}]
    index = UpstreamIndexSpec(
        url="https://index.example.org:8443/simple/", file_hosts=["files.example.org", "files.example.org:9443"]
    )
    (to_indexes, ports), *names = _egress(UpstreamSpec(indexes=[index], peers=peers))
    assert to_indexes == peers
    assert ports == [(443, "TCP"), (8443, "TCP"), (9443, "TCP")]
    assert [way[1] for way in names] == [[(53, "UDP")], [(53, "TCP")]]
    assert {"namespaceSelector": {}} in names[0][0]
    # By a proxy nobody else is reached.
    by_proxy = UpstreamSpec(indexes=[index], proxy="http://proxy.example.org:3128", peers=peers)
    assert _egress(by_proxy)[0] == (peers, [(3128, "TCP")])


def test_no_private_address_is_let_through_by_default() -> None:
    (peers, ports), *_ = _egress(PUBLIC)
    assert ports == [(443, "TCP")]
    blocks = [peer["ipBlock"] for peer in peers]

    def let_through(address: str) -> bool:
        meant = ipaddress.ip_address(address)
        return any(
            meant in ipaddress.ip_network(block["cidr"])
            and not any(meant in ipaddress.ip_network(each) for each in block.get("except", ()))
            for block in blocks
        )

    private = ["10.1.2.3", "127.0.0.1", "169.254.169.254", "172.31.0.1", "192.168.0.1", "100.64.0.1", "0.0.0.0"]  # noqa: S104
    private += ["224.0.0.1", "::1", "fe80::1", "fd00::1", "ff02::1", "::ffff:10.0.0.1"]
    assert [address for address in private if let_through(address)] == []
    assert let_through("1.1.1.1")
    assert let_through("151.101.0.223")
    assert let_through("2a04:4e42::223")


def test_it_is_scraped_and_watched_where_there_is_monitoring() -> None:
    manifests = synthesize(PyPIServerSpec(upstream=PUBLIC, monitoring=MonitoringSpec()))
    endpoints = by_kind(manifests, "ServiceMonitor")["spec"]["endpoints"]
    assert [each["path"] for each in endpoints] == ["/metrics/gateway", "/metrics/server", "/metrics/upstream"]
    further = by_kind(manifests, "PrometheusRule")["spec"]["groups"][-1]["rules"]
    assert [rule["alert"] for rule in further] == ["PyPIServerUpstreamAway", "PyPIServerUpstreamCacheThrashing"]


def test_a_container_at_the_same_port_is_refused(tmp_path: object) -> None:
    app = cdk8s.App(outdir=str(tmp_path))
    registry = PyPIServerChart(app, "chart", PyPIServerSpec(upstream=PUBLIC)).registry
    hardened = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    ports = [{"containerPort": 8083}]
    registry.pod.add_container({"name": "mine", "image": "a", "securityContext": hardened, "ports": ports})
    with pytest.raises(RuntimeError, match=r"container mine: ports.containerPort \(8083\) must be another one"):
        app.synth()


def test_several_pods_have_a_cache_each() -> None:
    volumes = pod_of(synthesize(PyPIServerSpec(storage=SharedVolumeSpec(), replicas=3, upstream=PUBLIC)))["volumes"]
    assert {"name": "upstream-cache", "emptyDir": {"sizeLimit": "10Gi"}} in volumes


def test_the_probe_is_content_with_health_alone() -> None:
    *command, url = _container(PyPIServerSpec(upstream=PUBLIC))["livenessProbe"]["exec"]["command"]
    assert url == "http://127.0.0.1:8083/health"
    program = shutil.which(command[0])
    assert program
    for status, is_content in (("200 OK", True), ("503 Service Unavailable", False)):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            here = url.replace("8083", str(listener.getsockname()[1]))
            probe = subprocess.Popen([program, *command[1:], here], stderr=subprocess.DEVNULL)
            connection, _ = listener.accept()
            with connection:
                assert connection.recv(1000).startswith(b"GET /health HTTP/1.1\r\n")
                connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
            assert (probe.wait() == 0) is is_content


def test_it_goes_after_the_gateway() -> None:
    script = _container(PyPIServerSpec(upstream=PUBLIC))["lifecycle"]["preStop"]["exec"]["command"][-1]
    assert "[ $i -lt 320 ]" in script
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # This port for that of the gateway.
        here = script.replace("1F90", f"{listener.getsockname()[1]:04X}")
        hook = subprocess.Popen(["/bin/sh", "-c", here], start_new_session=True)
        with pytest.raises(subprocess.TimeoutExpired):
            hook.wait(0.5)
        os.killpg(hook.pid, signal.SIGKILL)
        hook.wait()
    assert subprocess.run(["/bin/sh", "-c", here], check=False, timeout=30).returncode == 0
    assert in_use("01|0A") in script


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("index.example.org/simple/", "must be the address of an index"),
        ("ftp://index.example.org/", "must be the address of an index"),
        ("https://index.example.org/simple?x=1", "must have no query and no fragment"),
        ("https://index.example.org/simple/#x", "must have no query and no fragment"),
        ("https://index.example.org/../simple/", "must not have . or .. as a part"),
        ("https://Index.example.org/simple/", "must have the host in lower case"),
        ("https://index.example.org:0/", "must have a port from 1 to 65535"),
        ("https://index.example.org:70000/", "must have a port from 1 to 65535"),
        ("https://1.2.3/simple/", "has an address that there cannot be (1.2.3)"),
        ("https://[::g]/simple/", "has an address that there cannot be ([::g])"),
        ("https://index.example.org//simple/", "must be the address of an index"),
        ("https://index example.org/", "must be the address of an index"),
        ("https://*.example.org/", "must be the address of an index"),
        ("https:///simple/", "must be the address of an index"),
    ],
)
def test_an_address_that_cannot_be_one_is_refused(url: str, reason: str) -> None:
    with pytest.raises(SpecError) as refused:
        UpstreamIndexSpec(url=url)
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("files.example.org/packages", "must be a host without scheme and path"),
        ("*.example.org", "must be one host, not a wildcard"),
        ("a:b@files.example.org", "must hold no credentials"),
        ("files.example.org:", "must be a host in lower case"),
        ("Files.example.org", "must have the host in lower case"),
    ],
)
def test_a_file_host_that_cannot_be_one_is_refused(host: str, reason: str) -> None:
    with pytest.raises(SpecError) as refused:
        UpstreamIndexSpec(url=INDEX, file_hosts=[host])
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    ("proxy", "reason"),
    [
        ("https://proxy.example.org:3128", "must begin with http://"),
        ("http://proxy.example.org", "must be the address of a proxy with its port"),
        ("http://proxy.example.org:3128/x", "must be the address of a proxy with its port"),
        ("proxy.example.org:3128", "must be the address of a proxy with its port"),
    ],
)
def test_a_proxy_that_cannot_be_one_is_refused(proxy: str, reason: str) -> None:
    with pytest.raises(SpecError) as refused:
        PUBLIC.replace(proxy=proxy)
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("**", "must not match every name"),
        ("-acme", "must be a name of a project or a pattern"),
        ("acme-", "must be a name of a project or a pattern"),
        ("acme/*", "must be a name of a project or a pattern"),
        ("[a-c]me", "must be a name of a project or a pattern"),
        ("acmé-*", "must be a name of a project or a pattern"),
        ("acme>=1", "must be a name of a project or a pattern"),
    ],
)
def test_a_pattern_that_matches_nothing_or_everything_is_refused(pattern: str, reason: str) -> None:
    with pytest.raises(SpecError) as refused:
        PUBLIC.replace(private_names=[pattern])
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    ("requirement", "reason"),
    [
        ("*", "must not match every name"),
        ("*<2", "must not match every name"),
        ("django>=4;<5", "must be a name or a pattern, and versions"),
        ("django 4", "must be a name or a pattern, and versions"),
        ("django===4", "must be a name or a pattern, and versions"),
        ("django[argon2]", "must be a name or a pattern, and versions"),
        ("django~=4", "has versions that there cannot be (~=4)"),
        ("django>=4.*", "has versions that there cannot be (>=4.*)"),
        ("django>4,<=4", "matches nothing: no version is >4,<=4"),
        ("django==4,==5", "matches nothing: no version is ==4,==5"),
        ("django~=4.2,<4", "matches nothing: no version is ~=4.2,<4"),
    ],
)
def test_a_requirement_that_matches_nothing_or_everything_is_refused(requirement: str, reason: str) -> None:
    with pytest.raises(SpecError) as refused:
        PUBLIC.replace(deny=[requirement])
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    "requirement", ["django", "Acme_*", "a*b*", "x>=1,<=1", "x==1.*,<2", "x != 1.0", "x~=1.4.2", "x>1!2", "x<1.0rc1"]
)
def test_what_can_match_is_taken(requirement: str) -> None:
    assert PUBLIC.replace(deny=[requirement]).deny == (requirement,)


@pytest.mark.parametrize(
    ("pattern", "other", "does"),
    [
        ("acme-*", "acme-tools", True),
        ("acme-*", "acme-*", True),
        ("acme-*", "acme-x-*", True),
        ("acme-*", "acme*", False),
        ("acme-tools", "acme-*", False),
        ("*-tools", "acme-tools", True),
        ("a*z", "az", True),
        ("acme", "acme-tools", False),
    ],
)
def test_what_a_pattern_covers(pattern: str, other: str, does: bool) -> None:
    assert covers(pattern, other) is does


def test_spellings_are_one() -> None:
    assert [normalised(each) for each in ("Acme._Tools", "ACME-*", "Django >= 4.0, < 5")] == [
        "acme-tools",
        "acme-*",
        "django>=4.0,<5",
    ]


@pytest.mark.parametrize(
    ("address", "private"),
    [
        ("https://10.0.0.1/", True),
        ("https://[fd00::1]:8443/", True),
        ("https://nexus/", True),
        ("https://nexus.tools.svc.cluster.local/", True),
        ("https://index.example.org/", False),
        ("https://1.1.1.1/", False),
    ],
)
def test_addresses_that_are_not_public(address: str, private: bool) -> None:
    assert place(address).is_private is private
