"""The Job that copies: its pod has the command as it is here, with libraries that are known by their hashes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from typing import TYPE_CHECKING, Any

import pytest

import pinned
from cases import CASES, COPYING
from cdk8s_pypiserver import CopySpec, PyPIServerSpec, RegistryNetworkPolicySpec, RegistryServiceSpec
from cdk8s_pypiserver.base.config_files import command_files
from cdk8s_pypiserver.upkeep.copying import REQUIREMENTS
from gateway_programs import make_wheel
from manifests import by_kind, synthesize

if TYPE_CHECKING:
    from pathlib import Path

    from manifests import Manifest

COMPANY = "copying-of-a-company"


def pod(manifests: list[Manifest]) -> Manifest:
    template: Manifest = by_kind(manifests, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]
    return template


def container(manifests: list[Manifest]) -> Manifest:
    (found,) = pod(manifests)["spec"]["containers"]
    return dict(found)


def variables(manifests: list[Manifest]) -> dict[str, Any]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container(manifests)["env"]}


def mounted(manifests: list[Manifest], folder: Path) -> Path:
    """What the kubelet makes of the volume of the program."""
    (volume,) = (each for each in pod(manifests)["spec"]["volumes"] if each["name"] == "copy-files")
    (data,) = (
        each["data"]
        for each in manifests
        if each["kind"] == "ConfigMap" and each["metadata"]["name"] == volume["configMap"]["name"]
    )
    for item in volume["configMap"]["items"]:
        path = folder / item["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(data[item["key"]])
    assert len(volume["configMap"]["items"]) == len(data)
    return folder


def test_the_command_runs_as_it_is_mounted(tmp_path: Path) -> None:
    manifests = synthesize(CASES["copying"])
    program = mounted(manifests, tmp_path / "program")
    source = tmp_path / "source"
    source.mkdir()
    make_wheel(source, "acme_one", "1.0")
    shown = container(manifests)
    place = {"$(COPY_SOURCE)": "source", "$(COPY_TARGET)": "target"}
    arguments = [place.get(each, each).replace("/work", "partial") for each in shown["args"]]
    libraries = sysconfig.get_path("purelib")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": f"{program}:{libraries}"}
    # Without what is installed here for development: the package is that of the volume.
    done = subprocess.run(
        [sys.executable, "-S", *shown["command"][1:], *arguments],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^copied +1 ", done.stdout, re.MULTILINE)
    # And none other: it cannot have come from elsewhere.
    (program / "cdk8s_pypiserver/moving/command.py").write_text("raise SystemExit(77)\n")
    again = subprocess.run(
        [sys.executable, "-S", *shown["command"][1:], *arguments], cwd=tmp_path, env=environment, check=False
    )
    assert again.returncode == 77


def test_libraries_are_those_of_the_extra_at_the_versions_that_are_tested() -> None:
    pinned.check(command_files()[f"moving/{REQUIREMENTS}"], "copy", {"requests", "pypi-simple"})


def test_each_library_is_known_by_its_hashes() -> None:
    assert pinned.without_hashes(command_files()[f"moving/{REQUIREMENTS}"]) == []
    (init,) = pod(synthesize(CASES["copying"]))["spec"]["initContainers"]
    assert {"--require-hashes", "--no-deps", "--only-binary=:all:"} <= set(init["command"])


def test_without_libraries_the_image_has_them() -> None:
    template = pod(synthesize(CASES[COMPANY]))["spec"]
    assert "initContainers" not in template
    (shown,) = template["containers"]
    assert shown["image"] == "images.example.org/copy:1"
    assert not any("libraries" in each["name"] for each in template["volumes"])


def test_options_of_the_spec_are_those_of_the_command() -> None:
    manifests = synthesize(CASES[COMPANY])
    assert container(manifests)["args"] == [
        "copy",
        "$(COPY_SOURCE)",
        "$(COPY_TARGET)",
        "--jobs=4",
        "--partial=/work",
        "--only=acme-*",
        "--limit-rate=20M",
        "--index=https://nexus.example.org:8443/repository/pypi/simple",
        "--python=3.12",
        "--platform=manylinux_2_28_x86_64",
        "--platform=macosx_14_0_arm64",
    ]
    found = variables(manifests)
    assert found["COPY_SOURCE"] == "/etc/pypiserver/copy-lock/web.uv.lock"
    assert found["REQUESTS_CA_BUNDLE"] == "/etc/pypiserver/copy-ca/ca.crt"
    places = {each["mountPath"] for each in container(manifests)["volumeMounts"]}
    assert {"/etc/pypiserver/copy-lock", "/etc/pypiserver/copy-ca", "/work"} <= places


def test_it_waits_for_somebody_unless_there_is_a_schedule() -> None:
    waiting = by_kind(synthesize(CASES["copying"]), "CronJob")["spec"]
    assert waiting["suspend"] is True
    assert waiting["jobTemplate"]["spec"]["backoffLimit"] == 3
    scheduled = by_kind(synthesize(CASES[COMPANY]), "CronJob")["spec"]
    assert "suspend" not in scheduled
    assert scheduled["schedule"] == "17 3 * * *"


def test_the_target_is_the_service_whatever_it_is_called() -> None:
    manifests = synthesize(PyPIServerSpec(service=RegistryServiceSpec(port=8888), copying=COPYING))
    names = [each["name"] for each in container(manifests)["env"]]
    assert variables(manifests)["COPY_TARGET"] == "http://$(REGISTRY_NAME):8888/"
    # Kubernetes puts in what stands before.
    assert names.index("REGISTRY_NAME") < names.index("COPY_TARGET")


def test_logins_come_from_secrets_alone_and_the_sources_may_be_missing() -> None:
    found = variables(synthesize(CASES["copying"]))
    for side, secret, extra in (
        ("TARGET", "pypiserver-copy", {}),
        ("SOURCE", "pypiserver-copy-source", {"optional": True}),
    ):
        for key in ("username", "password"):
            reference = {"name": secret, "key": key, **extra}
            assert found[f"COPY_{side}_{key.upper()}"] == {"secretKeyRef": reference}


def test_its_pods_are_hardened_and_no_service_leads_to_them() -> None:
    manifests = synthesize(CASES["copying"])
    template = pod(manifests)
    assert not by_kind(manifests, "Service")["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    for each in (*template["spec"]["containers"], *template["spec"]["initContainers"]):
        assert each["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }
    assert template["spec"]["securityContext"]["runAsNonRoot"] is True
    assert template["spec"]["automountServiceAccountToken"] is False


@pytest.mark.parametrize(
    ("spec", "ports"),
    [
        (COPYING, [443]),
        (COPYING.replace(source="https://old.example.org:8443/simple/", libraries=None), [8443]),
        (CopySpec(source="http://old.example.org/simple/", target="https://new.example.org:444/"), [80, 443, 444]),
    ],
)
def test_a_policy_lets_it_reach_the_registry_and_what_it_copies(spec: CopySpec, ports: list[int]) -> None:
    manifests = synthesize(PyPIServerSpec(copying=spec, network_policy=RegistryNetworkPolicySpec(clients=[])))
    policies = {each["metadata"]["name"]: each["spec"] for each in manifests if each["kind"] == "NetworkPolicy"}
    own, outside, *names = policies["pypiserver-copy"]["egress"]
    selector = by_kind(manifests, "Service")["spec"]["selector"]
    assert own["to"] == [{"podSelector": {"matchLabels": selector}}]
    assert [each["port"] for each in outside["ports"]] == ports
    assert {port["port"] for each in names for port in each["ports"]} == {53}
    jobs = {"podSelector": policies["pypiserver-copy"]["podSelector"]}
    assert any(jobs in rule["from"] for rule in policies["pypiserver"]["ingress"])


def test_a_bucket_is_asked_by_rclone_with_the_options_of_its_remote() -> None:
    manifests = synthesize(CASES["copying-of-a-bucket"])
    found = variables(manifests)
    assert found["COPY_SOURCE"] == "rclone:source:srv/pypi"
    assert found["RCLONE_CONFIG_SOURCE_TYPE"] == "sftp"
    key = found["RCLONE_CONFIG_SOURCE_KEY_PEM"]
    assert key == {"secretKeyRef": {"name": "pypiserver-copy-source", "key": "key_pem"}}
    assert "COPY_SOURCE_USERNAME" not in found
    template = pod(manifests)["spec"]
    (program,) = (each for each in template["initContainers"] if each["name"] == "rclone")
    assert program["command"][-1] == found["COPY_RCLONE"]
    own = container(manifests)["volumeMounts"]
    assert {each["name"] for each in (*own, *program["volumeMounts"])} <= {each["name"] for each in template["volumes"]}
    assert {"copy-files", "programs", "ca-of-source"} <= {each["name"] for each in own}
    (policy,) = (
        each["spec"]
        for each in manifests
        if each["kind"] == "NetworkPolicy" and each["metadata"]["name"] == "pypiserver-copy"
    )
    assert [22] in [[port["port"] for port in rule["ports"]] for rule in policy["egress"]]
