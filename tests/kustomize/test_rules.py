"""What Python refuses, Kustomize refuses: which component goes with what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from manifests import DIST, OVERLAYS, kustomization, render, run_kustomize

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("chart", "components", "reason"),
    [
        ("local", ("ha",), "component-ha-goes-with-chart-shared"),
        ("s3-csi", ("ha",), "component-ha-goes-with-chart-shared"),
        ("object-store", ("ha",), "component-ha-goes-with-chart-shared"),
        ("object-store", ("network-policy",), "component-network-policy-goes-with-chart-local-or-shared"),
        ("local", ("network-policy-object-store",), "component-network-policy-object-store-goes-with-chart-object"),
        (
            "object-store",
            ("upstream", "network-policy-object-store"),
            "either-component-upstream-or-component-network-policy-object-store",
        ),
        ("shared", ("initial-password",), "component-initial-password-goes-with-chart-local"),
        ("s3-csi", ("initial-password",), "component-initial-password-goes-with-chart-local"),
        ("local", ("ingress", "gateway-tls"), "either-component-gateway-tls-or-component-ingress"),
        ("local", ("gateway-tls", "ingress"), "either-component-gateway-tls-or-component-ingress"),
        ("local", ("tls",), "component-ingress-is-listed-before-component-tls"),
        ("local", ("tls", "ingress"), "component-ingress-is-listed-before-component-tls"),
        ("local", ("upstream", "monitoring"), "either-component-upstream-or-component-monitoring"),
        ("local", ("monitoring", "upstream"), "either-component-upstream-or-component-monitoring"),
        ("local", ("backup", "gateway-tls"), "either-component-backup-or-component-gateway-tls"),
        (
            "object-store",
            ("backup-object-store-gateway-tls",),
            "component-gateway-tls-is-listed-before-component-backup-object-store-gateway-tls",
        ),
        (
            "local",
            ("gateway-tls", "backup-object-store-gateway-tls"),
            "component-backup-object-store-gateway-tls-goes-with-chart-object-store",
        ),
        ("local", ("network-policy", "ldap"), "either-component-ldap-or-component-network-policy"),
        ("local", ("network-policy", "upstream"), "either-component-upstream-or-component-network-policy"),
        ("s3-csi", ("network-policy",), "component-network-policy-goes-with-chart-local-or-shared"),
        ("local", ("network-policy-readers",), "component-network-policy-readers-goes-with-chart-s3-csi"),
        ("s3-csi", ("upstream", "network-policy-readers"), "either-component-upstream-or-component-network-policy-rea"),
        ("local", ("anonymous-projects",), "component-permissions-is-listed-before-component-anonymous-projects"),
        (
            "shared",
            ("anonymous-projects", "permissions"),
            "component-permissions-is-listed-before-component-anonymous-projects",
        ),
        (
            "local",
            ("permissions", "anonymous-projects", "anonymous-reads"),
            "either-component-permissions-or-component-anonymous-reads",
        ),
        ("local", ("monitoring-upstream",), "component-upstream-is-listed-before-component-monitoring-upstream"),
    ],
)
@pytest.mark.parametrize("below", [False, True], ids=["one layer", "prefix in a layer below"])
def test_what_cannot_work_does_not_render(
    chart: str, components: tuple[str, ...], reason: str, below: bool, tmp_path: Path
) -> None:
    base = DIST / chart
    if below:
        base = kustomization(tmp_path / "below", resources=[base], namePrefix="team-", namespace="team")
    folders = [DIST / "components" / name for name in components]
    done = run_kustomize(kustomization(tmp_path / "overlay", resources=[base], components=folders))
    assert done.returncode != 0
    assert done.stdout == ""
    assert reason in done.stderr


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ("ingress", "gateway-tls", "either-component-gateway-tls-or-component-ingress"),
        ("gateway-tls", "ingress", "either-component-gateway-tls-or-component-ingress"),
        ("gateway-tls", "backup", "either-component-backup-or-component-gateway-tls"),
        ("network-policy", "upstream", "either-component-upstream-or-component-network-policy"),
    ],
)
@pytest.mark.parametrize("names", [{}, {"namespace": "team", "namePrefix": "team-"}], ids=["plain", "named"])
def test_what_cannot_work_does_not_render_in_two_layers_either(
    first: str, second: str, reason: str, names: dict[str, str], tmp_path: Path
) -> None:
    components = [DIST / "components" / name for name in (first, second)]
    base = kustomization(tmp_path / "below", resources=[DIST / "local"], components=components[:1], **names)
    assert run_kustomize(base).returncode == 0
    done = run_kustomize(kustomization(tmp_path / "overlay", resources=[base], components=components[1:]))
    assert done.returncode != 0
    assert reason in done.stderr


@pytest.mark.parametrize("overlay", ["ha", "hetzner-s3", "object-store"])
def test_an_overlay_with_an_ingress_has_no_https_at_the_pod(overlay: str, tmp_path: Path) -> None:
    folder = kustomization(
        tmp_path / "overlay", resources=[OVERLAYS / overlay], components=[DIST / "components/gateway-tls"]
    )
    assert "either-component-gateway-tls-or-component-ingress" in run_kustomize(folder).stderr


# One that adds objects, and one that adds a ConfigMap of files.
@pytest.mark.parametrize("component", ["ingress", "permissions"])
@pytest.mark.parametrize("names", [{}, {"namePrefix": "x-", "nameSuffix": "-1"}], ids=["plain", "named"])
def test_a_component_has_the_namespace_of_its_registry(component: str, names: dict[str, str], tmp_path: Path) -> None:
    listed: dict[str, Any] = {
        "resources": [kustomization(tmp_path / "below", resources=[DIST / "local"], namespace="team", **names)],
        "components": [DIST / "components" / component],
    }
    done = run_kustomize(kustomization(tmp_path / "without", **listed))
    assert done.returncode != 0
    assert "layer-of-a-component-needs-the-namespace-of-its-registry" in done.stderr
    assert f"{component}.cdk8s-pypiserver" in done.stderr
    for namespace in ("team", "other"):
        rendered = render(kustomization(tmp_path / namespace, **listed, namespace=namespace, **names))
        assert {each["metadata"]["namespace"] for each in rendered} == {namespace}


def test_a_component_that_changes_what_is_there_needs_no_namespace(tmp_path: Path) -> None:
    base = kustomization(tmp_path / "below", resources=[DIST / "s3-csi"], namespace="team")
    components = [DIST / "components" / name for name in ("anonymous-reads", "audit", "removal")]
    rendered = render(kustomization(tmp_path / "overlay", resources=[base], components=components))
    assert {each["metadata"]["namespace"] for each in rendered} == {"team"}


@pytest.mark.parametrize("component", sorted(path.name for path in (DIST / "components").iterdir()))
def test_a_component_without_a_registry_is_an_error(component: str, tmp_path: Path) -> None:
    """Each changes something of the registry, so none is silent where there is none."""
    done = run_kustomize(kustomization(tmp_path / "overlay", components=[DIST / "components" / component]))
    assert done.returncode != 0


# The images of several registries may come from a mirror at once (tests/images/test_mirror.py).
@pytest.mark.parametrize("component", sorted({path.name for path in (DIST / "components").iterdir()} - {"images"}))
def test_a_component_for_two_registries_at_once_is_an_error(component: str, tmp_path: Path) -> None:
    base = "shared" if component == "ha" else "object-store" if "object-store" in component else "local"
    layers = [kustomization(tmp_path / name, resources=[DIST / base], namePrefix=f"{name}-") for name in ("a", "b")]
    done = run_kustomize(
        kustomization(tmp_path / "overlay", resources=layers, components=[DIST / "components" / component])
    )
    assert done.returncode != 0
