"""Prefixes, suffixes and namespaces: whatever layer gives them, registries stay whole and apart."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import cdk8s
import pytest

from cases import BACKUP, COPYING, HOST, LETSENCRYPT, READERS, RETENTION, STORAGE
from cdk8s_pypiserver import (
    AuthSpec,
    AvailabilitySpec,
    GatewayTLSSpec,
    KustomizeApp,
    MonitoringSpec,
    PyPIServerChart,
    PyPIServerSpec,
    RegistryIngressSpec,
    RegistryNetworkPolicySpec,
)
from manifests import DIST, by_kind, compose, folders_of, kustomization, objects, render, synthesize

if TYPE_CHECKING:
    from pathlib import Path

    from manifests import Manifest

INSTANCE = "app.kubernetes.io/instance"
SECURED: dict[str, Any] = {"ingress": RegistryIngressSpec(host=HOST, tls=LETSENCRYPT)}
COUNTED: dict[str, Any] = {"monitoring": MonitoringSpec(certificate="team-pypiserver-tls")}
COMPOSITIONS: dict[str, tuple[str, tuple[str, ...], dict[str, Any]]] = {
    "local": (
        "local",
        ("ingress", "tls", "initial-password", "monitoring", "retention", "backup", "copy", "network-policy"),
        {
            **SECURED,
            **COUNTED,
            "retention": RETENTION,
            "backup": BACKUP,
            "copying": COPYING,
            "auth": AuthSpec(initial_password=True),
            "network_policy": RegistryNetworkPolicySpec(),
        },
    ),
    "shared": ("shared", ("ha", "ingress", "tls"), {**SECURED, "availability": AvailabilitySpec()}),
    "object-store": (
        "object-store",
        (
            *("ingress", "tls", "monitoring", "retention", "backup-object-store", "copy"),
            "network-policy-object-store",
        ),
        {
            **SECURED,
            **COUNTED,
            "retention": RETENTION,
            "backup": BACKUP,
            "copying": COPYING,
            "network_policy": RegistryNetworkPolicySpec(),
        },
    ),
    "s3-csi": (
        "s3-csi",
        ("gateway-tls", "retention-gateway-tls", "anonymous-reads"),
        {
            "gateway_tls": GatewayTLSSpec(),
            "retention": RETENTION,
            "auth": AuthSpec(anonymous_reads=True),
        },
    ),
}


@pytest.fixture(params=COMPOSITIONS)
def composition(request: pytest.FixtureRequest) -> tuple[str, tuple[str, ...], dict[str, Any]]:
    return COMPOSITIONS[request.param]


def _made(chart: str, fields: dict[str, Any]) -> dict[tuple[str, str], Any]:
    return _comparable(synthesize(_spec(chart, fields)))


def _spec(chart: str, fields: dict[str, Any]) -> PyPIServerSpec:
    return PyPIServerSpec(name="team-pypiserver", storage=STORAGE[chart], readers=READERS.get(chart), **fields)


def _comparable(manifests: list[Manifest]) -> dict[tuple[str, str], Any]:
    """Set aside the dashboard's text: it is for any registry, and one of its own is called as in its chart."""
    return {
        key: {**value, "data": {}} if key[1].endswith("-dashboard") else value
        for key, value in objects(manifests).items()
    }


def _mounting_by_suffix(value: Any) -> Any:  # noqa: ANN401
    """Leave the prefix of the registry out of the names of ConfigMaps that are mounted."""
    if isinstance(value, dict):
        return {
            key: {**item, "name": item["name"].removeprefix("team-")}
            if key == "configMap" and "name" in item
            else _mounting_by_suffix(item)
            for key, item in value.items()
        }
    return [_mounting_by_suffix(item) for item in value] if isinstance(value, list) else value


def _of_one_folder(found: dict[tuple[str, str], Any]) -> dict[tuple[str, str], Any]:
    """Set aside what is not a name: the folder in a bucket, the class that binds a volume, the namespace of a claim."""
    text = json.dumps([[list(key), value] for key, value in found.items()])
    text = text.replace("pypi-packages/team-pypiserver", "pypi-packages/pypiserver")
    text = text.replace('"storageClassName": "team-pypiserver', '"storageClassName": "pypiserver')
    return {tuple(key): value for key, value in json.loads(text)}


def test_a_prefix_is_as_a_name_in_python(
    composition: tuple[str, tuple[str, ...], dict[str, Any]], tmp_path: Path
) -> None:
    chart, components, fields = composition
    composed = compose(tmp_path / "overlay", chart, *components, namePrefix="team-")
    assert _of_one_folder(_comparable(composed)) == _of_one_folder(_made(chart, fields))


def test_so_is_one_of_a_lower_layer(composition: tuple[str, tuple[str, ...], dict[str, Any]], tmp_path: Path) -> None:
    chart, components, fields = composition
    below = kustomization(tmp_path / "below", resources=folders_of(chart), namePrefix="team-")
    folders = [DIST / "components" / name for name in components]
    composed = render(kustomization(tmp_path / "overlay", resources=[below], components=folders))
    # The dashboard and programs are the same for all registries, and what differs has another hash: so their ConfigMaps
    # may keep their names.
    expected, found = (
        _of_one_folder(_mounting_by_suffix(_comparable(each))) for each in (synthesize(_spec(chart, fields)), composed)
    )
    shared = {key for key in expected.keys() ^ found.keys() if key[0] == "ConfigMap"}
    assert {name for _, name in shared} <= {
        f"{prefix}pypiserver-{suffix}"
        for prefix in ("", "team-")
        for suffix in ("backup", "copy", "copy-requirements", "dashboard", "monitoring", "retention", "retention-rules")
    }
    assert {key: value for key, value in found.items() if key not in shared} == {
        key: value for key, value in expected.items() if key not in shared
    }


def _in_no_namespace(found: dict[tuple[str, str], Any]) -> dict[tuple[str, str], Any]:
    text = json.dumps([[list(key), value] for key, value in found.items()])
    return {tuple(key): value for key, value in json.loads(text.replace("team-pypiserver-p", "pypiserver-p"))}


@pytest.mark.parametrize("above", [{}, {"namespace": "other", "namePrefix": "x-"}], ids=["alone", "a layer above"])
def test_a_namespace_in_python_is_as_one_of_a_layer(
    composition: tuple[str, tuple[str, ...], dict[str, Any]], above: dict[str, str], tmp_path: Path
) -> None:
    chart, _, fields = composition
    spec = PyPIServerSpec(storage=STORAGE[chart], readers=READERS.get(chart), **fields)
    app = KustomizeApp(tmp_path / "dist")
    PyPIServerChart(app, "given", spec, namespace="team")
    PyPIServerChart(app, "plain", spec)
    app.synth()
    given = tmp_path / "dist/given"
    plain = kustomization(tmp_path / "plain", resources=[tmp_path / "dist/plain"], namespace="team")
    found, expected = (
        objects(render(kustomization(tmp_path / f"above-{each.name}", resources=[each], **above)))
        for each in (given, plain)
    )
    # A volume belongs to no namespace, so that only Python can call it after one.
    assert _in_no_namespace(found) == expected


def test_what_has_another_namespace_than_its_chart_stays_there(tmp_path: Path) -> None:
    app = KustomizeApp(tmp_path / "dist")
    chart = PyPIServerChart(app, "registry", namespace="team")
    metadata = cdk8s.ApiObjectMetadata(name="theirs", namespace="elsewhere")
    cdk8s.ApiObject(chart, "theirs", api_version="v1", kind="ConfigMap", metadata=metadata)
    app.synth()
    places = {each["metadata"]["name"]: each["metadata"]["namespace"] for each in render(tmp_path / "dist/registry")}
    assert {name for name, namespace in places.items() if namespace != "team"} == {"theirs"}


@pytest.mark.parametrize("together", [True, False], ids=["registry and volume", "registry without its volume"])
def test_two_registries_in_one_namespace_have_nothing_in_common(together: bool, tmp_path: Path) -> None:
    layers = []
    for name in ("a", "b"):
        charts = [DIST / "shared", *([DIST / "shared-volume"] if together else [])]
        concerns = ("ha", "ingress", "tls", "monitoring", "retention", "backup", "copy", "network-policy")
        components = [DIST / "components" / each for each in concerns]
        layers.append(kustomization(tmp_path / name, resources=charts, components=components, namePrefix=f"{name}-"))
    manifests = render(kustomization(tmp_path / "both", resources=layers, namespace="team", nameSuffix="-1"))
    for name in ("a-pypiserver-1", "b-pypiserver-1"):
        own = [manifest for manifest in manifests if manifest["metadata"]["labels"][INSTANCE] == name]
        assert len(own) == len(manifests) / 2
        pod = by_kind(own, "Deployment")["spec"]["template"]
        # A ServiceMonitor selects Services, of which it keeps those that are called as it is.
        jobs = [each["spec"]["jobTemplate"]["spec"]["template"] for each in own if each["kind"] == "CronJob"]
        assert any({"name": "REGISTRY_HOST", "value": name} in job["spec"]["containers"][0]["env"] for job in jobs)
        for selector in _selectors([each for each in own if each["kind"] != "ServiceMonitor"]):
            # The policy knows roles, which these pods have none of.
            plain = {key: value for key, value in selector.items() if key != "pypiserver/role"}
            assert any(plain.items() <= each["metadata"]["labels"].items() for each in (pod, *jobs))
            assert selector[INSTANCE] == name
        other = "b-" if name.startswith("a-") else "a-"
        assert f'"{other}pypiserver' not in json.dumps(own)
        claim = next(volume for volume in pod["spec"]["volumes"] if "persistentVolumeClaim" in volume)
        assert claim["persistentVolumeClaim"]["claimName"] == f"{name[:-2]}-packages-1"


def _selectors(manifests: list[Manifest]) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []

    def walk(value: object) -> None:
        if isinstance(value, dict):
            if isinstance(value.get("matchLabels"), dict):
                found.append(value["matchLabels"])
            for item in value.values():
                walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)

    walk(manifests)
    services = [manifest["spec"]["selector"] for manifest in manifests if manifest["kind"] == "Service"]
    assert services
    return [*found, *services]


def test_a_bucket_in_another_namespace(tmp_path: Path) -> None:
    foreign = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "foreign"},
        "spec": {"csi": {"driver": "d", "nodeStageSecretRef": {"name": "theirs", "namespace": "pypiserver"}}},
    }
    below = kustomization(tmp_path / "below", resources=["foreign.yaml", DIST / "s3-csi-volume"], namespace="team")
    (below / "foreign.yaml").write_text(json.dumps(foreign))
    above = kustomization(tmp_path / "above", resources=[below], namePrefix="x-", namespace="other")
    for folder, namespace, prefix in ((below, "team", ""), (above, "other", "x-")):
        ours, theirs = sorted(
            (manifest for manifest in render(folder) if manifest["kind"] == "PersistentVolume"),
            key=lambda manifest: "labels" not in manifest["metadata"],
        )
        for reference in ("nodeStageSecretRef", "nodePublishSecretRef"):
            assert ours["spec"]["csi"][reference] == {"name": f"{prefix}pypiserver-s3", "namespace": namespace}
        assert theirs["spec"] == foreign["spec"]
        assert "claimRef" not in ours["spec"]
        claim = by_kind(render(folder), "PersistentVolumeClaim")
        assert claim["spec"]["volumeName"] == ours["metadata"]["name"]
        assert claim["spec"]["storageClassName"] == ours["spec"]["storageClassName"]


def test_a_secret_that_kustomize_makes_is_used(tmp_path: Path) -> None:
    folder = kustomization(
        tmp_path / "overlay",
        resources=[DIST / "local"],
        namePrefix="team-",
        secretGenerator=[{"name": "pypiserver-auth", "literals": ["publishers=alice:x"]}],
    )
    manifests = render(folder)
    name = by_kind(manifests, "Secret")["metadata"]["name"]
    assert name.startswith("team-pypiserver-auth-")
    volumes = by_kind(manifests, "Deployment")["spec"]["template"]["spec"]["volumes"]
    assert [volume["secret"]["secretName"] for volume in volumes if "secret" in volume] == [name]


def test_a_name_that_was_there_before_stays(tmp_path: Path) -> None:
    app = KustomizeApp(tmp_path / "dist")
    storage = STORAGE["local"].replace(existing_claim="nas")
    PyPIServerChart(app, "own", PyPIServerSpec(storage=storage, auth=AuthSpec(secret="company-users")))
    app.synth()
    pod = by_kind(
        render(kustomization(tmp_path / "overlay", resources=[tmp_path / "dist/own"], namePrefix="team-")), "Deployment"
    )["spec"]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["packages"]["persistentVolumeClaim"]["claimName"] == "nas"
    assert volumes["credentials"]["secret"]["secretName"] == "company-users"
    assert pod["serviceAccountName"] == "team-pypiserver"


def test_foreign_objects_keep_their_names_and_labels(tmp_path: Path) -> None:
    foreign = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "shop", "labels": {INSTANCE: "shop", "app.kubernetes.io/component": "server"}},
        "spec": {
            "selector": {"matchLabels": {INSTANCE: "shop"}},
            "template": {
                "metadata": {"labels": {INSTANCE: "shop"}},
                "spec": {"containers": [{"name": "pypiserver", "image": "shop", "env": [{"name": "A", "value": "b"}]}]},
            },
        },
    }
    components = [DIST / "components" / name for name in ("initial-password", "monitoring", "ingress")]
    folder = kustomization(
        tmp_path / "overlay", resources=[DIST / "local", "foreign.yaml"], components=components, namespace="team"
    )
    (folder / "foreign.yaml").write_text(json.dumps(foreign))
    (found,) = (each for each in render(folder) if each["metadata"]["name"] == "shop")
    foreign["metadata"]["namespace"] = "team"  # type: ignore[index]
    assert found == foreign
