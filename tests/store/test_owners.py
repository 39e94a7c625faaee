"""Whose names are in an object store: of two servers, and of what was cut off."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import requests
import urllib3

from permissions import rule
from programs import PATIENCE, wait_for
from server.access.who import HEADER, Who
from server.index.presence import UNKNOWN
from store_samples import files, wheel

if TYPE_CHECKING:
    from pathlib import Path

    from programs import Server
    from store_programs import Place


@pytest.fixture
def rules(tmp_path: Path) -> str:
    path = tmp_path / "permissions.json"
    path.write_text(json.dumps({"rules": [rule("*", create=["alice", "bob"], read=["*"])]}))
    return str(path)


def publish(server: Server, user: str, version: str, name: str = "demo") -> str:
    """Publish a wheel, and return the status line."""
    body, kind = urllib3.encode_multipart_formdata([(":action", "file_upload"), ("content", wheel(name, version))])
    headers = {"Content-Type": kind, HEADER: Who(user, "publishers").written}
    status = ""

    def is_answered() -> bool:
        nonlocal status
        answer = requests.post(server.url, data=body, headers=headers, timeout=PATIENCE)
        status = f"{answer.status_code} {answer.reason}"
        return status != f"503 {UNKNOWN}"

    wait_for(is_answered, "the first look at the bucket")
    return status


def owner(place: Place, name: str = "demo") -> object:
    return json.loads((place.folder / ".pypiserver/owners" / name).read_bytes())["owner"]


def test_a_name_is_its_first_publishers(place: Place, rules: str) -> None:
    first = place.start("first", PERMISSIONS=rules)
    assert publish(first, "alice", "1.0") == "200 OK"
    assert owner(place) == "alice"
    assert publish(first, "bob", "2.0") == "403 bob has no right to publish demo"
    first.kill()
    # From the catalogue.
    second = place.start("second", PERMISSIONS=rules)
    assert publish(second, "bob", "2.0") == "403 bob has no right to publish demo"
    assert publish(second, "alice", "2.0") == "200 OK"
    assert files(second.url, "demo").keys() == {wheel("demo", each)[0] for each in ("1.0", "2.0")}


def test_a_name_that_has_files_in_a_bucket_is_not_new_before_they_are_read(place: Place, rules: str) -> None:
    names = [f"demo{number}" for number in range(30)]
    for name in names:
        place.hand.write(*wheel(name, "1.0"))
    server = place.start(PERMISSIONS=rules)
    assert {publish(server, "bob", "2.0", name) for name in reversed(names)} == {
        f"403 bob has no right to publish {name}" for name in names
    }
    assert publish(server, "bob", "1.0", "other") == "200 OK"


@pytest.mark.parametrize("content", [b'{"owner": "bob"}', b'{"own'])
def test_a_record_that_the_catalogue_does_not_know_counts(place: Place, rules: str, content: bytes) -> None:
    """As of an attempt that was cut off between the two."""
    server = place.start(PERMISSIONS=rules, RESCAN_SECONDS="3600")
    place.hand.write(".pypiserver/owners/demo", content)
    assert publish(server, "alice", "1.0").startswith("403 " if b"bob" in content else "503 ")
    assert publish(server, "bob", "1.0").startswith("200 " if b"bob" in content else "503 ")
    assert (place.folder / ".pypiserver/owners/demo").read_bytes() == content


def test_the_owner_sees_it_at_every_pod(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "permissions.json"
    path.write_text(json.dumps({"rules": [rule("*", create=["alice", "bob"]), rule("open", read=["*"])]}))
    writer = place.start("writer", PERMISSIONS=str(path))
    reader = place.server("reader", ROLE="reader", PERMISSIONS=str(path)).start()

    def lists(server: Server, user: str) -> bool:
        headers = {HEADER: Who(user, "publishers").written}
        return ">demo<" in requests.get(f"{server.url}/simple/", headers=headers, timeout=PATIENCE).text

    assert publish(writer, "alice", "1.0") == "200 OK"
    assert lists(writer, "alice")
    wait_for(lambda: lists(reader, "alice"), "the reader")
    assert not lists(writer, "bob")
    assert not lists(reader, "bob")


def test_while_the_store_is_away_nobody_gets_a_name(place: Place, rules: str) -> None:
    server = place.start(PERMISSIONS=rules)
    # Before the first look at the bucket no name is new, whatever the store does.
    assert publish(server, "alice", "1.0", "other") == "200 OK"
    place.way.be("refused")
    assert publish(server, "alice", "1.0").startswith("503 ")
    place.way.be("open")
    wait_for(lambda: publish(server, "bob", "1.0") == "200 OK", "the store")
    assert owner(place) == "bob"
    assert publish(server, "alice", "2.0") == "403 alice has no right to publish demo"


def test_a_server_that_is_none_any_more_gives_no_names(place: Place, rules: str) -> None:
    first = place.start("first", PERMISSIONS=rules)
    second = place.start("second", PERMISSIONS=rules)
    assert publish(second, "bob", "1.0") == "200 OK"
    assert publish(first, "alice", "2.0").startswith(("403 ", "503 "))
    assert publish(first, "alice", "2.0", "other").startswith("503 ")
    assert owner(place) == "bob"
    assert publish(second, "bob", "1.0", "other") == "200 OK"
