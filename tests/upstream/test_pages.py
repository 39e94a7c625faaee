"""What a public project looks like through the registry: all that its index says, with links that lead back here."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from urllib.parse import urldefrag, urljoin, urlsplit

import pytest

from certificates import Authority
from gateway_programs import make_wheel
from programs import wait_for
from public_files import listed
from public_index import PublicIndex, Trouble
from public_pages import HTML, JSON
from upstream_programs import AGENT, READER, registry

if TYPE_CHECKING:
    from pathlib import Path

    from public_files import PublicFile
    from upstream_programs import Registry, Start

DESCRIBED = ("filename", "hashes", "size", "requires-python", "core-metadata")


class Links(HTMLParser):
    """The links of a page, and what its head says."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[dict[str, str | None]] = []
        self.head: dict[str | None, str | None] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found.append(dict(attrs))
        elif tag == "meta":
            self.head[dict(attrs).get("name")] = dict(attrs).get("content")


def rich_project(index: PublicIndex, name: str) -> list[PublicFile]:
    """A project that has all that a page can say."""
    old = index.add(name, "1.0", requires_python=">=3.8", needs=["other>=1"])
    old.yanked = 'broken <on> "Tuesdays"'
    new = index.add(name, "2.0")
    new.provenance = json.dumps({"version": 1, "attestation_bundles": []}).encode()
    withdrawn = index.add(name, "1.5")
    withdrawn.yanked = True
    index.projects[name].status = "deprecated"
    index.projects[name].reason = "use poor"
    return [old, new, withdrawn, index.add_sdist(name, "2.0")]


def test_json_says_what_the_index_says(pod: Registry, shared_index: PublicIndex) -> None:
    files = rich_project(shared_index, "rich-json")
    for _ in range(2):
        page = pod.page("rich-json")
        assert page["meta"]["api-version"].split(".")[0] == "1"
        assert page["name"] == "rich-json"
        assert set(page["versions"]) == {"1.0", "1.5", "2.0"}
        assert page["project-status"] == {"status": "deprecated", "reason": "use poor"}
        shown = {file["filename"]: file for file in page["files"]}
        assert set(shown) == {file.name for file in files}
        for file in files:
            line = shown[file.name]
            assert line["hashes"] == {"sha256": file.sha256}
            assert line["size"] == file.size
            assert line.get("requires-python") == file.requires_python
            assert line.get("yanked", False) == file.yanked
            assert line.get("core-metadata", False) == (file.metadata_hashes or False)
            assert file.uploaded
            assert line["upload-time"].startswith(file.uploaded.strftime("%Y-%m-%dT%H:%M:%S"))
            assert bool(line.get("provenance")) == bool(file.provenance)
    assert len(shared_index.requests("/simple/rich-json/")) == 1


def test_html_says_what_the_index_says(pod: Registry, shared_index: PublicIndex) -> None:
    files = rich_project(shared_index, "rich-html")
    for _ in range(2):
        answer = pod.get("/simple/rich-html/")
        assert answer.headers["Content-Type"].startswith("text/html")
        page = Links(answer.text)
        assert page.head["pypi:repository-version"]
        assert page.head["pypi:project-status"] == "deprecated"
        assert page.head["pypi:project-status-reason"] == "use poor"
        shown = {urlsplit(link["href"] or "").path.rpartition("/")[2]: link for link in page.found}
        assert set(shown) == {file.name for file in files}
        for file in files:
            link = shown[file.name]
            assert urldefrag(link["href"] or "").fragment == f"sha256={file.sha256}"
            assert link.get("data-requires-python") == file.requires_python
            yanked = None if file.yanked is False else file.yanked if isinstance(file.yanked, str) else ""
            assert link.get("data-yanked") == yanked
            expected = f"sha256={file.metadata_hashes['sha256']}" if file.metadata else None
            assert link.get("data-core-metadata") == expected
            assert ("data-provenance" in link) == bool(file.provenance)


def test_an_index_that_has_nothing_but_html(tmp_path: Path) -> None:
    with PublicIndex(tmp_path, html_only=True) as index, registry(tmp_path / "pod", index) as pod:
        files = rich_project(index, "rich")
        shown = {file["filename"]: file for file in pod.page("rich")["files"]}
        assert set(shown) == {file.name for file in files}
        for file in files:
            line = shown[file.name]
            assert line["hashes"] == {"sha256": file.sha256}
            assert line.get("requires-python") == file.requires_python
            assert line.get("yanked", False) == file.yanked
            assert line.get("core-metadata", False) == (file.metadata_hashes or False)
            assert pod.fetch("rich", file.name).content == file.content.read_bytes()  # type: ignore[union-attr]
        assert 'href="' in pod.get("/simple/rich/").text


@pytest.mark.parametrize("accept", [JSON, HTML, "text/html"])
def test_every_link_leads_back(pod: Registry, shared_index: PublicIndex, accept: str) -> None:
    name = f"rich-{len(accept)}"
    rich_project(shared_index, name)
    answer = pod.get(f"/simple/{name}/", Accept=accept)
    assert answer.headers["Content-Type"].partition(";")[0] in {accept, "text/html"}
    assert str(shared_index.pages.port) not in answer.text
    assert str(shared_index.files.port) not in answer.text
    if accept == JSON:
        addresses = [each for file in answer.json()["files"] for each in (file["url"], file.get("provenance")) if each]
    else:
        links = Links(answer.text).found
        addresses = [each for link in links for each in (link["href"], link.get("data-provenance")) if each]
    assert len(addresses) == 5
    for address in addresses:
        whole = urljoin(f"{pod.gateway.url}/simple/{name}/", address)
        assert urlsplit(whole).port == pod.gateway.port
        assert pod.get(urlsplit(whole).path).status_code == 200


def test_metadata_and_provenance_come_through(pod: Registry, shared_index: PublicIndex) -> None:
    file = rich_project(shared_index, "rich-metadata")[1]
    for _ in range(2):
        metadata = pod.get(f"{pod.address('rich-metadata', file.name)}.metadata")
        assert metadata.content == file.metadata
        assert hashlib.sha256(metadata.content).hexdigest() == file.metadata_hashes["sha256"]
    assert pod.get(f"{pod.address('rich-metadata', file.name)}.provenance").content == file.provenance
    assert len(shared_index.requests(r"/rich_metadata.*\.metadata$")) == 1
    assert shared_index.requests(r"/rich_metadata.*\.whl$") == []


def test_the_form_that_pip_and_uv_ask_for_comes_from_a_file(start: Start, index: PublicIndex) -> None:
    index.add("common", "1.0")
    pod = start()
    pip = f"{JSON}, {HTML}; q=0.1, text/html; q=0.01"
    for _ in range(3):
        assert pod.get("/simple/common/", Accept=pip).json()["name"] == "common"
    pod.server.kill()
    pod.upstream.kill()
    answer = pod.get("/simple/common/", Accept=pip)
    assert answer.json()["name"] == "common"
    assert pod.get("/simple/common/", Accept=pip, If_None_Match=answer.headers["ETag"]).status_code == 304


@pytest.mark.parametrize("spelling", ["Some.Name", "some_name", "SOME-NAME", "some--name", "some-_.name"])
def test_other_spellings_are_redirected_here(pod: Registry, shared_index: PublicIndex, spelling: str) -> None:
    shared_index.add("some-name", "1.0")
    answer = pod.get(f"/simple/{spelling}/")
    assert (answer.status_code, answer.headers["Location"]) == (301, "/simple/some-name/")
    assert shared_index.page_requests("some-name") == []


def test_what_nobody_has_is_missing(pod: Registry, shared_index: PublicIndex) -> None:
    for _ in range(5):
        assert pod.get("/simple/nowhere/").status_code == 404
    assert len(shared_index.page_requests("nowhere")) == 1


def test_a_page_is_revalidated(start: Start, index: PublicIndex) -> None:
    index.add("moving", "1.0")
    pod = start(page_seconds=1)
    assert len(pod.names("moving")) == 1
    wait_for(
        lambda: pod.page("moving") and len(index.requests("/simple/moving/")) == 2, "the question whether it changed"
    )
    assert [each.status for each in index.requests("/simple/moving/")] == [200, 304]
    index.add("moving", "2.0")
    wait_for(lambda: len(pod.names("moving")) == 2, "the new file")


def test_the_project_that_is_gone_is_gone(start: Start, index: PublicIndex) -> None:
    index.add("leaving", "1.0")
    pod = start(page_seconds=1)
    assert pod.names("leaving")
    del index.projects["leaving"]
    wait_for(lambda: pod.get("/simple/leaving/").status_code == 404, "the end of the project")


def test_several_indexes_are_asked_in_their_order(tmp_path: Path) -> None:
    with PublicIndex(tmp_path / "1") as first, PublicIndex(tmp_path / "2") as second:
        first.add("both", "1.0")
        second.add("both", "9.0")
        second.add("later", "1.0")
        with registry(tmp_path / "pod", first, second) as pod:
            assert pod.names("both") == {"both-1.0-py3-none-any.whl"}
            assert second.page_requests("both") == []
            assert pod.names("later") == {"later-1.0-py3-none-any.whl"}
            assert pod.fetch("later", "later-1.0-py3-none-any.whl").status_code == 200
            # The first may be the one that has it.
            first.go_away()
            second.add("another", "1.0")
            assert pod.get("/simple/another/").status_code == 503
            assert second.page_requests("another") == []


def test_tls_by_an_authority_of_its_own(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with PublicIndex(tmp_path, authority=authority) as index:
        file = index.add("trusted", "1.0")
        with registry(tmp_path / "pod", index, authority=authority) as pod:
            assert pod.names("trusted") == {file.name}
            assert pod.fetch("trusted", file.name).status_code == 200
        (tmp_path / "other").mkdir()
        with registry(tmp_path / "pod2", index, authority=Authority(tmp_path / "other")) as pod:
            refused = pod.get("/simple/trusted/")
            assert refused.status_code == 503
            assert "certificate" in refused.text.lower()


def test_credentials_reach_the_index_and_nobody_else(tmp_path: Path) -> None:
    credentials = ("somebody", "public-secret")
    with PublicIndex(tmp_path, credentials=credentials) as index:
        file = index.add("closed", "1.0")
        with registry(tmp_path / "pod", index) as pod:
            assert pod.names("closed") == {file.name}
            assert pod.fetch("closed", file.name).status_code == 200
            for asked in index.asked:
                assert ("Authorization" in asked.headers) == (asked.host == "pages")
                # Those of whoever asks the registry stay here.
                assert READER[1] not in str(asked.headers)
            assert "public-secret" not in pod.upstream.log + pod.server.log
            # A renewed Secret counts without a restart.
            index.credentials = ("somebody", "another-secret")
            index.add("closed-too", "1.0")
            assert pod.get("/simple/closed-too/").status_code != 200
            pod.upstream.authenticate("public", index.credentials)
            index.add("closed-no-more", "1.0")
            assert pod.names("closed-no-more")


def test_files_beside_their_pages(pod: Registry, shared_index: PublicIndex) -> None:
    file = shared_index.add("beside", "1.0")
    file.url = f"../../packages/{file.sha256[:2]}/{file.sha256[2:]}/{file.name}"
    assert pod.fetch("beside", file.name).content == file.content.read_bytes()  # type: ignore[union-attr]


def test_redirections_within_the_index(pod: Registry, shared_index: PublicIndex) -> None:
    file = shared_index.add("moved", "1.0")
    shared_index.trouble("/simple/first/$", Trouble(status=302, headers={"Location": "/simple/moved/"}))
    true = shared_index.file_url(file)
    file.url = f"{shared_index.files.url}/old/{file.name}"
    shared_index.trouble("^/old/", Trouble(status=301, headers={"Location": true}))
    assert pod.fetch("moved", file.name).content == file.content.read_bytes()  # type: ignore[union-attr]


def test_who_asks_the_indexes(pod: Registry, shared_index: PublicIndex) -> None:
    file = shared_index.add("asked", "1.0")
    pod.gateway.get(pod.address("asked", file.name), *READER, User_Agent="pip/26 {secret}", Cookie="a=b")
    for asked in shared_index.page_requests("asked"):
        assert asked.headers["User-Agent"].startswith(AGENT)
        assert not {"Cookie", "X-Forwarded-For", "X-Request-ID"} & set(asked.headers)


def test_reads_need_credentials_as_ever(pod: Registry, shared_index: PublicIndex) -> None:
    file = shared_index.add("guarded", "1.0")
    address = pod.address("guarded", file.name)
    assert pod.get(address).status_code == 200
    shared_index.forget()
    for path in ("/simple/guarded/", "/simple/unknown/", address, f"{address}.metadata", "/upstream/guarded/hidden"):
        for user in ((), ("reader", "guess")):
            assert pod.gateway.get(path, *user).status_code == 401
    assert shared_index.page_requests("guarded") == []
    assert shared_index.page_requests("unknown") == []


@pytest.mark.parametrize("path", ["/-/upstream/file/a/b", "/-/upstream/hidden/a", "/-/upstream/a/b", "/-/public"])
def test_the_ways_inside_are_closed(pod: Registry, path: str) -> None:
    assert pod.get(path).status_code == 404


def test_the_list_of_projects_is_that_of_our_own(pod: Registry, shared_index: PublicIndex, tmp_path: Path) -> None:
    shared_index.add("public-one", "1.0")
    assert pod.upload(make_wheel(tmp_path, "own", "1.0")).status_code == 200
    assert pod.names("public-one")
    assert [each["name"] for each in pod.get("/simple/", Accept=JSON).json()["projects"]] == ["own"]


def test_a_project_of_ten_thousand_files(pod: Registry, shared_index: PublicIndex) -> None:
    for number in range(10_000):
        shared_index.put("many", listed("many", f"1.{number}")).yanked = "x" * 3_600
    answer = None

    def comes() -> bool:
        nonlocal answer
        # Whoever asks first may be told to come again.
        answer = pod.get("/simple/many/", Accept=JSON)
        return answer.status_code == 200

    wait_for(comes, "the page")
    assert answer is not None
    assert len(answer.json()["files"]) == 10_000
    assert len(shared_index.page_requests("many")) == 1


def test_a_page_is_asked_for_once_however_many_want_it(pod: Registry, shared_index: PublicIndex) -> None:
    shared_index.add("wanted", "1.0")
    held = shared_index.trouble("/wanted/$", Trouble(hold_at=0))
    with ThreadPoolExecutor(50) as pool:
        answers = [pool.submit(pod.get, "/simple/wanted/", Accept=JSON) for _ in range(20)]
        wait_for(lambda: shared_index.requests("/simple/wanted/"), "the question")
        held.go.set()
        assert {answer.result().status_code for answer in answers} == {200}
    assert len(shared_index.requests("/simple/wanted/")) == 1


def test_what_a_resolver_asks_for_next_comes_with_the_page(pod: Registry, shared_index: PublicIndex) -> None:
    for version in ("10.0", "2.0", "11.0", "12.0rc1"):
        shared_index.add("foreseen", version)
    shared_index.projects["foreseen"].files[2].yanked = True
    (sought,) = (file for file in shared_index.projects["foreseen"].files if file.version == "10.0")
    pod.page("foreseen")
    kept = f"foreseen/{sought.sha256}/{sought.name}.metadata"
    wait_for((pod.upstream.cache / "files" / kept).exists, "METADATA")
    (asked,) = shared_index.requests("foreseen.*metadata$")
    assert f"/{sought.name}.metadata" in asked.path


@pytest.mark.parametrize("metadata", [True, False])
def test_of_what_is_for_some_platforms_nothing_comes_with_the_page(
    pod: Registry, shared_index: PublicIndex, metadata: bool
) -> None:
    project = f"unforeseen-{metadata}".lower()
    shared_index.add(project, "1.0")
    newest = shared_index.add(project, "2.0")
    if metadata:
        newest.name = newest.name.replace("-any", "-linux_x86_64")
    else:
        newest.metadata, newest.metadata_hashes = None, {}
    pod.page(project)
    # What is begun with this page comes after what would have been with that one.
    shared_index.add(f"after-{project}", "1.0")
    pod.page(f"after-{project}")
    wait_for(lambda: shared_index.requests(f"after.*{newest.name[:10]}.*metadata$"), "METADATA of the second")
    assert [each.path for each in shared_index.requests("metadata$") if "/unforeseen" in each.path] == []
