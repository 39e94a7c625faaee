"""Charts as Kustomize gets them: what cdk8s itself would render, whoever put it there and when."""

from pathlib import Path

import cdk8s
import cdk8s_plus_27 as kplus
import jsii
import pytest
import yaml
from constructs import Construct, IValidation

from cdk8s_pypiserver import (
    KubernetesObject,
    KustomizeApp,
    NetworkPolicy,
    PyPIServer,
    PyPIServerChart,
    PyPIServerSpec,
    RegistryNetworkPolicySpec,
    Rendering,
    S3VolumeSpec,
)
from manifests import Manifest, objects


class _Told(KubernetesObject):
    def to_json(self) -> Manifest:
        return {**super().to_json(), "data": {"told": "by a subclass"}}


def test_a_chart_is_written_as_cdk8s_renders_it(tmp_path: Path) -> None:
    app = KustomizeApp(tmp_path)
    chart = cdk8s.Chart(app, "chart", namespace="team-a", labels={"example.org/chart": "of a team"})
    # A PersistentVolume is in no namespace.
    registry = PyPIServer(chart, "registry", PyPIServerSpec(storage=S3VolumeSpec(bucket="pypi")))
    registry.add_label("example.org/cost", "4711")
    registry.service.metadata.add_annotation("example.org/zone", "b")
    registry.deployment.add_json_patch(cdk8s.JsonPatch.replace("/spec/replicas", 0))
    _Told(chart, "told", kind="ConfigMap", identity=registry.identity, suffix="told", content=dict)
    KubernetesObject(
        cdk8s.Chart(chart, "inner", namespace="team-b"),
        "inner",
        kind="ConfigMap",
        identity=registry.identity,
        suffix="inner",
        content=lambda: {"data": {"is": "in another chart"}},
    )
    kplus.Deployment(chart, "foreign", containers=[{"image": "example.org/one"}])
    app.synth()
    for name in ("chart", "inner"):
        (found,) = (each for each in app.charts if each.node.id == name)
        # Once it was asked for, the metadata is that of cdk8s.
        assert all(each.metadata for each in found.node.find_all() if isinstance(each, KubernetesObject))
        rendered = objects(found.to_json())
        wanted = {key: value for key, value in rendered.items() if not value.get("immutable")}
        assert wanted
        # Kustomize gives it to them (test_names.py).
        assert {value["metadata"].pop("namespace", None) for value in wanted.values()} <= {found.namespace, None}
        assert objects(_objects_in(tmp_path / name)) == wanted


def test_what_joins_a_chart_is_told_from_what_it_was_before(tmp_path: Path) -> None:
    app = KustomizeApp(tmp_path)
    chart = PyPIServerChart(cdk8s.App(), "chart")
    before = Rendering(chart)
    NetworkPolicy(chart.registry, "network-policy", spec=RegistryNetworkPolicySpec())
    app.add_component("policy", without=before, having=chart)
    app.synth()
    kinds = {path.name: manifest["kind"] for path, manifest in _files_of(tmp_path / "components/policy")}
    assert kinds == {
        "NetworkPolicy.pypiserver.yaml": "NetworkPolicy",
        "patch.Deployment.pypiserver.yaml": "Deployment",
        "kustomization.yaml": "Component",
        "stand-ins.yaml": "Newcomer",
        "transformers.yaml": "PrefixTransformer",
    }


def test_a_component_can_be_made_of_what_a_chart_was_before_it_changed_again(tmp_path: Path) -> None:
    app = KustomizeApp(tmp_path)
    chart = PyPIServerChart(cdk8s.App(), "chart")
    for concern in ("first", "second"):
        before = Rendering(chart)
        chart.registry.server.set("CREDENTIALS_SECRET", concern)
        app.add_component(concern, without=before, having=Rendering(chart))
    app.synth()
    for concern in ("first", "second"):
        patch = dict(_files_of(tmp_path / "components" / concern))
        (deployment,) = (each for each in patch.values() if each["kind"] == "Deployment")
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        assert container["env"] == [{"name": "CREDENTIALS_SECRET", "value": concern}]


def test_a_frozen_chart_is_written_as_it_was(tmp_path: Path) -> None:
    app = KustomizeApp(tmp_path)
    frozen, open_ = (PyPIServerChart(app, name) for name in ("frozen", "open"))
    before = app.freeze(frozen)
    for chart in (frozen, open_):
        chart.registry.server.set("CREDENTIALS_SECRET", "later")
    app.add_component("later", without=before, having=Rendering(frozen))
    # To what goes on from there it is what it was, too.
    app.add_component("again", without=frozen, having=open_)
    app.synth()
    texts = {
        name: "".join(path.read_text() for path in sorted((tmp_path / name).glob("*.yaml")))
        for name in ("frozen", "open", "components/later", "components/again")
    }
    assert [name for name, text in texts.items() if "value: later" in text] == [*texts][1:]


@jsii.implements(IValidation)
class _Wrong:
    def validate(self) -> list[str]:
        return ["is wrong"]


@pytest.mark.parametrize("now", [True, False], ids=["as it is now", "as it is at synth"])
def test_what_is_wrong_in_a_chart_that_is_only_compared_ends_the_synth(now: bool, tmp_path: Path) -> None:
    app = KustomizeApp(tmp_path / "dist")
    having = PyPIServerChart(cdk8s.App(), "having")
    Construct(having, "part").node.add_validation(_Wrong())
    app.add_component("one", without=None, having=Rendering(having) if now else having)
    with pytest.raises(RuntimeError, match=r"part\] is wrong"):
        app.synth()
    having = PyPIServerChart(cdk8s.App(), "having")
    having.registry.refuse(lambda: ["replicas (3) must be another number"])
    app = KustomizeApp(tmp_path / "dist")
    app.add_component("one", without=None, having=having)
    with pytest.raises(RuntimeError, match=r"having/registry: replicas \(3\) must be another number"):
        app.synth()
    assert list(tmp_path.iterdir()) == []


def _files_of(folder: Path) -> list[tuple[Path, Manifest]]:
    return [(path, next(yaml.safe_load_all(path.read_text()))) for path in sorted(folder.glob("*.yaml"))]


def _objects_in(folder: Path) -> list[Manifest]:
    unwritten = {"kustomization.yaml", "stand-ins.yaml", "name-references.yaml", "namespace.yaml", "transformers.yaml"}
    return [yaml.safe_load(path.read_text()) for path in folder.glob("*.yaml") if path.name not in unwritten]
