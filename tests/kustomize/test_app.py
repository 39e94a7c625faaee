"""The app: what it refuses, what it writes, and what it leaves alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cdk8s
import jsii
import pytest
from cdk8s_plus_27 import k8s
from constructs import Construct, IValidation

from cases import HOST
from cdk8s_pypiserver import KustomizeApp, PyPIServerChart, PyPIServerSpec, RegistryIngressSpec
from cdk8s_pypiserver.kustomize.folder import LIST, Folder, FolderError
from manifests import ROOT


def test_component_that_takes_an_object_away_is_refused(tmp_path: Path) -> None:
    app = KustomizeApp(tmp_path / "dist")
    whole = PyPIServerChart(app, "whole", PyPIServerSpec(ingress=RegistryIngressSpec(host=HOST)))
    app.add_component("less", without=whole, having=PyPIServerChart(cdk8s.App(), "less"))
    with pytest.raises(ValueError, match=r"component less must not take objects away .*Ingress"):
        app.synth()
    assert list(tmp_path.iterdir()) == []


def test_objects_that_would_share_a_file_are_refused(tmp_path: Path) -> None:
    app = KustomizeApp(tmp_path / "dist")
    chart = cdk8s.Chart(app, "twins")
    for namespace in ("one", "two"):
        k8s.KubeConfigMap(chart, namespace, metadata=k8s.ObjectMeta(name="same", namespace=namespace))
    with pytest.raises(RuntimeError, match=r"chart twins: two objects would be written to ConfigMap\.same\.yaml"):
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
    assert before
    done = subprocess.run([sys.executable, "app.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "size ('lots') must be an amount of bytes such as 512Mi" in done.stderr
    assert _contents(tmp_path / "dist") == before
    assert {path.name for path in tmp_path.iterdir()} == {"app.py", "dist"}


def test_the_command_line_gets_its_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDK8S_OUTDIR", str(tmp_path / "asked"))
    _write(tmp_path)
    assert _contents(tmp_path / "asked") == _contents(tmp_path / "dist")


@jsii.implements(IValidation)
class _Wrong:
    def validate(self) -> list[str]:
        return ["is wrong"]


@pytest.mark.parametrize("inside", [True, False], ids=["in a chart", "outside of charts"])
def test_what_constructs_find_wrong_ends_the_synth(inside: bool, tmp_path: Path) -> None:
    app = KustomizeApp(tmp_path / "dist")
    scope = cdk8s.Chart(app, "chart") if inside else app
    Construct(scope, "part").node.add_validation(_Wrong())
    with pytest.raises(RuntimeError, match=r"part\] is wrong"):
        app.synth()
    assert list(tmp_path.iterdir()) == []


def test_two_charts_of_one_id_are_refused(tmp_path: Path) -> None:
    app = KustomizeApp(tmp_path / "dist")
    for scope in ("team-a", "team-b"):
        _map(cdk8s.Chart(Construct(app, scope), "registry"))
    with pytest.raises(ValueError, match=r"the charts team-a/registry, team-b/registry would share a folder"):
        app.synth()
    assert list(tmp_path.iterdir()) == []


def test_two_components_of_one_name_are_refused() -> None:
    app = KustomizeApp()
    app.add_component("ingress", without=None, having=cdk8s.Chart(cdk8s.App(), "one"))
    with pytest.raises(ValueError, match="there is a component ingress already"):
        app.add_component("ingress", without=None, having=cdk8s.Chart(cdk8s.App(), "two"))


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("..",), r"'\.\./ConfigMap\.one\.yaml' is no name"),
        (
            ("one", "One"),
            "One and one would be one where A is taken for a",
        ),
    ],
)
def test_charts_that_have_no_folder_of_their_own_are_refused(
    names: tuple[str, ...], reason: str, tmp_path: Path
) -> None:
    app = KustomizeApp(tmp_path / "dist")
    for name in names:
        _map(cdk8s.Chart(app, name))
    with pytest.raises(FolderError, match=reason):
        app.synth()
    assert list(tmp_path.iterdir()) == []


def test_the_folder_that_holds_the_project_itself_keeps_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "--quiet"], check=True)
    Path("app.py").write_text("mine")
    Path("local").mkdir()
    Path("local/mine-1.0-py3-none-any.whl").write_bytes(bytes(range(256)))
    before = _contents(Path())
    for number in range(3):
        app = KustomizeApp(".")
        _map(cdk8s.Chart(app, "local" if number < 2 else "other"))
        app.synth()
    after = _contents(Path())
    assert {name: content for name, content in after.items() if name in before} == before
    assert set(after) - set(before) == {LIST, "other/ConfigMap.one.yaml", "other/kustomization.yaml"}


def test_a_file_that_is_not_the_apps_is_not_overwritten(tmp_path: Path) -> None:
    foreign = tmp_path / "dist/chart/ConfigMap.one.yaml"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("mine")
    with pytest.raises(FolderError, match=r"chart/ConfigMap\.one\.yaml was not written by this app: move it away"):
        _write(tmp_path)
    assert _contents(tmp_path) == {"dist/chart/ConfigMap.one.yaml": b"mine"}


@pytest.mark.parametrize("still", [True, False], ids=["written still", "no longer written"])
def test_an_edit_by_hand_is_not_overwritten_nor_removed(still: bool, tmp_path: Path) -> None:
    _write(tmp_path)
    for name in ("ConfigMap.one.yaml", "kustomization.yaml"):
        with (tmp_path / "dist/chart" / name).open("a") as file:
            file.write("# mine\n")
    edited = _contents(tmp_path)
    with pytest.raises(FolderError) as error:
        _write(tmp_path, chart="chart" if still else "other", text="other")
    assert str(error.value).startswith(f"nothing was written to {tmp_path / 'dist'}:\n")
    # All of them at once, each with what to do about it.
    for name in ("ConfigMap.one.yaml", "kustomization.yaml"):
        assert f"  chart/{name} was edited since it was written: to keep the edit" in str(error.value)
    assert _contents(tmp_path) == edited
    for name in ("ConfigMap.one.yaml", "kustomization.yaml"):
        (tmp_path / "dist/chart" / name).unlink()
    _write(tmp_path, chart="chart" if still else "other", text="other")
    assert ("dist/chart/ConfigMap.one.yaml" in _contents(tmp_path)) == still


def test_another_checkout_may_have_other_line_ends(tmp_path: Path) -> None:
    _write(tmp_path)
    for path in (tmp_path / "dist").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    converted = _contents(tmp_path)
    _write(tmp_path)
    assert _contents(tmp_path) == converted
    _write(tmp_path, text="other")
    assert _contents(tmp_path)["dist/chart/ConfigMap.one.yaml"] != converted["dist/chart/ConfigMap.one.yaml"]


def test_a_copy_elsewhere_can_be_written_too(tmp_path: Path) -> None:
    _write(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    _write(tmp_path / "two", text="other")
    _write(tmp_path / "one", text="other")
    assert _contents(tmp_path / "one") == _contents(tmp_path / "two")


def test_what_is_no_longer_made_goes_with_its_folder(tmp_path: Path) -> None:
    _write(tmp_path)
    _write(tmp_path, chart="other")
    assert set(_contents(tmp_path)) == {
        f"dist/{name}" for name in (LIST, "other/ConfigMap.one.yaml", "other/kustomization.yaml")
    }
    assert not (tmp_path / "dist/chart").exists()


def test_the_list_is_one_that_sha256sum_checks(tmp_path: Path) -> None:
    _write(tmp_path)
    done = subprocess.run(
        ["sha256sum", "--strict", "--check", LIST], cwd=tmp_path / "dist", capture_output=True, text=True, check=True
    )
    assert done.stdout == "chart/ConfigMap.one.yaml: OK\nchart/kustomization.yaml: OK\n"


@pytest.mark.parametrize(
    "line", ["<<<<<<< ours", f"{'0' * 64}  ../outside", f"{'0' * 64}  /etc/passwd", "no digest  chart/a.yaml", "\0"]
)
def test_a_list_that_is_none_is_refused(line: str, tmp_path: Path) -> None:
    _write(tmp_path)
    with (tmp_path / "dist" / LIST).open("a") as file:
        file.write(f"{line}\n")
    before = _contents(tmp_path)
    with pytest.raises(FolderError, match=rf"line 4 of {LIST} is not a digest and the name of a file"):
        _write(tmp_path, text="other")
    assert _contents(tmp_path) == before


def test_two_merged_lists_name_the_files_of_both(tmp_path: Path) -> None:
    """As git's `merge=union` leaves it: the file is one branch's, the list has both digests."""
    _write(tmp_path)
    ours = (tmp_path / "dist" / LIST).read_text()
    _write(tmp_path, text="theirs")
    with (tmp_path / "dist" / LIST).open("a") as file:
        file.write(ours)
    _write(tmp_path, text="both")
    _write(tmp_path / "fresh", text="both")
    assert _contents(tmp_path / "dist") == _contents(tmp_path / "fresh/dist")


def test_what_another_app_wrote_is_left_alone(tmp_path: Path) -> None:
    _write(tmp_path, name="one.py")
    before = _contents(tmp_path)
    with pytest.raises(FolderError) as refused:
        _write(tmp_path, chart="other", name="two.py")
    reason = "it is written by one.py, and this is two.py: give this app an outdir of its own"
    assert reason in str(refused.value)
    assert "KustomizeApp(name='one.py')" in str(refused.value)
    assert _contents(tmp_path) == before


def test_an_app_is_called_as_its_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for directory in ("here", "there"):
        monkeypatch.setattr(sys, "argv", [f"/{directory}/app.py", "--quiet"])
        _write(tmp_path)
    assert (tmp_path / "dist" / LIST).read_text().startswith("# written by app.py\n")


def test_the_folder_of_an_earlier_version_is_the_next_apps(tmp_path: Path) -> None:
    _write(tmp_path, name="one.py")
    path = tmp_path / "dist" / LIST
    path.write_text(path.read_text().partition("\n")[2])
    _write(tmp_path, name="two.py")
    assert path.read_text().startswith("# written by two.py\n")


def test_who_reads_no_further_has_all_files(tmp_path: Path) -> None:
    script = tmp_path / "app.py"
    script.write_text(
        "from cdk8s_pypiserver import KustomizeApp, NamespaceChart\n"
        "app = KustomizeApp()\nNamespaceChart(app, 'namespace')\napp.synth()\n"
    )
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "app.py"], cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "dist/namespace/kustomization.yaml").exists()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist/chart").symlink_to(outside)
    with pytest.raises(FolderError, match="symbolic link"):
        _write(tmp_path)
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("in_the_way", ["chart", "chart/ConfigMap.one.yaml/inside"])
def test_a_file_and_a_folder_of_one_name_are_refused(in_the_way: str, tmp_path: Path) -> None:
    path = tmp_path / "dist" / in_the_way
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    with pytest.raises(FolderError, match="is a f"):
        _write(tmp_path)
    assert _contents(tmp_path) == {f"dist/{in_the_way}": b"mine"}


def test_a_write_that_is_cut_short_is_made_good_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    renamed = Path.replace
    for fails_at in range(1, 5):
        folder = tmp_path / str(fails_at)
        _write(folder)
        calls = iter(range(1, 100))

        def replace(path: Path, target: Path, calls: object = calls, fails_at: int = fails_at) -> Path:
            if next(calls) == fails_at:  # type: ignore[call-overload]
                raise KeyboardInterrupt
            return renamed(path, target)

        with monkeypatch.context() as patched:
            patched.setattr(Path, "replace", replace)
            with pytest.raises(KeyboardInterrupt):
                _write(folder, text="new", more=True)
        _write(folder, text="third")
        _write(folder / "fresh", text="third")
        assert _contents(folder / "dist") == _contents(folder / "fresh/dist")


def test_a_full_disk_leaves_the_last_one_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path)
    before = _contents(tmp_path)
    opened = Path.open

    def full(path: Path, mode: str = "r", **options: str) -> object:
        if "w" in mode and path.name == "ConfigMap.two.yaml":
            raise OSError(28, os.strerror(28))
        return opened(path, mode, **options)  # type: ignore[call-overload]

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", full)
        with pytest.raises(OSError, match="No space left"):
            _write(tmp_path, text="new", more=True)
    assert _contents(tmp_path) == before


def test_an_edit_while_the_changes_are_read_is_not_overwritten(tmp_path: Path) -> None:
    """What changes is printed first, perhaps into a pager."""
    texts = {"chart/one.yaml": "a", "chart/two.yaml": "a"}
    Folder(tmp_path, texts, "app").write()
    folder = Folder(tmp_path, dict.fromkeys(texts, "b"), "app")
    (tmp_path / "chart/two.yaml").write_text("mine")
    with pytest.raises(FolderError, match=r"chart/two\.yaml was edited"):
        folder.write()
    assert [(tmp_path / name).read_text() for name in texts] == ["a", "mine"]


def test_runs_at_once_write_one_after_the_other(tmp_path: Path) -> None:
    Folder(tmp_path, {}, "app").write()

    def run(text: str) -> None:
        for _ in range(20):
            Folder(tmp_path, {f"chart/{number}.yaml": text for number in range(20)}, "app").write()

    with ThreadPoolExecutor() as threads:
        for done in [threads.submit(run, text) for text in "abc"]:
            done.result()
    assert len({path.read_text() for path in tmp_path.glob("chart/*.yaml")}) == 1
    assert {path.name for path in tmp_path.iterdir()} == {LIST, "chart"}


@pytest.mark.parametrize("place", ["dist", "dist/below"])
def test_a_file_where_the_folder_belongs_is_refused(place: str, tmp_path: Path) -> None:
    (tmp_path / "dist").write_text("mine")
    with pytest.raises(FolderError, match="dist is no folder: move it away, or give the app another outdir"):
        Folder(tmp_path / place, {"chart/one.yaml": "text"}, "app")
    assert _contents(tmp_path) == {"dist": b"mine"}


def test_a_folder_where_the_list_belongs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dist" / LIST).mkdir(parents=True)
    with pytest.raises(FolderError, match=f"{LIST} is no file, and the app's list belongs there: move it away"):
        _write(tmp_path)


def test_what_a_killed_run_left_goes_with_the_next(tmp_path: Path) -> None:
    _write(tmp_path)
    before, outside = _contents(tmp_path), tmp_path / "outside"
    for leave in (Path.mkdir, lambda path: path.symlink_to(outside)):
        outside.mkdir(exist_ok=True)
        leave(tmp_path / "dist/.cdk8s-pypiserver-new")
        _write(tmp_path)
        assert list(outside.iterdir()) == []
        outside.rmdir()
        assert _contents(tmp_path) == before
        assert {path.name for path in (tmp_path / "dist").iterdir()} == {LIST, "chart"}


def test_a_name_of_a_chart_may_have_what_some_take_for_the_end_of_a_line(tmp_path: Path) -> None:
    for _ in range(2):
        Folder(tmp_path, {"a\u2028b/one.yaml": "text"}, "app").write()


def test_the_name_of_an_app_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"name \('one\\ntwo'\) must be one line"):
        KustomizeApp(tmp_path, name="one\ntwo")


def test_what_changes_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path, more=True)
    capsys.readouterr()
    _write(tmp_path, more=True)
    assert capsys.readouterr().out == ""
    _write(tmp_path, text="other")
    first, *files = capsys.readouterr().out.splitlines()
    assert first == f"{tmp_path / 'dist'}: 2 changed, 1 removed (SHOW_DIFFERENCE=yes shows the lines)"
    assert [line.split() for line in files] == [
        ["changed", "chart/ConfigMap.one.yaml"],
        ["removed", "chart/ConfigMap.two.yaml"],
        ["changed", "chart/kustomization.yaml"],
    ]
    monkeypatch.setenv("SHOW_DIFFERENCE", "yes")
    _write(tmp_path, text="third")
    shown = capsys.readouterr().out
    assert "-  text: other\n+  text: third\n" in shown


def _map(chart: cdk8s.Chart, name: str = "one", text: str = "text") -> None:
    k8s.KubeConfigMap(chart, name, metadata=k8s.ObjectMeta(name=name), data={"text": text})


def _write(
    folder: Path, chart: str = "chart", *, text: str = "text", more: bool = False, name: str | None = None
) -> None:
    app = KustomizeApp(folder / "dist", name=name)
    made = cdk8s.Chart(app, chart)
    _map(made, text=text)
    if more:
        _map(made, "two")
    app.synth()


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
