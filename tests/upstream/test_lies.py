"""Indexes that lie: of what they say nothing is served, nothing is kept, and nobody else notices."""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import requests

import public_lies
from programs import wait_for
from public_index import Answer, PublicIndex, Trouble
from public_lies import BROKEN, document, file, page
from public_pages import JSON, PLAIN_HTML
from upstream_programs import MOST_MEMORY, Registry, registry
from vitals import MEBIBYTE

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    directory = tmp_path_factory.mktemp("lies")
    with PublicIndex(directory) as index, registry(directory / "pod", index) as pod:
        index.add("honest", "1.0")
        yield pod


def kept(pod: Registry, project: str) -> list[str]:
    """The files that say anything of a project."""
    places = (pod.server.pages, pod.upstream.cache)
    return [str(path) for place in places for path in place.rglob("*") if path.stem == project]


@pytest.mark.parametrize("kind", BROKEN)
def test_nothing_of_a_broken_page_is_served_or_kept(victim: Registry, kind: str) -> None:
    project = "liar-" + kind.replace(" ", "-").lower()
    victim.index.lies[project] = lambda: BROKEN[kind](project)
    answers = []

    def is_refused() -> bool:
        # One that does not end is read for longer than a client waits, who is told to come again.
        answers.append(victim.get(f"/simple/{project}/", Accept=JSON))
        return bool(victim.upstream.lines(rf"\b{project}\b"))

    wait_for(is_refused, "the line in the log", patience=60)
    answers += [victim.get(f"/simple/{project}/"), victim.get(f"/simple/{project}/", Accept=JSON)]
    for answer in answers:
        assert answer.status_code in {502, 503}, (answer.status_code, answer.text[:200])
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert len(answer.content) < 1_000
    assert kept(victim, project) == []
    assert victim.names("honest")
    assert victim.upstream.peak < MOST_MEMORY
    asked = len(victim.index.page_requests(project))
    assert len(victim.upstream.lines(rf"\b{project}\b")) <= asked


def test_a_header_without_end(victim: Registry) -> None:
    victim.index.lies["headed"] = lambda: Answer(200, {"Content-Type": JSON, "X-Padding": "x" * 300_000}, b"{}")
    answer = victim.get("/simple/headed/")
    assert answer.status_code == 503
    assert victim.upstream.lines("header")
    assert kept(victim, "headed") == []
    # It counts as one that does not answer, and is left alone for a moment.
    victim.index.add("unheaded", "1.0")
    wait_for(lambda: victim.get("/simple/unheaded/").status_code == 200, "the index to be asked again")


ELSEWHERE: dict[str, str] = {
    "another host": "https://evil.example.org/{name}",
    "another port": "http://127.0.0.1:9/{name}",
    "a file": "file:///etc/passwd#{name}",
    "a file of this machine": "file://localhost/etc/{name}",
    "a script": "javascript:alert(1)//{name}",
    "data": "data:text/plain,{name}",
    "FTP": "ftp://127.0.0.1/{name}",
    "no scheme": "//evil.example.org/{name}",
    "the cloud's metadata": "http://169.254.169.254/latest/{name}",
    "credentials": "http://user:password@127.0.0.1:{files}/{name}",
    "a host that begins like ours": "http://127.0.0.1:{files}.evil.example.org/{name}",
    "a host in the credentials": "http://127.0.0.1:{files}@evil.example.org/{name}",
    "a line break": "http://127.0.0.1:{files}/\r\nHost: evil/{name}",
    "IPv6": "http://[::1]:{files}/{name}",
    "a number": "http://2130706433:1/{name}",
    "a port that is none": "http://127.0.0.1:port/{name}",
    "the sidecar": "http://127.0.0.1:{sidecar}/metrics?{name}",
    "the server": "http://127.0.0.1:{server}/simple/?{name}",
}
"""Links that lead to where nobody may be led, by what is wrong with them."""


@pytest.mark.parametrize("form", [JSON, PLAIN_HTML])
@pytest.mark.parametrize("kind", ELSEWHERE)
def test_a_page_cannot_lead_elsewhere(victim: Registry, kind: str, form: str) -> None:
    project = f"led-{kind}-{form[:4]}".replace(" ", "-").replace("'", "").lower()
    ports = {"files": victim.index.files.port, "sidecar": victim.upstream.port, "server": victim.server.port}
    sound = victim.index.add(project, "2.0")
    name = f"{project.replace('-', '_')}-1.0-py3-none-any.whl"
    url = ELSEWHERE[kind].format(name=name, **ports)
    if form == JSON:
        true = file(project, victim.index.file_url(sound), filename=sound.name, hashes=sound.hashes, size=sound.size)
        body = document(project, file(project, url), true)
    else:
        true_link = f'<a href="{victim.index.file_url(sound)}#sha256={sound.sha256}">{sound.name}</a>'
        body = f'<a href="{url}#sha256={public_lies.DIGEST}">{name}</a>\n{true_link}'.encode()
    victim.index.lies[project] = lambda: page(body, form)
    assert victim.names(project) == {sound.name}
    for text in (victim.get(f"/simple/{project}/").text, victim.get(f"/simple/{project}/", Accept=JSON).text):
        assert name not in text
        assert "evil" not in text
    answer = victim.get(f"/upstream/{project}/{public_lies.DIGEST}/{name}")
    assert answer.status_code in {403, 404}
    assert victim.fetch(project, sound.name).status_code == 200


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:{server}/simple/",
        "http://localhost:{files}/packages/",
        "http://169.254.169.254/latest/meta-data/",
        "https://evil.example.org/",
        "file:///etc/passwd",
        "//evil.example.org/",
        "gopher://127.0.0.1/",
        "http://127.0.0.1:{pages}/simple/{project}/",
        "",
    ],
)
def test_a_redirection_cannot_lead_elsewhere(victim: Registry, location: str) -> None:
    index = victim.index
    project = f"redirected{abs(hash(location))}"
    ports = {"files": index.files.port, "pages": index.pages.port, "server": victim.server.port, "project": project}
    headers = {"Location": location.format(**ports)}
    found = index.add(f"{project}-file", "1.0")
    assert victim.names(f"{project}-file")
    count = len(index.asked)
    index.trouble(f"/simple/{project}/", Trouble(status=302, headers=headers))
    index.trouble(f"/packages/.*/{project}_file", Trouble(status=302, headers=headers))
    for answer in (victim.get(f"/simple/{project}/"), victim.fetch(f"{project}-file", found.name)):
        assert answer.status_code in {502, 503}, answer.text
        assert answer.headers["Content-Type"].startswith("text/plain")
    # Six for each time that one of the two is tried, and what is slow may be tried again.
    assert len(index.asked) - count <= 60, "a redirection without end"
    assert not victim.upstream.files or all(found.name != each.name for each in victim.upstream.files)
    index.trouble_is_over()


@pytest.mark.parametrize(
    "changed",
    [
        {"filename": "<script>alert(1)</script>-1.0-py3-none-any.whl"},
        {"filename": "../../../etc/cron.d/{stem}-1.0.tar.gz"},
        {"filename": "{stem}-1.0-py3-none-any.whl\n"},
        {"filename": "{stem}-1.0-py3-none-any.whl\x00.txt"},
        {"filename": ".{stem}-1.0-py3-none-any.whl"},
        {"filename": "{stem}-1.0-py3-none-any.whl/../x"},
        {"filename": "{stem}-1.0-py3-none-any.whl.metadata"},
        {"filename": "{stem}-1.0.html"},
        {"filename": "{stem}-" + "1" * 300 + "-py3-none-any.whl"},
        {"filename": "other-1.0-py3-none-any.whl"},
        {"filename": None},
        {"filename": ["{stem}-1.0-py3-none-any.whl"]},
        {"hashes": {}},
        {"hashes": {"md5": "0" * 32}},
        {"hashes": {"sha256": "../../etc/passwd"}},
        {"hashes": {"sha256": "0" * 63}},
        {"hashes": {"sha256": ["0" * 64]}},
        {"hashes": "0" * 64},
        {"url": None},
        {"url": {"http": "x"}},
    ],
)
def test_a_file_that_can_be_none_is_left_out(victim: Registry, changed: dict[str, Any]) -> None:
    project = f"odd{abs(hash(repr(changed)))}"
    changed = {
        key: value.replace("{stem}", project) if isinstance(value, str) else value for key, value in changed.items()
    }
    url = f"{victim.index.files.url}/x.whl"
    sound = file(project, url, filename=f"{project}-2.0-py3-none-any.whl")
    victim.index.lies[project] = lambda: page(document(project, {**file(project, url), **changed}, sound))
    assert victim.names(project) == {sound["filename"]}
    text = victim.get(f"/simple/{project}/").text
    assert text.count("<a ") == 1
    assert "script" not in text


def test_text_that_would_be_markup(victim: Registry) -> None:
    script = '"><script>alert(1)</script>\r\n<!--'
    url = f"{victim.index.files.url}/x.whl"
    texts = {"requires-python": script, "yanked": script, "upload-time": script, "provenance": script}
    status = {"status": "archived", "reason": script}
    body = document("marked", {**file("marked", url), **texts}, **{"project-status": status})
    victim.index.lies["marked"] = lambda: page(body)
    for _ in range(2):
        text = victim.get("/simple/marked/").text
        assert "<script" not in text
        assert "<!--" not in text
        assert text.count("<a ") == 1
        assert "\r" not in text
    assert victim.page("marked")["files"][0]["filename"] == "marked-1.0-py3-none-any.whl"


STATUS = {"project-status": {"status": "x", "reason": 1}}


def test_odd_values_of_known_fields(victim: Registry) -> None:
    url = f"{victim.index.files.url}/x.whl"
    odd = {
        "size": -1,
        "requires-python": 3,
        "yanked": {"a": 1},
        "upload-time": 7,
        "core-metadata": "yes",
        "gpg-sig": [],
    }
    victim.index.lies["odd"] = lambda: page(
        document("odd", {**file("odd", url), **odd}, **{"project-status": {"status": "x"}})
    )
    (shown,) = victim.page("odd")["files"]
    assert shown.get("size", 0) is None or shown.get("size", 0) >= 0
    assert not shown.get("core-metadata")
    assert shown.get("requires-python") is None
    assert victim.get("/simple/odd/").status_code == 200


@pytest.mark.parametrize("status", [400, 401, 403, 418, 500, 502, 504])
def test_an_answer_that_is_no_page_is_not_taken_for_an_end(victim: Registry, status: int) -> None:
    """Only 404 and 410 say that there is no such project: all else may be a fault."""
    project = f"fault{status}"
    victim.index.add(project, "1.0")
    victim.index.trouble(f"/{project}/", Trouble(status=status))
    answer = victim.get(f"/simple/{project}/")
    assert answer.status_code in {502, 503}
    assert str(status) in answer.text
    victim.index.trouble_is_over()
    if status >= 500:
        wait_for(lambda: victim.get(f"/simple/{project}/").status_code == 200, "the project")


def test_a_page_that_is_cut_is_not_served(victim: Registry) -> None:
    for number in range(200):
        victim.index.add("cut", f"1.{number}")
    trouble = Trouble(cut_at=1_000)
    victim.index.trouble("/cut/", trouble)
    answer = victim.get("/simple/cut/", Accept=JSON)
    assert answer.status_code in {502, 503}
    assert answer.headers["Retry-After"]
    victim.index.trouble_is_over()
    wait_for(lambda: victim.get("/simple/cut/").status_code == 200, "the whole page")
    assert len(victim.names("cut")) == 200


def test_an_address_that_nobody_can_answer_for(victim: Registry) -> None:
    for path in (
        "/upstream/honest/hidden/x",
        "/upstream/honest/" + "0" * 64 + "/",
        "/upstream/honest/" + "0" * 64 + "/.whl",
        "/upstream/honest/" + "g" * 64 + "/honest-1.0-py3-none-any.whl",
        "/upstream/-/" + "0" * 64 + "/x-1.0.zip",
        "/upstream/honest/" + "0" * 64 + "/honest-1.0-py3-none-any.whl",
        "/upstream/honest/" + "0" * 64 + "/honest-1.0-py3-none-any.whl%00",
        "/upstream/honest/" + "0" * 64 + "/%2e%2e/x",
        "/upstream/",
        "/upstream/honest/",
        "/upstream/files/honest",
        "/upstream/../projects/honest",
    ):
        assert victim.get(path).status_code in {303, 400, 404}, path


def test_headers_of_an_index_stay_there(victim: Registry) -> None:
    project = "headers"
    headers = {"Set-Cookie": "a=b", "X-Accel-Redirect": "/etc/passwd", "X-Hidden": "9", "Content-Security-Policy": "x"}
    body = document(project, file(project, f"{victim.index.files.url}/x.whl"))
    victim.index.lies[project] = lambda: Answer(200, {"Content-Type": JSON, **headers}, body)
    answer = victim.get(f"/simple/{project}/", Accept=JSON)
    assert answer.status_code == 200
    assert not set(headers) & set(answer.headers)


def test_a_link_says_where_it_is_kept(victim: Registry) -> None:
    (line,) = victim.page("honest")["files"]
    assert urlsplit(line["url"]).netloc == ""
    assert line["hashes"]["sha256"] in line["url"]


def test_a_provenance_without_end(victim: Registry) -> None:
    index, name = victim.index, "attested-1.0-py3-none-any.whl"
    index.lies["without-end"] = lambda: page(itertools.repeat(public_lies.ZEROS))
    described = file("attested", f"{index.files.url}/{name}", provenance=f"{index.url}without-end/")
    index.lies["attested"] = lambda: page(document("attested", described))
    assert victim.names("attested") == {name}
    answer = victim.get(f"/upstream/attested/{public_lies.DIGEST}/{name}.provenance")
    assert answer.status_code == 502
    assert len(answer.content) < 1_000
    assert victim.upstream.peak < MOST_MEMORY


@pytest.mark.parametrize("length", [{}, {"Content-Length": str(2**29)}])
def test_metadata_without_end(victim: Registry, length: dict[str, str]) -> None:
    index, project = victim.index, f"endless{len(length)}"
    name = f"{project}-1.0-py3-none-any.whl"
    index.lies[project + "-text"] = lambda: Answer(200, length, itertools.repeat(public_lies.ZEROS))
    url = f"{index.url}{project}-text/?of="
    index.lies[project] = lambda: page(document(project, file(project, url, **{"core-metadata": {"sha256": "1" * 64}})))
    others = victim.upstream.files
    path = f"/upstream/{project}/{public_lies.DIGEST}/{name}.metadata"
    with pytest.raises(requests.exceptions.ChunkedEncodingError) if not length else contextlib.nullcontext():
        assert victim.get(path).status_code == 502
    assert victim.upstream.lines(rf"{name}.metadata is not kept: it has more than {16 * MEBIBYTE}")
    assert victim.upstream.files == others
