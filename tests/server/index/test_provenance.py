"""Attestations are kept beside their file and served, or refused with a reason."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import requests
import webtest

from attested import attestation
from programs import PATIENCE, upload, wait_for
from server.pod import application
from vitals import stored

if TYPE_CHECKING:
    from collections.abc import Callable

    from programs import Server
    from server.pod.settings import Settings

    Serve = Callable[..., Server]

NAME = "my_pkg-1.0.tar.gz"
BODY = b"content"
JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}
SOUND = attestation(NAME, BODY)


def post(app: webtest.TestApp, attestations: object, name: str = NAME, body: bytes = BODY) -> webtest.TestResponse:
    text = attestations if isinstance(attestations, str) else json.dumps(attestations)
    form = {":action": "file_upload", "attestations": text}
    return app.post("/", form, upload_files=[("content", name, body)], expect_errors=True)


def described(app: webtest.TestApp, **headers: str) -> dict[str, Any]:
    (file,) = app.get("/simple/my-pkg/", headers={**JSON, **headers}).json["files"]
    assert isinstance(file, dict)
    return file


def test_attestations_are_served_as_they_were_sent(app: webtest.TestApp) -> None:
    assert post(app, [SOUND]).status_int == 200
    url = f"http://localhost:80/packages/{NAME}.provenance"
    assert described(app)["provenance"] == url
    page = app.get("/simple/my-pkg/")
    assert page.content_type == "text/html"
    assert f'data-provenance="{url}"' in page.text
    answer = app.get(url)
    assert answer.content_type == "application/json"
    assert answer.json["version"] == 1
    assert [bundle["attestations"] for bundle in answer.json["attestation_bundles"]] == [[SOUND]]


def test_the_address_is_that_of_the_host_that_the_client_uses(app: webtest.TestApp, settings: Settings) -> None:
    assert post(app, [SOUND]).status_int == 200
    for host in ("one", "two"):
        forwarded = {"X-Forwarded-Host": host, "X-Forwarded-Proto": "https"}
        assert described(app, **forwarded)["provenance"].startswith(f"https://{host}/packages/")
    assert list(settings.pages_directory.rglob("*.*")) == [], "the gateway would serve it to every host"


@pytest.mark.parametrize(
    ("attestations", "reason"),
    [
        ("banana", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("1" * 10_000, "is no JSON"),
        ([], "no JSON array"),
        ({"version": 1}, "no JSON array"),
        (["x"], "Attestation 1 is not one of PEP 740"),
        ([SOUND, {}], "Attestation 2 is not one of PEP 740: 'version' is missing"),
        ([{**SOUND, "version": 2}], "its version is not 1"),
        ([{**SOUND, "envelope": {}}], "'signature' is missing"),
        ([{**SOUND, "envelope": {"statement": "%", "signature": "eA=="}}], "not one of PEP 740"),
        ([{**SOUND, "verification_material": {"certificate": "eA==", "transparency_entries": []}}], "no transparency"),
        ([attestation(NAME, BODY, _type="x")], "its statement is no https://in-toto.io/Statement/v1"),
        ([attestation(NAME, BODY, predicateType="x")], "its predicateType is none of"),
        ([attestation(NAME, BODY, subject=[])], "not one of PEP 740"),
        ([attestation(NAME, b"other")], "Attestation 1 is about my_pkg-1.0.tar.gz with the sha256"),
        ([attestation("other-1.0.tar.gz", BODY)], "Attestation 1 is about other-1.0.tar.gz"),
        ('[{"version": 1e999}]', "its version is not 1"),
        ("x" * 200_000, "The field attestations has more than"),
    ],
)
def test_what_is_no_attestation_of_the_file_is_refused(
    app: webtest.TestApp, settings: Settings, attestations: object, reason: str
) -> None:
    refused = post(app, attestations)
    assert refused.status_int == 400
    assert reason in refused.text
    assert not stored(settings.packages_directory)
    assert post(app, [SOUND]).status_int == 200


def test_attestations_are_of_one_content_and_go_with_it(settings: Settings, quiet: None) -> None:  # noqa: ARG001
    app = webtest.TestApp(application.create(settings))
    assert post(app, [SOUND]).status_int == 200
    (settings.packages_directory / NAME).write_bytes(b"replaced by hand")
    app = webtest.TestApp(application.create(settings))
    app.get(f"/packages/{NAME}.provenance", status=404)
    (settings.packages_directory / NAME).write_bytes(BODY)
    app = webtest.TestApp(application.create(settings))
    assert app.get(f"/packages/{NAME}.provenance").json["version"] == 1
    (settings.packages_directory / NAME).unlink()
    app = webtest.TestApp(application.create(settings))
    assert post(app, "").status_int == 200
    assert "provenance" not in described(app)
    app.get(f"/packages/{NAME}.provenance", status=404)


def test_attestations_are_removed_with_their_file(app: webtest.TestApp, settings: Settings) -> None:
    settings = type(settings)(**{**vars(settings), "allow_removal": True})
    app = webtest.TestApp(application.create(settings))
    assert post(app, [SOUND]).status_int == 200
    assert app.post("/", {":action": "remove_pkg", "name": "my-pkg", "version": "1.0"}).status_int == 200
    app.get(f"/packages/{NAME}.provenance", status=404)
    assert list((settings.packages_directory / ".pypiserver/provenance").iterdir()) == []


def test_another_pod_shows_attestations(serve: Serve) -> None:
    first = serve("first", WRITERS="many")
    second = serve("second", WRITERS="many", PACKAGES_DIRECTORY=str(first.packages))
    assert upload(first.url, NAME, BODY, attestations=json.dumps([SOUND])).ok

    def shown() -> bool:
        return requests.get(f"{second.url}/packages/{NAME}.provenance", timeout=PATIENCE).ok

    wait_for(shown, "the attestations")
