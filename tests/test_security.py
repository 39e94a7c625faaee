"""docs/security.md: each line names what defends and the test that shows it. And what all pods have in common."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from documents import DOCUMENTS
from everything import EVERYTHING
from manifests import DIST, OVERLAYS, ROOT, Manifest, compose, render

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCUMENT = ROOT / "docs/security.md"
PACKAGE = ROOT / "constructs/cdk8s_pypiserver"


def lines() -> list[list[str]]:
    """The cells of each line about what is defended."""
    text = DOCUMENT.read_text("utf-8").partition("## What is defended")[2]
    rows = [
        [cell.strip() for cell in line.strip("|\n").split("|")] for line in text.splitlines() if line.startswith("|")
    ]
    return [row for row in rows if row[0] not in {"threat", "---"}]


def test_every_line_names_a_test_that_there_is() -> None:
    found = lines()
    assert len(found) > 20
    for threat, _, _, tests in found:
        named = re.findall(r"`([^`]+)`", tests)
        assert named, threat
        for each in named:
            path, _, name = each.partition("::")
            text = (ROOT / "tests" / path).read_text("utf-8")
            assert re.search(rf"^ *(async )?def {re.escape(name)}\(", text, re.MULTILINE), each


def test_every_line_names_what_there_is() -> None:
    for threat, _, where, _ in lines():
        named = re.findall(r"`([^`]+)`", where)
        assert named, threat
        for each in named:
            assert [*PACKAGE.rglob(each)] or (DIST / "components" / each).is_dir(), each


def test_the_readme_leads_to_it() -> None:
    assert DOCUMENT in DOCUMENTS
    assert "(docs/security.md)" in (ROOT / "README.md").read_text("utf-8")


@pytest.fixture(scope="module", params=[*EVERYTHING, "overlays"])
def manifests(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    if request.param == "overlays":
        names = [each.name for each in OVERLAYS.iterdir()]
        return [each for name in names for part in ("", "/volume") for each in render(OVERLAYS / f"{name}{part}")]
    chart, components = EVERYTHING[request.param]
    return compose(tmp_path_factory.mktemp("composed") / "overlay", chart, *components)


def pods(part: Any) -> Iterator[Manifest]:  # noqa: ANN401 - any part of a manifest
    """The specs of the pods in it."""
    if isinstance(part, list):
        for item in part:
            yield from pods(item)
    elif isinstance(part, dict):
        if isinstance(part.get("containers"), list):
            yield part
        for value in part.values():
            yield from pods(value)


def containers(pod: Manifest) -> list[Manifest]:
    return [*pod["containers"], *(pod.get("initContainers") or [])]


def test_every_component_with_pods_is_looked_at() -> None:
    changing = {
        path.parent.name
        for path in (DIST / "components").rglob("*.yaml")
        if re.search(r"^ +(- )?image: ", path.read_text(), re.MULTILINE)
    }
    assert changing - {name for _, components in EVERYTHING.values() for name in components} == set()


def test_every_pod_is_restricted(manifests: list[Manifest]) -> None:
    """The Pod Security Standard "restricted", and a read-only root."""
    found = list(pods(manifests))
    assert found
    for pod in found:
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        assert not [volume for volume in pod.get("volumes", []) if "hostPath" in volume]
        for container in containers(pod):
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert own["readOnlyRootFilesystem"] is True
            assert own.get("runAsUser", 1) != 0
            assert not [port for port in container.get("ports", []) if "hostPort" in port]


def test_no_pod_has_a_token_of_the_api(manifests: list[Manifest]) -> None:
    for pod in pods(manifests):
        assert pod["automountServiceAccountToken"] is False
        assert not [volume for volume in pod.get("volumes", []) if "projected" in volume]


def test_what_runs_cannot_be_changed_in_place(manifests: list[Manifest]) -> None:
    mounted = {
        volume["configMap"]["name"]
        for pod in pods(manifests)
        for volume in pod.get("volumes", [])
        # Of others: a site's own certificates.
        if "configMap" in volume and not volume["configMap"].get("optional")
    }
    made = {each["metadata"]["name"]: each for each in manifests if each["kind"] == "ConfigMap"}
    programs = mounted & made.keys()
    assert programs or not mounted
    assert {name for name in programs if made[name].get("immutable") is not True} == set()
