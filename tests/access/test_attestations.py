"""The container that verifies attestations, the rules that the server reads, and what the network policy lets by."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import cdk8s
import pytest

import pinned
from cases import ATTESTED, CASES
from cdk8s_pypiserver import PyPIServerChart, PyPIServerSpec, RegistryNetworkPolicySpec, SpecError
from cdk8s_pypiserver.access.attestations import PORT, AnyIdentity
from cdk8s_pypiserver.base.config_files import runtime_files
from cdk8s_pypiserver.base.identity import ROLE
from cdk8s_pypiserver.pod.libraries import REQUIREMENTS
from manifests import by_kind, pod_of, synthesize
from server.access.attestation_rules import KINDS, AttestationRules
from server.attesting.listener import port
from server.pod.settings import Settings
from signed import ATTESTATION, SIGNER, Verifier

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from manifests import Manifest

COMPANY, MIRROR = "attestations-of-a-company", "attestations-from-a-mirror"


def container(manifests: list[Manifest], name: str = "attestations") -> Manifest:
    (found,) = (each for each in pod_of(manifests)["containers"] if each["name"] == name)
    return dict(found)


def variables(of: Manifest) -> dict[str, Any]:
    return {each["name"]: each.get("value") for each in of["env"]}


def data(manifests: list[Manifest], name: str) -> Mapping[str, str]:
    (found,) = (each["data"] for each in manifests if name in each.get("data", {}))
    return dict(found)


@pytest.mark.parametrize("case", ["attestations", COMPANY])
def test_the_server_reads_what_is_written(case: str, tmp_path: Path) -> None:
    manifests = synthesize(CASES[case])
    path = tmp_path / "attestations.json"
    path.write_text(data(manifests, "attestations.json")["attestations.json"])
    demand = AttestationRules.from_file(path).of("acme-data")
    assert demand.required
    assert demand.publishers[0] == {"kind": "GitHub", "repository": "acme/lib", "workflow": "release.yml"}
    assert len(demand.publishers) == (1 if case == "attestations" else 2)
    assert AttestationRules.from_file(path).of("others") == ((), False)
    if case == COMPANY:
        tools = AttestationRules.from_file(path).of("tools")
        assert [each["kind"] for each in tools.publishers] == ["Google", "CircleCI"]
        assert not tools.required


def test_the_kinds_of_the_spec_are_those_of_the_server() -> None:
    identities = AnyIdentity.__args__[0].__args__
    kinds = {each.model_fields["kind"].default: each for each in identities}
    assert kinds.keys() == KINDS.keys()
    for kind, (must, may) in KINDS.items():
        assert {*must, *may, "kind"} == set(kinds[kind].model_fields)


def test_it_is_mounted_where_the_server_looks() -> None:
    manifests = synthesize(CASES["attestations"])
    server, own = container(manifests, "pypiserver"), container(manifests)
    (mount,) = (each for each in server["volumeMounts"] if each["name"] == "attestations")
    assert variables(server)["ATTESTATIONS"] == f"{mount['mountPath']}/attestations.json"
    volumes = {each["name"]: each for each in pod_of(manifests)["volumes"]}
    mounts = {each["mountPath"]: each["name"] for each in own["volumeMounts"]}
    assert set(mounts.values()) <= volumes.keys()
    program = mounts["/etc/pypiserver/server/attesting"]
    (made,) = (each for each in manifests if each["metadata"]["name"] == volumes[program]["configMap"]["name"])
    assert made["data"] == runtime_files("server/attesting")
    assert own["args"][-1] == f"--requirement=/etc/pypiserver/server/attesting/{REQUIREMENTS}"
    assert mounts["/libraries"] == "attestations-libraries"


def test_it_runs_on_the_files_that_are_mounted_and_its_libraries_alone(tmp_path: Path) -> None:
    manifests = synthesize(CASES["attestations"])
    volumes = {each["name"]: each for each in pod_of(manifests)["volumes"]}
    by_name = {each["metadata"]["name"]: each for each in manifests}
    for mount in container(manifests)["volumeMounts"]:
        if "configMap" in volumes[mount["name"]]:
            folder = tmp_path / mount["mountPath"].removeprefix("/etc/pypiserver/")
            folder.mkdir(parents=True)
            for name, text in by_name[volumes[mount["name"]]["configMap"]["name"]]["data"].items():
                (folder / name).write_text(text)
    verifier = Verifier(tmp_path / "work", PYTHONPATH=str(tmp_path))
    with verifier:
        assert verifier.ask([ATTESTATION], SIGNER).json() == {"publishers": [0]}
        probe = [sys.executable, *container(manifests)["livenessProbe"]["exec"]["command"][1:]]
        assert subprocess.run(probe, env=verifier.environment, check=False).returncode == 0
    assert subprocess.run(probe, env=verifier.environment, check=False).returncode == 1
    loaded = "import server.attesting.main, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", loaded], env=verifier.environment, check=True, capture_output=True, text=True
    )
    assert "pypiserver" not in done.stdout.split()


def test_the_port_is_the_one_that_the_server_asks() -> None:
    own = container(synthesize(CASES["attestations"]))
    assert "ATTESTATIONS_PORT" not in variables(own)
    assert port() == PORT == Settings().attestations_port


def test_the_pod_is_ready_without_it() -> None:
    manifests = synthesize(CASES[MIRROR])
    own = container(manifests)
    assert own.keys() & {"readinessProbe", "startupProbe"} == set()
    assert "initContainers" not in pod_of(manifests)
    optional = {
        each["name"]: each["configMap"].get("optional") for each in pod_of(manifests)["volumes"] if "configMap" in each
    }
    assert optional["attestations-ca"] is True


def test_pods_that_only_read_have_none_of_it() -> None:
    manifests = synthesize(CASES[COMPANY])
    pods = {kind: by_kind(manifests, kind)["spec"]["template"] for kind in ("Deployment", "StatefulSet")}
    named = {
        pod["metadata"]["labels"][ROLE]: "attestations" in {each["name"] for each in pod["spec"]["containers"]}
        for pod in pods.values()
    }
    assert named == {"reader": False, "writer": True}


def test_libraries_are_those_of_the_extra_at_the_versions_that_are_tested() -> None:
    text = data(synthesize(CASES["attestations"]), REQUIREMENTS)[REQUIREMENTS]
    pinned.check(text, "attestations", {"pypi-attestations"})
    assert pinned.without_hashes(text) == []
    arguments = set(container(synthesize(CASES["attestations"]))["args"])
    assert {"--require-hashes", "--no-deps", "--only-binary=:all:"} <= arguments


def test_without_libraries_the_image_has_them() -> None:
    manifests = synthesize(CASES[COMPANY])
    template = by_kind(manifests, "StatefulSet")["spec"]["template"]["spec"]
    (own,) = (each for each in template["containers"] if each["name"] == "attestations")
    assert own["image"] == "images.example.org/attestations:1"
    assert "args" not in own
    assert variables(own)["PYTHONPATH"] == "/etc/pypiserver"
    assert variables(own)["ATTESTATIONS_TRUST_ROOT"] == "/etc/pypiserver/trust-root/trusted_root.json"
    assert not any(REQUIREMENTS in each.get("data", {}) for each in manifests)
    assert not any("libraries" in each["name"] for each in template["volumes"])


def test_libraries_come_by_the_certificates_and_the_index_that_are_named() -> None:
    found = variables(container(synthesize(CASES[MIRROR])))
    assert found["PIP_INDEX_URL"] == "https://nexus.example.org:8443/repository/pypi/simple"
    assert found["PIP_CERT"] == "/etc/pypiserver/attestations-ca/ca.crt"


@pytest.mark.parametrize(("case", "ports"), [("attestations", [443]), (MIRROR, [8443]), (COMPANY, [])])
def test_a_policy_lets_it_reach_the_libraries_alone(case: str, ports: list[int]) -> None:
    spec = CASES[case]
    with_it, without = (
        by_kind(synthesize(each), "NetworkPolicy")["spec"].get("egress", [])
        for each in (spec, spec.replace(attestations=None))
    )
    added = [rule for rule in with_it if rule not in without]
    assert [port["port"] for rule in added for port in rule["ports"] if port["port"] != 53] == ports


def test_a_container_at_its_port_is_refused() -> None:
    app = cdk8s.App()
    registry = PyPIServerChart(app, "registry", PyPIServerSpec(attestations=ATTESTED)).registry
    registry.pod.add_container(
        {
            "name": "mine",
            "image": "a:1",
            "ports": [{"containerPort": 8085}],
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
    )
    assert registry.problems() == [
        "container mine: ports.containerPort (8085) must be another one: attestations listens there"
    ]


def test_the_autoscaler_counts_it() -> None:
    spec = CASES[COMPANY]
    assert spec.attestations
    poor = spec.attestations.resources.replace(cpu_request=None)
    with pytest.raises(SpecError, match=r"attestations\.resources\.cpu_request \(None\) must be set"):
        spec.replace(attestations=spec.attestations.replace(resources=poor))


def test_changed_rules_roll_the_pods() -> None:
    other = ATTESTED.replace(publishers=[ATTESTED.publishers[0].replace(required=False)])
    texts = {json.dumps(pod_of(synthesize(PyPIServerSpec(attestations=each)))) for each in (ATTESTED, other)}
    assert len(texts) == 2


def test_nobody_is_let_out_without_it() -> None:
    manifests = synthesize(PyPIServerSpec(network_policy=RegistryNetworkPolicySpec()))
    assert "attestations" not in json.dumps(pod_of(manifests))
    assert "ipBlock" not in json.dumps(by_kind(manifests, "NetworkPolicy")["spec"].get("egress"))
