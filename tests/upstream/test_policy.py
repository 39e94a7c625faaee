"""The policy for a supply chain: what it hides is on no page and at no address, and is said to be hidden."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urljoin

import pytest

from programs import wait_for
from public_files import listed
from public_pages import JSON

if TYPE_CHECKING:
    from public_files import PublicFile
    from public_index import PublicIndex
    from upstream_programs import Registry, Start


def hidden(pod: Registry, project: str) -> dict[str, str]:
    """What a reader is told is hidden, and of which kind."""
    answer = pod.get(f"/upstream/{project}/hidden")
    assert answer.status_code == 200
    return {each["filename"]: each["kind"] for each in answer.json()["hidden"]}


def assert_only(pod: Registry, project: str, shown: list[PublicFile], others: dict[PublicFile, str]) -> None:
    """Some files are there in either form; the others are nowhere, and it is said why."""
    for _ in range(2):
        for accept in (JSON, "text/html"):
            answer = pod.get(f"/simple/{project}/", Accept=accept)
            assert answer.status_code == 200
            for file in shown:
                assert file.name in answer.text
            for file in others:
                assert file.name not in answer.text
            address = urljoin(f"/simple/{project}/", answer.headers["X-Hidden-Files"])
            assert address == f"/upstream/{project}/hidden"
    for file in shown:
        assert pod.fetch(project, file.name).status_code == 200
    for file in others:
        answer = pod.get(f"/upstream/{project}/{file.sha256}/{file.name}")
        assert answer.status_code in {403, 404}
        assert file.name in answer.text
    assert hidden(pod, project) == {file.name: kind for file, kind in others.items()}
    for kind in others.values():
        metric = f'pypiserver_upstream_hidden_files_total{{reason="{kind}"}}'
        assert pod.upstream.metrics()[metric] >= list(others.values()).count(kind)


def test_files_that_are_too_young(start: Start, index: PublicIndex) -> None:
    old, young, undated = (index.add("aged", version) for version in ("1.0", "2.0", "3.0"))
    young.age(6.9)
    undated.uploaded = None
    index.add("exempt", "1.0").age(0)
    pod = start(minimum_age_days=7, no_minimum_age=["Exempt"])
    assert_only(pod, "aged", [old], {young: "age", undated: "age"})
    assert len(pod.names("exempt")) == 1
    assert "X-Hidden-Files" not in pod.get("/simple/exempt/").headers
    assert hidden(pod, "exempt") == {}


def test_a_file_is_listed_when_it_is_old_enough(start: Start, index: PublicIndex) -> None:
    seconds = 8.0
    old, young = index.add("aging", "1.0"), index.add("aging", "2.0")
    young.age(1.0 - seconds / 86_400)
    pod = start(minimum_age_days=1, page_seconds=1)
    assert pod.names("aging") == {old.name}
    # Its index says nothing new meanwhile: what is known is looked at again.
    wait_for(lambda: pod.names("aging") == {old.name, young.name}, "the file to be old enough", patience=40)


def test_names_and_versions_that_are_denied(start: Start, index: PublicIndex) -> None:
    good, bad = index.add("django", "4.2"), index.add("django", "5.0")
    before = index.add("django", "5.0rc1")
    index.add("leftpad", "1.0")
    pod = start(deny=["leftpad", "Django>=5.0rc1"])
    assert_only(pod, "django", [good], {bad: "denied", before: "denied"})
    refused = pod.get("/simple/leftpad/")
    assert refused.status_code == 403
    assert "leftpad" in refused.text
    assert index.page_requests("leftpad") == []


def test_names_and_versions_that_alone_are_allowed(start: Start, index: PublicIndex) -> None:
    good, bad = index.add("django", "4.2"), index.add("django", "5.0")
    index.add("requests", "1.0")
    index.add("typosquat", "1.0")
    pod = start(allow=["requests", "django>=4,<5"])
    assert_only(pod, "django", [good], {bad: "denied"})
    assert pod.names("requests")
    assert pod.get("/simple/typosquat/").status_code == 403
    assert index.page_requests("typosquat") == []
    # Both count where a name is in either list.


def test_files_without_a_hash(start: Start, index: PublicIndex) -> None:
    good, bare, weak = (index.add("hashed", version) for version in ("1.0", "2.0", "3.0"))
    bare.hashes = {}
    weak.hashes = {"md5": "0" * 32}
    assert_only(start(), "hashed", [good], {bare: "hash", weak: "hash"})


def test_files_of_hosts_that_nobody_has_named(start: Start, index: PublicIndex) -> None:
    here, elsewhere = index.add("hosted", "1.0"), index.add("hosted", "2.0")
    elsewhere.url = f"http://files.example.org/{elsewhere.name}"
    assert_only(start(), "hosted", [here], {elsewhere: "host"})


def test_a_project_in_quarantine(start: Start, index: PublicIndex) -> None:
    file = index.add("suspect", "1.0")
    index.projects["suspect"].status = "quarantined"
    index.projects["suspect"].reason = "malware"
    pod = start()
    answer = pod.get("/simple/suspect/", Accept=JSON)
    assert file.name not in answer.text
    assert pod.get(f"/upstream/suspect/{file.sha256}/{file.name}").status_code in {403, 404}
    assert hidden(pod, "suspect") == {file.name: "quarantined"}


def test_a_project_that_comes_into_quarantine_while_its_files_are_kept(start: Start, index: PublicIndex) -> None:
    file = index.add("turned", "1.0")
    pod = start(page_seconds=1)
    assert pod.fetch("turned", file.name).status_code == 200
    index.projects["turned"].status = "quarantined"
    wait_for(lambda: file.name not in pod.get("/simple/turned/", Accept=JSON).text, "the quarantine")


@pytest.mark.parametrize("rules", [{"deny": ["once"]}, {"allow": ["other"]}, {"deny": ["once<2"]}])
def test_what_is_kept_goes_when_the_rules_change(start: Start, index: PublicIndex, rules: dict[str, list[str]]) -> None:
    file = index.add("once", "1.0")
    pod = start()
    path = pod.address("once", file.name)
    assert pod.get(path).status_code == 200
    wait_for(lambda: pod.upstream.files, "the file in the cache")
    for program in (pod.server, pod.upstream):
        program.kill()
    pod.upstream.configure(**rules)
    pod.upstream.start()
    pod.server.start()
    assert pod.get(path).status_code == 403
    assert pod.upstream.files == []


def test_a_name_that_becomes_private_is_not_served_from_what_is_kept(start: Start, index: PublicIndex) -> None:
    file = index.add("acme-late", "1.0")
    pod = start()
    assert pod.fetch("acme-late", file.name).status_code == 200
    for program in (pod.server, pod.upstream):
        program.kill()
    pod.upstream.configure(private_names=["acme-*"])
    index.forget()
    pod.upstream.start()
    pod.server.start()
    for path in ("/simple/acme-late/", f"/upstream/acme-late/{'0' * 64}/{file.name}"):
        assert pod.get(path).status_code == 404
    assert index.asked == []


def test_withdrawn_files_are_listed_as_such(start: Start, index: PublicIndex) -> None:
    file = index.put("withdrawn", listed("withdrawn", "1.0"))
    file.yanked = "it deletes everything"
    assert start().page("withdrawn")["files"][0]["yanked"] == file.yanked


def test_who_may_see_what_is_hidden(start: Start, index: PublicIndex) -> None:
    index.add("hashed", "1.0").hashes = {}
    pod = start(private_names=["acme-*"])
    assert hidden(pod, "hashed")
    assert pod.gateway.get("/upstream/hashed/hidden").status_code == 401
    assert pod.get("/upstream/acme-tool/hidden").status_code == 404
    assert pod.get("/upstream/nowhere/hidden").status_code == 404
