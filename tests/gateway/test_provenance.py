"""Attestations and signatures the whole way: sent by twine and uv, found by a reader of indexes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import requests
from pypi_simple import PyPISimple

from attested import attestation
from gateway_programs import Registry, make_sdist, registry, run, twine_upload

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PUBLISHER = ("publisher", "publisher-password")
READER = ("reader", "reader-password")
ACCEPTED = pytest.mark.parametrize("accept", ["application/vnd.pypi.simple.v1+json", "text/html"])


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(tmp_path_factory.mktemp("registry")) as started:
        yield started


def published(started: Registry, directory: Path, name: str, by: str) -> dict[str, object]:
    """Publish a source distribution with its attestation."""
    sdist = make_sdist(directory, name, "1.0")
    attested = attestation(sdist.name, sdist.read_bytes())
    (directory / f"{sdist.name}.publish.attestation").write_text(json.dumps(attested))
    files = sorted(directory.glob(f"{sdist.name}*"))
    if by == "twine":
        options = ("--attestations",)
        done = twine_upload(directory, started.gateway.url, *files, options=options, credentials=PUBLISHER)
    else:
        access = ("--publish-url", f"{started.gateway.url}/", "--username", PUBLISHER[0], "--password", PUBLISHER[1])
        done = run(directory, "uv", "publish", *access, *map(str, files))
    assert done.returncode == 0, done.stdout
    return attested


@pytest.mark.parametrize("by", ["twine", "uv"])
@ACCEPTED
def test_attestations_are_found_by_readers(shared: Registry, tmp_path: Path, by: str, accept: str) -> None:
    name = f"attested_{by}_{accept[-4:]}"
    attested = published(shared, tmp_path, name, by)
    with PyPISimple(f"{shared.gateway.url}/simple/", auth=READER, accept=accept) as client:
        (package,) = client.get_project_page(name).packages
        assert package.provenance_url == f"{shared.gateway.url}/packages/{package.filename}.provenance"
        assert client.get_provenance(package)["attestation_bundles"][0]["attestations"] == [attested]


def test_who_may_not_read_gets_no_provenance(shared: Registry, tmp_path: Path) -> None:
    published(shared, tmp_path, "secret", "twine")
    assert requests.get(f"{shared.gateway.url}/packages/secret-1.0.tar.gz.provenance", timeout=9).status_code == 401
    assert shared.gateway.get("/packages/other-1.0.tar.gz.provenance", *READER).status_code == 404


@ACCEPTED
def test_signatures_are_found_by_readers(shared: Registry, tmp_path: Path, accept: str) -> None:
    sdist = make_sdist(tmp_path, f"signed_{accept[-4:]}", "1.0")
    signature = tmp_path / f"{sdist.name}.asc"
    signature.write_text("signature")
    done = twine_upload(tmp_path, shared.gateway.url, sdist, signature, credentials=PUBLISHER)
    assert done.returncode == 0, done.stdout
    with PyPISimple(f"{shared.gateway.url}/simple/", auth=READER, accept=accept) as client:
        packages = client.get_project_page(sdist.name.partition("-")[0]).packages
    (package,) = [each for each in packages if each.filename == sdist.name]
    assert package.has_sig
    assert shared.gateway.get(f"/packages/{sdist.name}.asc", *READER).text == "signature"


def test_no_host_of_a_client_ends_up_in_a_page_for_others(shared: Registry, tmp_path: Path) -> None:
    sdist = make_sdist(tmp_path, "plain", "1.0")
    assert shared.upload(sdist).ok
    evil = {"Host": "evil.example", "X_Forwarded_Host": "evil.example", "X_Forwarded_Proto": "https"}
    for path in ("/simple/plain/", "/simple/", "/packages/"):
        assert "evil" not in shared.gateway.get(path, *READER, **evil).text
    assert (shared.server.pages / "projects/plain.html").exists()
    published(shared, tmp_path, "attested", "twine")
    assert "https://evil.example/packages/" in shared.gateway.get("/simple/attested/", *READER, **evil).text
    assert not list(shared.server.pages.glob("projects/attested.*"))
