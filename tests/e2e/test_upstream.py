"""Public packages through a registry, from another registry that stands in for the public index."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from e2e import cluster, samples
from e2e.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COMPONENTS = cluster.ROOT / "dist" / "components"
CONTAINER = "upstream"
PUBLIC, OWN = "upstream-public", "upstream-own"
PAGE_SECONDS = 5


@pytest.fixture(scope="module")
def public(deploy: Callable[..., cluster.Registry]) -> cluster.Registry:
    return deploy(PUBLIC, cluster.OVERLAYS / "local", components=[COMPONENTS / "anonymous-reads"], accounts=True)


@pytest.fixture(scope="module")
def registry(deploy: Callable[..., cluster.Registry], public: cluster.Registry) -> cluster.Registry:
    """A registry whose users have one URL, and whose network policy lets it reach pods of this cluster alone."""
    pods = [{"op": "replace", "path": "/spec/egress/0", "value": {"to": [{"namespaceSelector": {}}]}}]
    return deploy(
        OWN,
        cluster.OVERLAYS / "local",
        [cluster.Patch("NetworkPolicy", pods), _configured(public)],
        components=[COMPONENTS / "upstream", COMPONENTS / "network-policy-upstream"],
        accounts=True,
    )


def _configured(public: cluster.Registry) -> cluster.Patch:
    """The site's own configuration, as its users write it."""
    url = f"http://{cluster.NAME}.{public.namespace}.svc/simple/"
    configuration = {
        "indexes": [{"name": "public", "url": url, "plain_http": True}],
        "private_names": ["acme-*"],
        "deny": ["e2e-denied<2"],
        "page_seconds": PAGE_SECONDS,
    }
    name = f"{cluster.NAME}-upstream"
    metadata = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
    return cluster.Patch("ConfigMap", {**metadata, "data": {"upstream.json": json.dumps(configuration)}}, name)


def test_one_url_has_public_and_private_packages(
    registry: cluster.Registry, public: cluster.Registry, sample_directory: Path, tmp_path: Path
) -> None:
    theirs = samples.make(sample_directory, "e2e-public", kind="wheel", size=3 * samples.MEBIBYTE)
    source = samples.make(sample_directory, "e2e-source", kind="sdist")
    ours = samples.make(sample_directory, "acme-tool")
    for each in (theirs, source):
        assert public.client(cluster.PUBLISHER).twine([each.path]).returncode == 0
    assert registry.client(cluster.PUBLISHER).twine([ours.path]).returncode == 0
    client = registry.client(cluster.READER)
    wanted = [theirs, source, ours]
    for install, target in ((client.pip_install, tmp_path / "pip"), (client.uv_install, tmp_path / "uv")):
        done = install(wanted, target)
        assert done.returncode == 0, done.stdout + done.stderr
        assert [each.project for each in wanted if not each.installed_whole(target)] == []


def test_a_private_name_is_nobody_elses(
    registry: cluster.Registry, public: cluster.Registry, sample_directory: Path
) -> None:
    for version in ("1.0", "66.6"):
        foreign = samples.make(sample_directory, "acme-secret", version)
        assert public.client(cluster.PUBLISHER).twine([foreign.path]).returncode == 0
    assert registry.client(cluster.READER).get("simple/acme-secret/").status_code == 404
    assert "/simple/acme-secret" not in public.logs(container=cluster.GATEWAY)


def test_a_public_name_cannot_be_published(
    registry: cluster.Registry, public: cluster.Registry, sample_directory: Path
) -> None:
    taken = samples.make(sample_directory, "e2e-taken")
    assert public.client(cluster.PUBLISHER).twine([taken.path]).returncode == 0
    answer = registry.client(cluster.PUBLISHER).upload("e2e_taken-9.0-py3-none-any.whl", taken.path.read_bytes())
    assert answer.status_code == 403, answer.text
    assert "is the name of a public project" in answer.text


def test_what_policy_hides_is_said(
    registry: cluster.Registry, public: cluster.Registry, sample_directory: Path
) -> None:
    for version in ("1.0", "2.0"):
        denied = samples.make(sample_directory, "e2e-denied", version)
        assert public.client(cluster.PUBLISHER).twine([denied.path]).returncode == 0
    client = registry.client(cluster.READER)
    for _ in range(2):  # from the server, and from the file that it keeps
        page = client.get("simple/e2e-denied/")
        assert "e2e_denied-2.0" in page.text
        assert "e2e_denied-1.0" not in page.text
        assert page.headers["X-Hidden-Files"] == "../../upstream/e2e-denied/hidden"
    hidden = client.get("upstream/e2e-denied/hidden").json()["hidden"]
    assert [each["filename"] for each in hidden] == ["e2e_denied-1.0-py3-none-any.whl"]


def test_readers_alone_have_public_packages(registry: cluster.Registry) -> None:
    stranger = registry.client(None)
    assert stranger.get("simple/e2e-public/").status_code == 401
    assert stranger.get("upstream/e2e-public/hidden").status_code == 401


def test_what_was_kept_outlives_the_public_index(
    registry: cluster.Registry, public: cluster.Registry, sample_directory: Path, tmp_path: Path
) -> None:
    kept = samples.make(sample_directory, "e2e-kept", size=samples.MEBIBYTE)
    own = samples.make(sample_directory, "acme-always")
    assert public.client(cluster.PUBLISHER).twine([kept.path]).returncode == 0
    assert registry.client(cluster.PUBLISHER).twine([own.path]).returncode == 0
    client = registry.client(cluster.READER)
    assert client.pip_install([kept], tmp_path / "before").returncode == 0
    public.kubectl("scale", f"deployment/{cluster.NAME}", "--replicas=0")
    eventually(lambda: not public.pods(), "the end of the public index", 60, 1)
    # Asked for anew, in vain.
    eventually(lambda: "does not answer" in client.get("simple/e2e-never-seen/").text, "an index that is away", 60, 1)
    answer = client.get("simple/e2e-never-seen/")
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["Retry-After"]) > 0
    done = client.pip_install([kept, own], tmp_path / "after")
    assert done.returncode == 0, done.stdout + done.stderr
    registry.attempt("kill 1", container=CONTAINER)
    # Private packages need nobody else.
    assert client.pip_install([own], tmp_path / "alone").returncode == 0
    public.kubectl("scale", f"deployment/{cluster.NAME}", "--replicas=1")
    public.wait_until_settled()
    eventually(lambda: client.get("simple/e2e-source/").status_code == 200, "the public index again", 60, 1)
