"""The overlays: rendered as people apply them."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cdk8s_pypiserver import GatewaySpec
from manifests import OVERLAYS, ROOT, Manifest, by_kind, compose, pod_of, relative, render, run_kustomize, too_large
from schemas import problems

NAMES = sorted(path.name for path in OVERLAYS.iterdir())
FOLDERS = [*NAMES, *(f"{name}/volume" for name in NAMES)]
SITE = {
    "host": "packages.example.net",
    "path-prefix": "/team-a/pypi",
    "ingress-class": "traefik",
    "cluster-issuer": "own-ca",
    "storage-class": "cephfs",
    "size": "77Gi",
    "bucket": "other-bucket",
    "folder": "other/folder",
    "max-upload": "3Gi",
    "provider": "Ceph",
    "endpoint": "https://objects.example.net",
    "region": "nbg1",
    "store-path": "other-bucket/other/folder",
}
SITES = {
    "ha": ["ha/site.env"],
    "ha/volume": ["ha/volume/site.env"],
    "hetzner-s3": ["hetzner-s3/site.env"],
    "hetzner-s3/volume": ["hetzner-s3/volume/site.env"],
    "object-store": ["object-store/site.env", "object-store/store/site.env"],
}
"""What there is to edit for each folder that is applied."""
CLUSTER_WIDE = {"Namespace", "PersistentVolume", "StorageClass"}
OUTLIVES = {"PersistentVolumeClaim", "PersistentVolume", "StorageClass", "Namespace"}


@pytest.fixture(params=FOLDERS)
def rendered(request: pytest.FixtureRequest) -> list[Manifest]:
    return render(OVERLAYS / request.param)


def test_the_overlays_are_those_that_the_documents_name() -> None:
    assert NAMES == ["ha", "hetzner-s3", "local", "object-store"]


def test_rendered_overlay_is_valid_for_every_supported_kubernetes(rendered: list[Manifest]) -> None:
    assert list(problems(rendered)) == []


def test_rendered_overlay_holds_no_secret(rendered: list[Manifest]) -> None:
    assert {"Secret"} & {manifest["kind"] for manifest in rendered} == set()


@pytest.mark.parametrize("name", NAMES)
def test_everything_is_in_the_namespace_that_comes_with_the_volume(name: str) -> None:
    below, registry = render(OVERLAYS / name / "volume"), render(OVERLAYS / name)
    namespace = by_kind(below, "Namespace")["metadata"]
    assert namespace["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for manifest in [*below, *registry]:
        assert manifest["kind"] in CLUSTER_WIDE or manifest["metadata"]["namespace"] == namespace["name"]
    claims = [each["metadata"]["name"] for each in below if each["kind"] == "PersistentVolumeClaim"]
    # All but those of an object store are on a volume.
    assert len(claims) == (name != "object-store")
    assert [
        volume["persistentVolumeClaim"]["claimName"]
        for volume in pod_of(registry)["volumes"]
        if "persistentVolumeClaim" in volume
    ] == claims


@pytest.mark.parametrize("name", NAMES)
def test_who_deletes_the_registry_keeps_the_packages(name: str) -> None:
    kinds = {manifest["kind"] for manifest in render(OVERLAYS / name)}
    assert kinds
    assert kinds & OUTLIVES == set()


@pytest.mark.parametrize("name", NAMES)
def test_argo_cd_and_flux_keep_what_outlives_the_registry(name: str) -> None:
    """https://argo-cd.readthedocs.io/en/stable/user-guide/sync-options/ and fluxcd.io/flux/components/kustomize/."""
    manifests = render(OVERLAYS / name / "volume")
    # A bucket stays tidy as long as it is there.
    assert {manifest["kind"] for manifest in manifests} <= OUTLIVES | {"CronJob"}
    for manifest in manifests:
        annotations = manifest["metadata"]["annotations"]
        assert annotations["argocd.argoproj.io/sync-options"] == "Prune=false,Delete=false"
        assert annotations["kustomize.toolkit.fluxcd.io/prune"] == "disabled"


@pytest.mark.parametrize("name", FOLDERS)
def test_another_instance_label_on_the_objects_changes_nothing(name: str) -> None:
    """Argo CD writes the name of its application there, on objects and not in pod templates."""
    manifests = render(OVERLAYS / name)
    for manifest in manifests:
        manifest["metadata"].setdefault("labels", {})["app.kubernetes.io/instance"] = "an-application"
    for manifest in manifests:
        if manifest["kind"] not in {"Service", "PodDisruptionBudget", "Deployment", "StatefulSet"}:
            continue
        selector = manifest["spec"]["selector"]
        workload = "StatefulSet" if manifest["metadata"]["name"].endswith("-writer") else "Deployment"
        pod = by_kind(manifests, workload)["spec"]["template"]["metadata"]["labels"]
        assert selector.get("matchLabels", selector).items() <= pod.items()


@pytest.mark.parametrize("chart", ["local", "object-store"])
def test_flux_substitutes_nothing_in_files(chart: str, tmp_path: Path) -> None:
    """What has braces there is a variable of a shell or of nginx (postBuild.substitute of a Flux Kustomization)."""
    rendered = compose(tmp_path / "overlay", chart, "ldap", "monitoring")
    of_others = [each for each in rendered if re.search(r"\$\{", json.dumps(each))]
    assert {each["kind"] for each in of_others} == {"ConfigMap"}
    for each in of_others:
        assert each["metadata"]["annotations"]["kustomize.toolkit.fluxcd.io/substitute"] == "disabled"


def test_what_is_scraped_is_found_by_labels_that_argo_cd_leaves_alone(tmp_path: Path) -> None:
    """A ServiceMonitor selects Services by their own labels, a PodMonitor pods by theirs."""
    monitor = by_kind(compose(tmp_path / "overlay", "local", "monitoring"), "ServiceMonitor")["spec"]
    assert "app.kubernetes.io/instance" not in monitor["selector"]["matchLabels"]


def test_a_site_has_no_file_that_no_test_knows() -> None:
    found = {str(file.relative_to(OVERLAYS)) for file in OVERLAYS.rglob("site.env")}
    assert found == {file for files in SITES.values() for file in files}


@pytest.mark.parametrize("name", SITES)
def test_each_fact_of_a_site_is_set_in_one_place(name: str, tmp_path: Path) -> None:
    for folder in ("dist", "overlays"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    keys: list[str] = []
    for file in SITES[name]:
        site = tmp_path / "overlays" / file
        own = re.findall(r"^([a-z-]+)=", site.read_text(), re.MULTILINE)
        site.write_text("".join(f"{key}={SITE[key]}\n" for key in own))
        keys += own
    assert len(keys) == len(set(keys))
    expected = {key: value for key, value in SITE.items() if key in keys}
    before, after = (_facts(render(folder / name)) for folder in (OVERLAYS, tmp_path / "overlays"))
    assert after == expected
    assert before.keys() == after.keys()
    assert not before.items() & after.items()


def _facts(manifests: list[Manifest]) -> dict[str, str]:
    """Return what an overlay's objects say of its site."""
    facts: dict[str, str] = {}
    for manifest in manifests:
        spec = manifest.get("spec", {})
        if manifest["kind"] == "Ingress":
            (facts["host"],) = {rule["host"] for rule in spec["rules"]} | {
                each for tls in spec["tls"] for each in tls["hosts"]
            }
            (paths,) = (rule["http"]["paths"] for rule in spec["rules"])
            (prefix,) = (path["path"] for path in paths)
            assert facts.setdefault("path-prefix", prefix) == prefix
            facts["ingress-class"] = spec["ingressClassName"]
            facts["cluster-issuer"] = manifest["metadata"]["annotations"]["cert-manager.io/cluster-issuer"]
        if manifest["kind"] in {"Deployment", "StatefulSet"}:
            environment = {each["name"]: each.get("value") for each in spec["template"]["spec"]["containers"][0]["env"]}
            size = environment["MAX_UPLOAD"]
            assert facts.setdefault("max-upload", size) == size
            prefix = environment["PATH_PREFIX"]
            assert facts.setdefault("path-prefix", prefix) == prefix
            facts.update(_facts_of_a_store(spec["template"]["spec"]))
        if manifest["kind"] == "PersistentVolume":
            facts["bucket"], _, facts["folder"] = spec["csi"]["volumeHandle"].partition("/")
        if manifest["kind"] == "PersistentVolumeClaim" and "volumeName" not in spec:
            facts["storage-class"] = spec["storageClassName"]
            facts["size"] = spec["resources"]["requests"]["storage"]
    return facts


def _facts_of_a_store(pod: Manifest) -> Iterator[tuple[str, str]]:
    places = set()
    for container in [*pod["containers"], *pod.get("initContainers", [])]:
        for variable in container["env"]:
            name = variable["name"].removeprefix("RCLONE_CONFIG_STORE_").lower()
            if name in {"endpoint", "provider", "region"}:
                yield name, variable["value"]
            if name == "store_path":
                places.add(variable["value"])
    if places:
        (place,) = places
        yield "store-path", place.removeprefix("store:")


@pytest.mark.parametrize("name", NAMES)
def test_the_sizes_of_uploads_are_those_that_python_takes(name: str) -> None:
    site = OVERLAYS / name / "site.env"
    if site.exists():
        (size,) = re.findall(r"^max-upload=(.*)$", site.read_text(), re.MULTILINE)
        assert GatewaySpec(max_upload=size).max_upload == size


@pytest.mark.parametrize("name", NAMES)
def test_foreign_objects_beside_an_overlay_stay_as_they_are(name: str, tmp_path: Path) -> None:
    foreign = [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {"name": "shop", "namespace": "pypiserver"},
            "spec": {"defaultBackend": {"service": {"name": "shop", "port": {"number": 80}}}},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {
                "name": "shop",
                "namespace": "pypiserver",
                "labels": {"app.kubernetes.io/component": "server", "app.kubernetes.io/name": "shop"},
            },
            "spec": {
                "selector": {"matchLabels": {"app.kubernetes.io/component": "server"}},
                "template": {
                    "metadata": {"labels": {"app.kubernetes.io/component": "server"}},
                    "spec": {"containers": [{"name": "gateway", "image": "shop"}]},
                },
            },
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "shop", "namespace": "pypiserver"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        },
    ]
    for part in (name, f"{name}/volume"):
        for folder in ("dist", "overlays"):
            shutil.copytree(ROOT / folder, tmp_path / part.replace("/", "-") / folder)
        overlay = tmp_path / part.replace("/", "-") / "overlays" / part
        (overlay / "shop.yaml").write_text(yaml.safe_dump_all(foreign))
        text = (overlay / "kustomization.yaml").read_text()
        (overlay / "kustomization.yaml").write_text(text.replace("resources:\n", "resources:\n  - shop.yaml\n"))
        manifests = render(overlay)
        for each in foreign:
            assert each in manifests
        assert [each for each in manifests if each not in foreign] == render(OVERLAYS / part)


def test_two_buckets_in_two_namespaces_are_two_volumes(tmp_path: Path) -> None:
    names = []
    for namespace in ("one", "two"):
        for folder in ("dist", "overlays"):
            shutil.copytree(ROOT / folder, tmp_path / namespace / folder)
        overlay = tmp_path / namespace / "overlays/hetzner-s3/volume"
        text = (overlay / "kustomization.yaml").read_text()
        (overlay / "kustomization.yaml").write_text(
            text.replace("namespace: pypiserver\n", f"namespace: {namespace}\n")
        )
        manifests = render(overlay)
        volume, claim = by_kind(manifests, "PersistentVolume"), by_kind(manifests, "PersistentVolumeClaim")
        assert volume["spec"]["csi"]["nodeStageSecretRef"] == {"name": "pypiserver-s3", "namespace": namespace}
        assert claim["spec"]["volumeName"] == volume["metadata"]["name"]
        assert claim["spec"]["storageClassName"] == volume["spec"]["storageClassName"]
        names.append(volume["metadata"]["name"])
    assert len(set(names)) == len(names)


def test_no_object_is_too_large_to_be_applied(rendered: list[Manifest]) -> None:
    assert too_large(rendered) == []


def test_ha_leaves_the_number_of_pods_to_the_autoscaler() -> None:
    manifests = render(OVERLAYS / "ha")
    assert "replicas" not in by_kind(manifests, "Deployment")["spec"]
    assert by_kind(manifests, "HorizontalPodAutoscaler")["spec"]["minReplicas"] >= 2
    assert pod_of(manifests)["topologySpreadConstraints"]


def test_a_bucket_with_a_driver_is_one_line_away_from_one_without(tmp_path: Path) -> None:
    for folder in ("dist", "overlays"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    overlay = tmp_path / "overlays/hetzner-s3"
    lines = (overlay / "kustomization.yaml").read_text().splitlines(keepends=True)
    lines[lines.index("  - ../../dist/s3-csi\n")] = "  - ../object-store/store\n"
    (overlay / "kustomization.yaml").write_text("".join(lines))
    assert render(overlay) == render(OVERLAYS / "object-store")


@pytest.mark.parametrize("path", ["provider", "endpoint", "region", "store-path"])
def test_a_store_of_which_nothing_is_said_is_refused(path: str, tmp_path: Path) -> None:
    for folder in ("dist", "overlays"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    site = tmp_path / "overlays/object-store/store/site.env"
    site.write_text(re.sub(f"(?m)^{path}=.*\n", "", site.read_text()))
    done = run_kustomize(tmp_path / "overlays/object-store")
    assert done.returncode != 0
    assert f"data.{path}" in done.stderr


@pytest.mark.parametrize("name", ["hetzner-s3", "object-store"])
def test_a_bucket_has_one_writer_and_readers(name: str) -> None:
    manifests = render(OVERLAYS / name)
    writer, readers = by_kind(manifests, "StatefulSet")["spec"], by_kind(manifests, "Deployment")["spec"]
    assert writer["replicas"] == 1
    assert readers["strategy"]["type"] == "RollingUpdate"
    assert by_kind(manifests, "HorizontalPodAutoscaler")["spec"]["minReplicas"] >= 2


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
    assert made == {"local": "yes", "ha": "no", "hetzner-s3": "no", "object-store": "no"}


@pytest.mark.parametrize("file", sorted(OVERLAYS.rglob("kustomization.yaml")), ids=lambda path: path.parent.name)
def test_overlays_use_no_deprecated_field(file: Path) -> None:
    deprecated = r"^(commonLabels|patchesStrategicMerge|patchesJson6902|bases|vars|imageTags):"
    assert re.findall(deprecated, file.read_text(), re.MULTILINE) == []


@pytest.mark.parametrize("name", NAMES)
def test_an_overlay_and_its_volume_go_into_one_kustomization(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "both"
    folder.mkdir()
    listed = [relative(folder, OVERLAYS / name), relative(folder, OVERLAYS / name / "volume")]
    kustomization = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": listed}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    assert {"Namespace", "Deployment"} <= {manifest["kind"] for manifest in render(folder)}
