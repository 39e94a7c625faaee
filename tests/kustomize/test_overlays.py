"""The overlays: rendered as people apply them."""

import re
import shutil
from pathlib import Path

import pytest

from manifests import OVERLAYS, ROOT, Manifest, by_kind, pod_of, render
from schemas import problems

NAMES = sorted(path.name for path in OVERLAYS.iterdir())
WITH_SITE = [name for name in NAMES if (OVERLAYS / name / "site.env").exists()]
SITE = {
    "host": "packages.example.net",
    "ingress-class": "traefik",
    "cluster-issuer": "own-ca",
    "storage-class": "cephfs",
    "size": "77Gi",
    "volume": "other-bucket/other/prefix",
    "max-upload": "3Gi",
}


@pytest.fixture(params=NAMES)
def rendered(request: pytest.FixtureRequest) -> list[Manifest]:
    return render(OVERLAYS / request.param)


def test_the_overlays_are_those_that_the_documents_name() -> None:
    assert NAMES == ["ha", "hetzner-s3", "local"]


def test_rendered_overlay_is_valid_for_every_supported_kubernetes(rendered: list[Manifest]) -> None:
    assert list(problems(rendered)) == []


def test_rendered_overlay_holds_no_secret(rendered: list[Manifest]) -> None:
    assert {"Secret"} & {manifest["kind"] for manifest in rendered} == set()


def test_everything_is_in_the_namespace_that_comes_with_it(rendered: list[Manifest]) -> None:
    namespace = by_kind(rendered, "Namespace")["metadata"]
    assert namespace["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for manifest in rendered:
        if manifest["kind"] not in {"Namespace", "PersistentVolume"}:
            assert manifest["metadata"]["namespace"] == namespace["name"]
        if manifest["kind"] == "PersistentVolume":
            assert manifest["spec"]["claimRef"]["namespace"] == namespace["name"]
            assert manifest["spec"]["csi"]["nodeStageSecretRef"]["namespace"] == namespace["name"]


@pytest.mark.parametrize("name", WITH_SITE)
def test_each_fact_of_a_site_is_set_in_one_place(name: str, tmp_path: Path) -> None:
    for folder in ("dist", "overlays"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    site = tmp_path / "overlays" / name / "site.env"
    keys = re.findall(r"^([a-z-]+)=", site.read_text(), re.MULTILINE)
    site.write_text("".join(f"{key}={SITE[key]}\n" for key in keys))
    manifests = render(tmp_path / "overlays" / name)
    ingress = by_kind(manifests, "Ingress")
    assert [rule["host"] for rule in ingress["spec"]["rules"]] == [SITE["host"]]
    assert [tls["hosts"] for tls in ingress["spec"]["tls"]] == [[SITE["host"]]]
    assert ingress["spec"]["ingressClassName"] == SITE["ingress-class"]
    assert ingress["metadata"]["annotations"]["cert-manager.io/cluster-issuer"] == SITE["cluster-issuer"]
    (gateway,) = [each for each in pod_of(manifests)["containers"] if each["name"] == "gateway"]
    assert {"name": "MAX_UPLOAD", "value": SITE["max-upload"]} in gateway["env"]
    for before, after in zip(render(OVERLAYS / name), manifests, strict=True):
        if before["kind"] == "Deployment":
            assert before["spec"]["template"] != after["spec"]["template"], "a changed setting must roll the pods"
    if name == "ha":
        claim = by_kind(manifests, "PersistentVolumeClaim")["spec"]
        assert claim["storageClassName"] == SITE["storage-class"]
        assert claim["resources"]["requests"]["storage"] == SITE["size"]
    else:
        assert by_kind(manifests, "PersistentVolume")["spec"]["csi"]["volumeHandle"] == SITE["volume"]


def test_ha_leaves_the_number_of_pods_to_the_autoscaler() -> None:
    manifests = render(OVERLAYS / "ha")
    assert "replicas" not in by_kind(manifests, "Deployment")["spec"]
    assert by_kind(manifests, "HorizontalPodAutoscaler")["spec"]["minReplicas"] >= 2
    assert pod_of(manifests)["topologySpreadConstraints"]


def test_a_bucket_has_one_writer() -> None:
    deployment = by_kind(render(OVERLAYS / "hetzner-s3"), "Deployment")["spec"]
    assert deployment["replicas"] == 1
    assert deployment["strategy"]["type"] == "Recreate"


def test_only_the_local_overlay_makes_a_password() -> None:
    made = {
        name: next(
            variable["value"]
            for container in pod_of(render(OVERLAYS / name))["containers"]
            for variable in container.get("env", [])
            if variable["name"] == "INITIAL_PASSWORD"
        )
        for name in NAMES
    }
    assert made == {"local": "yes", "ha": "no", "hetzner-s3": "no"}


@pytest.mark.parametrize("file", sorted(OVERLAYS.rglob("kustomization.yaml")), ids=lambda path: path.parent.name)
def test_overlays_use_no_deprecated_field(file: Path) -> None:
    deprecated = r"^(commonLabels|patchesStrategicMerge|patchesJson6902|bases|vars|imageTags):"
    assert re.findall(deprecated, file.read_text(), re.MULTILINE) == []
