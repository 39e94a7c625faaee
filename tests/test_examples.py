"""The examples, run as apps of their own against the built and installed wheel."""

import functools
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from syrupy.assertion import SnapshotAssertion

from manifests import ROOT, Manifest, by_kind, hashed, ordered, pod_of, synthesize, without_hashes
from programs import First, needs_pid_namespaces, wait_for
from schemas import problems

EXAMPLES = ROOT / "examples"
NAMES = sorted(path.name for path in EXAMPLES.iterdir() if (path / "app.py").exists())


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the wheel installed in it, and nothing else of this repository."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    site = folder / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(install, check=True)
    # The wheel is found before this repository.
    where = [sys.executable, "-c", "import cdk8s_pypiserver; print(cdk8s_pypiserver.__file__)"]
    found = subprocess.run(where, cwd=folder, env=_finding(site), capture_output=True, text=True, check=True)
    assert found.stdout.startswith(str(site))
    return site


def _finding(site: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(site)}


@pytest.fixture(scope="module")
def written(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[Manifest]]:
    """Return what an example of a name writes that is run away from this repository, once."""

    def run(name: str) -> list[Manifest]:
        folder = tmp_path_factory.mktemp(name)
        app = [sys.executable, str(EXAMPLES / name / "app.py")]
        subprocess.run(app, cwd=folder, env=_finding(installed), check=True, capture_output=True)
        files = sorted((folder / "dist" / "registry").glob("*.*.yaml"))
        return [yaml.safe_load(file.read_text()) for file in files]

    return functools.cache(run)


@pytest.fixture(params=NAMES)
def example(request: pytest.FixtureRequest, written: Callable[[str], list[Manifest]]) -> list[Manifest]:
    return written(request.param)


def test_manifests(example: list[Manifest], manifests_snapshot: SnapshotAssertion) -> None:
    assert example == manifests_snapshot
    assert list(problems(example)) == []


def test_a_sidecar_and_its_volume_join_the_others(written: Callable[[str], list[Manifest]]) -> None:
    manifests = written("sidecar")
    pod, plain = (ordered(without_hashes(pod_of(each), hashed(each))) for each in (manifests, synthesize()))
    assert [item for item in pod["containers"] if item["name"] != "usage"] == plain["containers"]
    assert [item["name"] for item in pod["containers"]].count("usage") == 1
    assert {volume["name"] for volume in pod["volumes"]} - {volume["name"] for volume in plain["volumes"]} == {"report"}


@needs_pid_namespaces
def test_the_sidecar_ends_when_its_pod_does(written: Callable[[str], list[Manifest]], tmp_path: Path) -> None:
    (sidecar,) = (item for item in pod_of(written("sidecar"))["containers"] if item["name"] == "usage")
    packages, report = tmp_path / "packages", tmp_path / "report"
    for each in (packages, report):
        each.mkdir()
    places = {"/data/packages": str(packages), "/report/": f"{report}/"}
    command = [
        functools.reduce(lambda part, place: part.replace(*place), places.items(), p) for p in sidecar["command"]
    ]
    with First(command) as process:
        wait_for(lambda: (report / "usage").exists() and (report / "usage").read_text(), "a report")
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0


def test_an_annotation_is_everywhere(written: Callable[[str], list[Manifest]]) -> None:
    manifests = written("annotations")
    bearers = [manifest["metadata"] for manifest in manifests]
    bearers.append(by_kind(manifests, "Deployment")["spec"]["template"]["metadata"])
    for metadata in bearers:
        assert metadata["annotations"]["example.org/on-call"] == "python-platform"
        assert metadata["labels"]["example.org/cost-centre"] == "4711"
    assert "example.org/cost-centre" not in by_kind(manifests, "Deployment")["spec"]["selector"]["matchLabels"]


def test_an_argument_and_a_setting_reach_the_server(written: Callable[[str], list[Manifest]]) -> None:
    (server,) = (c for c in pod_of(written("tuning"))["containers"] if c["name"] == "pypiserver")
    assert server["args"] == ["--keep-alive", "5"]
    assert {"name": "RESCAN_SECONDS", "value": "5"} in server["env"]
    assert {"name": "THREADS", "value": "32"} in server["env"]
