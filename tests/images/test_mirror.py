"""Every image of whatever is composed comes from a mirror, and nothing else changes."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from cdk8s_pypiserver import (
    GatewaySpec,
    KustomizeApp,
    MonitoringSpec,
    PyPIServerSpec,
    ServerSpec,
    SharedVolumeSpec,
)
from cdk8s_pypiserver.base import images
from documents import blocks
from everything import EVERYTHING
from manifests import (
    DIST,
    OVERLAYS,
    ROOT,
    Manifest,
    compose,
    folders_of,
    kustomization,
    objects,
    render,
    run_kustomize,
    synthesize,
)

if TYPE_CHECKING:
    from pathlib import Path

PREFIX = "registry.example.com:5000/mirror/of/python"
BRINGING_IMAGES = sorted(
    {
        path.parent.name
        for path in (DIST / "components").rglob("*.yaml")
        if any(line.strip().removeprefix("- ").startswith("image: ") for line in path.read_text().splitlines())
    }
)
IMAGES = DIST / "components/images"
MIRROR = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mirror-of-images"}}


def mirrored(folder: Path, *resources: Path, components: list[str], **fields: str) -> Path:
    """Write a kustomization that names the mirror."""
    listed = [DIST / "components" / name for name in components]
    generated = [{"name": "mirror-of-images", "literals": [f"prefix={PREFIX}"]}]
    return kustomization(folder, resources=[*resources], components=listed, configMapGenerator=generated, **fields)


def composed(folder: Path, chart: str, *components: str, **fields: str) -> Path:
    """Write a kustomization of a chart, its volume and components that names the mirror."""
    return mirrored(folder, *folders_of(chart), components=[*components], **fields)


def prefixed(part: Any) -> Any:  # noqa: ANN401 - any part of a manifest
    if isinstance(part, list):
        return [prefixed(item) for item in part]
    if isinstance(part, dict):
        return {
            field: f"{PREFIX}/{value}" if field == "image" and isinstance(value, str) else prefixed(value)
            for field, value in part.items()
        }
    return part


def without_empty(part: Any) -> Any:  # noqa: ANN401 - any part of a manifest
    """Return the part without empty lists of init containers, which are as good as none."""
    if isinstance(part, list):
        return [without_empty(item) for item in part]
    if isinstance(part, dict):
        return {
            field: without_empty(value) for field, value in part.items() if (field, value) != ("initContainers", [])
        }
    return part


def comparable(manifests: list[Manifest]) -> dict[tuple[str, str], Any]:
    found = objects([without_empty(each) for each in manifests])
    return {named: each for named, each in found.items() if named[0] != "ConfigMap"}


def test_every_component_with_an_image_is_composed() -> None:
    assert {*BRINGING_IMAGES} <= {name for _, components in EVERYTHING.values() for name in components}


@pytest.mark.parametrize(("chart", "components"), EVERYTHING.values(), ids=EVERYTHING)
def test_every_container_has_the_prefix(chart: str, components: list[str], tmp_path: Path) -> None:
    plain = compose(tmp_path / "without", chart, *components)
    made = render(composed(tmp_path / "with", chart, *components, "images"))
    assert comparable(made) == comparable(prefixed(plain)) != comparable(plain)
    # The address is for Kustomize alone.
    assert [each["metadata"]["name"] for each in made if each["metadata"]["name"].startswith("mirror")] == []
    assert len(made) == len(plain)


def test_digests_stay(tmp_path: Path) -> None:
    base = kustomization(
        tmp_path / "base",
        resources=[DIST / "object-store"],
        images=[{"name": image.rpartition(":")[0], "digest": f"sha256:{'0' * 64}"} for image in images.ALL],
    )
    folder = mirrored(tmp_path / "overlay", base, components=["images"])
    assert comparable(render(folder)) == comparable(prefixed(render(base)))
    assert f"image: {PREFIX}/docker.io/rclone/rclone@sha256:0" in run_kustomize(folder).stdout


@pytest.mark.parametrize("component", BRINGING_IMAGES)
@pytest.mark.parametrize("layers", [1, 2])
def test_a_component_that_brings_an_image_comes_before(component: str, layers: int, tmp_path: Path) -> None:
    chart = "object-store" if "object-store" in component else "local"
    before = {"gateway-tls": "gateway-tls", "monitoring-upstream": "upstream"}
    needed = [name for part, name in before.items() if component.endswith(part)]
    folder = composed(tmp_path / "overlay", chart, *needed, "images", *([component] if layers == 1 else []))
    if layers == 2:
        assert run_kustomize(folder).returncode == 0
        folder = kustomization(tmp_path / "above", resources=[folder], components=[DIST / "components" / component])
    done = run_kustomize(folder)
    assert (done.returncode != 0, done.stdout) == (True, "")
    assert f"component-{component}-is-listed-before-component-images" in done.stderr


def test_other_components_come_in_any_order(tmp_path: Path) -> None:
    names = ["ingress", "tls", "audit", "permissions", "ha"]
    orders = [[*names[:at], "images", *names[at:]] for at in range(len(names) + 1)]
    made = [comparable(render(composed(tmp_path / str(at), "shared", *order))) for at, order in enumerate(orders)]
    assert made == [made[0]] * len(made)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (None, "nothing selected by ConfigMap.[noVer].[noGrp]/mirror-of-images.[noNs]:data.prefix"),
        (
            {"perfix": PREFIX},
            "`data.prefix` is missing for replacement source ConfigMap.[noVer].[noGrp]/mirror-of-images",
        ),
    ],
    ids=["no ConfigMap", "another key"],
)
def test_a_mirror_that_is_not_named_is_an_error(data: object, says: str, tmp_path: Path) -> None:
    resources = [DIST / "local", *(["mirror.yaml"] if data else [])]
    folder = kustomization(tmp_path / "overlay", resources=resources, components=[IMAGES])
    (folder / "mirror.yaml").write_text(yaml.safe_dump({**MIRROR, "data": data}))
    done = run_kustomize(folder)
    assert (done.returncode != 0, done.stdout) == (True, "")
    assert says in done.stderr


WRONG = {
    "empty": "",
    "scheme": "https://registry.example.com",
    "slash at the end": f"{PREFIX}/",
    "slash at the beginning": f"/{PREFIX}",
    "two slashes": "registry.example.com//mirror",
    "space before": f" {PREFIX}",
    "space behind": f"{PREFIX} ",
    "end of line": f"{PREFIX}\n",
    "two lines": f"{PREFIX}\n{PREFIX}",
    "upper case": "registry.example.com/Mirror",
    "tag": "registry.example.com/mirror:v1",
    "digest": f"registry.example.com/mirror@sha256:{'0' * 64}",
    "no registry": "mirror/of/python",
    "no number": "registry.example.com:port/mirror",
    "user": "alice:secret@registry.example.com",
    "variable": "$MIRROR",
}


@pytest.mark.parametrize("prefix", WRONG.values(), ids=WRONG)
def test_a_mirror_that_no_image_can_come_from_is_an_error(prefix: str, tmp_path: Path) -> None:
    folder = kustomization(tmp_path / "overlay", resources=[DIST / "local", "mirror.yaml"], components=[IMAGES])
    (folder / "mirror.yaml").write_text(yaml.safe_dump({**MIRROR, "data": {"prefix": prefix}}))
    done = run_kustomize(folder)
    assert (done.returncode != 0, done.stdout) == (True, "")
    assert "the prefix in mirror-of-images must be a registry and perhaps a path in it" in done.stderr


@pytest.mark.parametrize(
    "prefix",
    [
        "registry.example.com",
        "Registry.Example.com/mirror",
        "registry:5000",
        "localhost",
        "localhost:5000/a/b-c/d_e/f.g/h__i",
        "10.0.0.1:5000/mirror",
        "[fd00::1]:5000/mirror",
    ],
)
@pytest.mark.parametrize("names", [{}, {"namePrefix": "team-", "namespace": "team"}], ids=["plain", "named"])
def test_any_registry_may_be_the_mirror(prefix: str, names: dict[str, str], tmp_path: Path) -> None:
    resources = [DIST / "local", "mirror.yaml"]
    folder = kustomization(tmp_path / "overlay", resources=resources, components=[IMAGES], **names)
    (folder / "mirror.yaml").write_text(yaml.safe_dump({**MIRROR, "data": {"prefix": prefix}}))
    done = run_kustomize(folder)
    assert f"image: {prefix}/{images.SERVER}" in done.stdout.replace("'", "")
    assert "kind: Mirror" not in done.stdout


def test_the_address_may_be_in_a_file(tmp_path: Path) -> None:
    folder = kustomization(tmp_path / "overlay", resources=[*folders_of("local"), "mirror.yaml"], components=[IMAGES])
    (folder / "mirror.yaml").write_text(yaml.safe_dump({**MIRROR, "data": {"prefix": PREFIX}}))
    assert run_kustomize(folder).stdout == run_kustomize(composed(tmp_path / "other", "local", "images")).stdout


@pytest.mark.parametrize("namespace", [{}, {"namespace": "team"}], ids=["without", "with a namespace"])
def test_listed_once_more_above_is_an_error(namespace: dict[str, str], tmp_path: Path) -> None:
    below = composed(tmp_path / "overlay", "local", "images", **namespace)
    done = run_kustomize(kustomization(tmp_path / "above", resources=[below], components=[IMAGES]))
    assert done.returncode != 0


def test_every_overlay_above_which_it_is(tmp_path: Path) -> None:
    for overlay in sorted(OVERLAYS.iterdir()):
        folder = mirrored(tmp_path / overlay.name, overlay, overlay / "volume", components=["images"])
        made = run_kustomize(folder).stdout
        named = [line for line in made.splitlines() if line.strip().removeprefix("- ").startswith("image: ")]
        assert named
        assert [line for line in named if f"image: {PREFIX}/" not in line] == []


def test_two_registries_and_the_users_own_pods(tmp_path: Path) -> None:
    pod = {"containers": [{"name": "own", "image": "docker.io/library/busybox:1"}]}
    own = [
        {"apiVersion": version, "kind": kind, "metadata": {"name": kind.lower()}, "spec": {"template": {"spec": pod}}}
        for version, kind in (("apps/v1", "DaemonSet"), ("batch/v1", "Job"))
    ]
    base = kustomization(tmp_path / "own", resources=["own.yaml"])
    (base / "own.yaml").write_text(yaml.safe_dump_all(own))
    layers = [kustomization(tmp_path / name, resources=[DIST / "local"], namePrefix=f"{name}-") for name in ("a", "b")]
    plain = render(kustomization(tmp_path / "plain", resources=[*layers, base]))
    folder = mirrored(tmp_path / "overlay", *layers, base, components=["images"])
    assert comparable(render(folder)) == comparable(prefixed(plain))


def test_the_fields_of_a_spec_say_the_same(tmp_path: Path) -> None:
    of = {name: f"{PREFIX}/{getattr(images, name)}" for name in ("SERVER", "GATEWAY", "METRICS")}
    spec = PyPIServerSpec(
        storage=SharedVolumeSpec(existing_claim="pypiserver-packages"),
        server=ServerSpec(image=of["SERVER"]),
        gateway=GatewaySpec(image=of["GATEWAY"]),
        monitoring=MonitoringSpec(image=of["METRICS"]),
    )
    folder = mirrored(tmp_path / "overlay", DIST / "shared", components=["monitoring", "images"])
    assert comparable(render(folder)) == comparable(synthesize(spec))
    listed = subprocess.run(
        [sys.executable, "-m", "cdk8s_pypiserver", "images", "list", folder], check=True, capture_output=True, text=True
    )
    assert listed.stdout.splitlines() == sorted(of.values())


def test_as_the_document_shows_it(tmp_path: Path) -> None:
    shown = dict(blocks(ROOT / "docs/air-gap.md"))
    (tmp_path / "dist").symlink_to(DIST)
    (tmp_path / "overlays").symlink_to(OVERLAYS)
    folder = tmp_path / "sites/here"
    folder.mkdir(parents=True)
    (folder / "kustomization.yaml").write_text(shown["yaml mirrored"])
    text = run_kustomize(folder).stdout.replace("image: registry.example.com:5000/mirror/", "image: ")
    assert comparable([*yaml.safe_load_all(text)]) == comparable(render(OVERLAYS / "ha"))


def test_a_component_for_a_mirror_is_there_once() -> None:
    app = KustomizeApp()
    app.add_mirror()
    with pytest.raises(ValueError, match="there is a component images already"):
        app.add_mirror()
    with pytest.raises(ValueError, match="there is a component for a mirror already, images: leave one of them out"):
        app.add_mirror("other")
