"""Manifests for tests: synthesized from specs, rendered by Kustomize, and put into an order that can be compared."""

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cdk8s
import yaml

from cdk8s_pypiserver import PyPIServerChart, PyPIServerSpec

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
OVERLAYS = ROOT / "overlays"
LARGEST_OBJECT = 150_000
"""How many bytes an object may have as JSON."""

Manifest = dict[str, Any]


def synthesize(spec: PyPIServerSpec | None = None) -> list[Manifest]:
    """Return the objects of a chart of this spec."""
    return list(PyPIServerChart(cdk8s.App(), "chart", spec).to_json())


def by_kind(manifests: Sequence[Manifest], kind: str) -> Manifest:
    """Return the one object of this kind."""
    (found,) = (manifest for manifest in manifests if manifest["kind"] == kind)
    return found


def pod_of(manifests: Sequence[Manifest]) -> Manifest:
    """Return the pod spec of the Deployment."""
    pod: Manifest = by_kind(manifests, "Deployment")["spec"]["template"]["spec"]
    return pod


def expanded(value: str, others: Mapping[str, str]) -> str:
    """A value of a variable as the container has it: `$$` is `$`, and `$(NAME)` another one, if there is such.

    As in k8s.io/kubernetes, third_party/forked/golang/expansion.
    """

    def put(found: re.Match[str]) -> str:
        return "$" if found[0] == "$$" else others.get(found["name"], found[0])

    return re.sub(r"\$\$|\$\((?P<name>[^)]*)\)", put, value)


def render(folder: Path) -> list[Manifest]:
    """Return what Kustomize makes of a folder."""
    done = run_kustomize(folder)
    assert done.returncode == 0, done.stderr
    return list(yaml.load_all(done.stdout, yaml.CSafeLoader))


def too_large(manifests: Sequence[Manifest]) -> list[str]:
    """Return the names of objects that are near what can be applied, with their sizes.

    `kubectl apply` keeps each object in an annotation, which the API server takes up to 262,144 bytes of.
    """
    sizes = {manifest["metadata"]["name"]: len(json.dumps(manifest).encode()) for manifest in manifests}
    return [f"{name}: {size}" for name, size in sizes.items() if size >= LARGEST_OBJECT]


def run_kustomize(folder: Path) -> subprocess.CompletedProcess[str]:
    """Return what Kustomize says of a folder."""
    return subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)


def compose(folder: Path, chart: str, *components: str, **fields: str) -> list[Manifest]:
    """Return what Kustomize makes of a registry and its volume in dist/ with components.

    Args:
        folder: Folder for the kustomization, which must not exist.
        chart: Storage mode.
        components: Names of components, in their order.
        fields: Further fields of the kustomization, such as namePrefix.
    """
    return render(
        kustomization(
            folder,
            resources=folders_of(chart),
            components=[DIST / "components" / name for name in components],
            **fields,
        )
    )


def folders_of(chart: str) -> list[Path]:
    """Return the folders of a registry and of its volume, if it has one."""
    return [path for path in (DIST / chart, DIST / f"{chart}-volume") if path.exists()]


def kustomization(folder: Path, **fields: Any) -> Path:  # noqa: ANN401
    """Write a kustomization and return its folder; paths in `resources` and `components` may be any."""
    folder.mkdir(parents=True)
    listed = {
        field: [relative(folder, path) if isinstance(path, Path) else path for path in value]
        if field in {"resources", "components"}
        else value
        for field, value in fields.items()
    }
    head = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump({**head, **listed}))
    return folder


def relative(folder: Path, target: Path) -> str:
    """Return the path from a folder to a target; Kustomize takes no absolute one."""
    up = len(folder.resolve().parts) - 1
    return "/".join([".."] * up + list(target.resolve().parts[1:]))


def ordered(value: Any) -> Any:  # noqa: ANN401
    """Return the value with lists of named things sorted: Kustomize puts added items first."""
    if isinstance(value, dict):
        return {key: ordered(item) for key, item in sorted(value.items())}
    if isinstance(value, list):
        items = [ordered(item) for item in value]
        if items and all(isinstance(item, dict) for item in items):
            return sorted(items, key=lambda item: str(item.get("name") or item.get("mountPath") or item))
        return items
    return value


def objects(manifests: Sequence[Manifest]) -> dict[tuple[str, str], Any]:
    """Return the objects by kind and name, in comparable order; names of files' ConfigMaps without their hash."""
    plain = [without_hashes(manifest, hashed(manifests)) for manifest in manifests]
    return {(manifest["kind"], manifest["metadata"]["name"]): ordered(manifest) for manifest in plain}


def hashed(manifests: Sequence[Manifest]) -> dict[str, str]:
    """Return the names that end in a hash, the constructs' or Kustomize's, and what is before it."""
    names = [manifest["metadata"]["name"] for manifest in manifests if manifest.get("immutable")]
    return {name: name.rpartition("-")[0] for name in names}


def without_hashes(value: Any, names: Mapping[str, str]) -> Any:  # noqa: ANN401
    """Return the value with these names replaced."""
    if isinstance(value, dict):
        return {key: without_hashes(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [without_hashes(item, names) for item in value]
    return names.get(value, value) if isinstance(value, str) else value
