"""Charts and components: what Kustomize composes equals what the constructs make."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cdk8s
import pytest
from cdk8s_plus_27 import k8s

from cases import HOST, LETSENCRYPT, STORAGE
from cdk8s_pypiserver import (
    AuthSpec,
    AvailabilitySpec,
    GatewaySpec,
    GatewayTLSSpec,
    IngressSpec,
    KustomizeApp,
    LocalVolumeSpec,
    MonitoringSpec,
    PyPIServerChart,
    PyPIServerSpec,
)
from cdk8s_pypiserver.kustomize.patches import patch_between
from manifests import DIST, ROOT, by_kind, compose, objects, synthesize

CONCERNS: dict[str, dict[str, Any]] = {
    "ingress": {"ingress": IngressSpec(host=HOST)},
    "tls": {"ingress": IngressSpec(host=HOST, tls=LETSENCRYPT)},
    "ha": {"availability": AvailabilitySpec()},
    "anonymous-reads": {"auth": AuthSpec(anonymous_reads=True)},
    "initial-password": {"auth": AuthSpec(initial_password=True)},
    "monitoring": {"monitoring": MonitoringSpec(certificate="pypiserver-tls")},
    "gateway-tls": {"gateway": GatewaySpec(tls=GatewayTLSSpec())},
}
NEEDS = {"tls": ["ingress"]}
ANYWHERE = ("ingress", "tls", "anonymous-reads", "monitoring", "gateway-tls")
COMPOSITIONS = [
    *[(chart, (concern,)) for chart in STORAGE for concern in ANYWHERE],
    ("shared", ("ha",)),
    ("local", ("initial-password",)),
    *[("shared", pair) for pair in (("ha", "ingress"), ("ha", "tls"), ("ha", "anonymous-reads"), ("ha", "monitoring"))],
    *[(chart, ("tls", "anonymous-reads")) for chart in STORAGE],
    *[(chart, ("anonymous-reads", "monitoring")) for chart in STORAGE],
    *[("shared", ("gateway-tls", other)) for other in ("ha", "anonymous-reads", "monitoring")],
    ("local", ("monitoring", "initial-password")),
    ("local", ("tls", "initial-password")),
    ("local", ("anonymous-reads", "initial-password")),
]


def _spec(chart: str, concerns: tuple[str, ...]) -> PyPIServerSpec:
    fields: dict[str, Any] = {"storage": STORAGE[chart]}
    for concern in concerns:
        for field, value in CONCERNS[concern].items():
            if field == "auth" and field in fields:
                fields[field] = AuthSpec(anonymous_reads=True, initial_password=True)
            else:
                fields[field] = value
    return PyPIServerSpec(**fields)


def test_every_component_is_composed() -> None:
    assert {path.name for path in (DIST / "components").iterdir()} == set(CONCERNS)
    assert {concern for _, concerns in COMPOSITIONS for concern in concerns} == set(CONCERNS)


@pytest.mark.parametrize(
    ("chart", "concerns"), COMPOSITIONS, ids=lambda part: part if isinstance(part, str) else "+".join(part)
)
def test_chart_and_components_equal_the_construct(chart: str, concerns: tuple[str, ...], tmp_path: Path) -> None:
    needed = [name for concern in concerns for name in [*NEEDS.get(concern, []), concern]]
    rendered = compose(tmp_path / "overlay", chart, *needed)
    assert objects(rendered) == objects(synthesize(_spec(chart, concerns)))


@pytest.mark.parametrize("chart", STORAGE)
def test_chart_equals_the_construct(chart: str, tmp_path: Path) -> None:
    assert objects(compose(tmp_path / "overlay", chart)) == objects(synthesize(_spec(chart, ())))


def test_every_patch_for_workloads_meets_one(tmp_path: Path) -> None:
    """Kustomize says nothing of a patch whose target matches nothing."""
    for component in (DIST / "components").iterdir():
        if not (component / "patch.Deployment.pypiserver.yaml").exists():
            continue
        chart = "shared" if component.name == "ha" else "local"
        with_component, without = (
            by_kind(compose(tmp_path / f"{component.name}-{len(names)}", chart, *names), "Deployment")
            for names in ([component.name], [])
        )
        assert with_component != without


def test_patch_merges_lists_by_their_key() -> None:
    old = {"kind": "Deployment", "spec": {"containers": [{"name": "a", "env": [{"name": "X", "value": "1"}]}]}}
    new = {
        "kind": "Deployment",
        "spec": {"containers": [{"name": "b"}, {"name": "a", "env": [{"name": "X", "value": "2"}]}]},
    }
    assert patch_between(old, new) == {
        "spec": {"containers": [{"name": "b"}, {"name": "a", "env": [{"name": "X", "value": "2"}]}]}
    }


def test_patch_takes_fields_away_and_replaces_other_lists() -> None:
    old = {"kind": "Deployment", "spec": {"replicas": 1, "args": ["a", "b"]}}
    new = {"kind": "Deployment", "spec": {"args": ["b"]}}
    assert patch_between(old, new) == {"spec": {"replicas": None, "args": ["b"]}}


def test_patch_refuses_to_take_an_item_away() -> None:
    old = {"kind": "Deployment", "spec": {"volumes": [{"name": "a"}, {"name": "b"}]}}
    with pytest.raises(ValueError, match=r"Deployment: volumes must not lose items in a component \(lost \['b'\]\)"):
        patch_between(old, {"kind": "Deployment", "spec": {"volumes": [{"name": "a"}]}})


def test_component_that_takes_an_object_away_is_refused(tmp_path: Path) -> None:
    app = KustomizeApp(tmp_path / "dist")
    whole = PyPIServerChart(app, "whole", PyPIServerSpec(ingress=IngressSpec(host=HOST)))
    app.add_component("less", without=whole, having=PyPIServerChart(cdk8s.App(), "less"))
    with pytest.raises(ValueError, match=r"component less must not take objects away .*Ingress"):
        app.synth()
    assert list(tmp_path.iterdir()) == []


def test_objects_that_would_share_a_file_are_refused(tmp_path: Path) -> None:
    app = KustomizeApp(tmp_path / "dist")
    chart = cdk8s.Chart(app, "twins")
    for namespace in ("one", "two"):
        k8s.KubeConfigMap(chart, namespace, metadata=k8s.ObjectMeta(name="same", namespace=namespace))
    with pytest.raises(RuntimeError, match="twins: 2 objects would share 1 files"):
        app.synth()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text", ["1e3", "12345e67", "+.5", "1_000", "010", "0o17", "y", "N", "off", "null", "1:30", ""]
)
def test_a_text_is_read_as_one(text: str, tmp_path: Path) -> None:
    app = KustomizeApp(tmp_path / "dist")
    k8s.KubeConfigMap(cdk8s.Chart(app, "texts"), "texts", metadata=k8s.ObjectMeta(name="texts"), data={"text": text})
    app.synth()
    file = tmp_path / "dist/texts/ConfigMap.texts.yaml"
    # This reads the file as the API's clients do, and needs no cluster.
    command = ["kubectl", "label", "--local", "--filename", str(file), "--output", "json", "read=yes"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert json.loads(done.stdout)["data"] == {"text": text}


def test_a_failed_synth_leaves_the_last_one_whole(tmp_path: Path) -> None:
    for name in ("app.py", "dist"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    app = (tmp_path / "app.py").read_text()
    assert "SharedVolumeSpec()" in app
    (tmp_path / "app.py").write_text(app.replace("SharedVolumeSpec()", "SharedVolumeSpec(size='lots')", 1))
    before = _contents(tmp_path / "dist")
    done = subprocess.run([sys.executable, "app.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "must be a Kubernetes quantity such as 512Mi, 10Gi or 250m" in done.stderr
    assert "input_value='lots'" in done.stderr
    assert _contents(tmp_path / "dist") == before
    assert {path.name for path in tmp_path.iterdir()} == {"app.py", "dist"}


def test_an_edit_by_hand_is_shown_before_it_goes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write(tmp_path)
    edited = tmp_path / "dist" / "local" / "Service.pypiserver.yaml"
    edited.write_text(edited.read_text().replace("port: 80", "port: 9999"))
    (tmp_path / "dist" / "notes.txt").write_text("mine\n")
    capsys.readouterr()
    _write(tmp_path)
    shown = capsys.readouterr().out
    assert "-    port: 9999" in shown
    assert "-mine" in shown
    _write(tmp_path)
    assert capsys.readouterr().out == ""


def test_the_command_line_gets_its_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDK8S_OUTDIR", str(tmp_path / "asked"))
    _write(tmp_path)
    assert _contents(tmp_path / "asked") == _contents(tmp_path / "dist")


def _write(folder: Path) -> None:
    app = KustomizeApp(folder / "dist")
    PyPIServerChart(app, "local", PyPIServerSpec(storage=LocalVolumeSpec()))
    app.synth()


def _contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
