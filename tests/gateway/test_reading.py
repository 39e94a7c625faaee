"""Reads by project: what somebody may not read is not there, in whatever way it is asked for."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cdk8s_pypiserver.base.config_files import runtime_files
from gateway_programs import Gateway, Recorder, Registry, Setup, make_sdist, make_wheel, registry, run
from permissions import ALICE, BOB, READER, publish, rule
from programs import wait_for
from server.access import token_lines
from server.access.token_lines import USER, Token
from server.access.who import Who
from server.index.names import name_and_version, normalised

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from server.access.who import Right


SECRET = (
    "/simple/acme-tools/",
    "/simple/acme%2Dtools/",
    "/simple/%61cme-tools/",
    "/packages/acme_tools-1.0-py3-none-any.whl",
    "/packages/acme_tools-1.0.tar.gz",
    "/packages/acme_tools-1.0.tar.gz.asc",
    "/packages/acme%5Ftools-1.0.tar.gz",
    "/packages/acme_tools-1.0-py3-none-any.whl.metadata",
    "/packages/nested/Acme.Nested-1.0-py3-none-any.whl",
    "/packages/nested/Acme.Nested-1.0-py3-none-any.whl.metadata",
    "/acme-tools/json",
)
PAGES = ("/simple/acme-tools/", "/simple/acme-nested/", "/simple/bobs/", "/simple/open-one/")
REDIRECTED = ("/simple/Acme_Tools/", "/ACME.tools/json")
PROVENANCE = "/packages/acme_tools-1.0-py3-none-any.whl.provenance"


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    directory = tmp_path_factory.mktemp("read")
    permissions = directory / "permissions.json"
    rules = [
        rule("acme-*", read=["token:ci"], publish=["alice"]),
        rule("bobs", publish=["bob"]),
        rule("*", read=["*"], excluding=["acme-*", "bobs"]),
    ]
    permissions.write_text(json.dumps({"rules": rules}))
    setup = Setup(permissions=True)
    with registry(directory, setup, environment={"PERMISSIONS": str(permissions), "RESCAN_SECONDS": "1"}) as found:
        for user in (ALICE, BOB):
            found.server.add_user("publishers", *user)
        for wheel in (make_wheel(directory, "acme_tools", "1.0"), make_sdist(directory, "acme_tools", "1.0")):
            assert publish(found, wheel, ALICE).ok
        assert publish(found, make_wheel(directory, "bobs", "1.0"), BOB).ok
        (found.server.packages / "nested").mkdir()
        make_wheel(found.server.packages / "nested", "Acme.Nested", "1.0")
        (found.server.packages / "acme_tools-1.0.tar.gz.asc").write_text("a signature")
        make_sdist(found.server.packages, "open_one", "1.0")
        wait_for(lambda: "open-one" in found.gateway.get("/simple/", *READER).text, "what was put there")
        yield found


@pytest.mark.parametrize("path", [*SECRET, *REDIRECTED, PROVENANCE])
def test_it_is_not_there(read: Registry, path: str) -> None:
    other = path.replace("ools", "ooks").replace("Nested-", "Nestee-").replace("nested/", "nestee/")
    assert other != path
    for method in ("GET", "HEAD"):
        answers = []
        for asked in (path, other):
            # Again, since verdicts are kept.
            for _ in range(2):
                answer = read.gateway.request(method, asked, *BOB)
                headers = {name: value for name, value in answer.headers.items() if name != "Date"}
                answers.append((answer.status_code, answer.reason, headers, answer.text))
        assert answers[0][0] == 404
        assert answers == [answers[0]] * 4


@pytest.mark.parametrize("path", [*SECRET, *REDIRECTED])
def test_it_is_there_for_whom_it_is(read: Registry, path: str) -> None:
    for _ in range(2):
        assert read.gateway.get(path, *ALICE).status_code == (301 if path in REDIRECTED else 200)
        assert read.gateway.get(path, *BOB).status_code == 404
        assert read.gateway.get(path).status_code == 401
        assert read.gateway.get(path, "bob", "wrong").status_code == 401


def test_nothing_known_of_it_helps(read: Registry) -> None:
    for path in ("/packages/acme_tools-1.0.tar.gz", "/simple/acme-tools/"):
        read.gateway.get(path, *ALICE)
        known = read.gateway.get(path, *ALICE)
        assert known.headers["Cache-Control"].startswith("private")
        tries = [
            {"If-None-Match": known.headers["ETag"]},
            {"If-None-Match": "*"},
            {"If-Modified-Since": known.headers["Last-Modified"]},
            {"Range": "bytes=0-10"},
            {"If-Range": known.headers["ETag"], "Range": "bytes=0-10"},
        ]
        for headers in tries:
            assert read.gateway.get(path, *BOB, **headers).status_code == 404
        assert read.gateway.get(path, *ALICE, **tries[0]).status_code == 304


def test_nobody_says_who_they_are_or_what_they_read(read: Registry) -> None:
    forged = Who("alice", "publishers").written
    headers = {"X-Who": forged, "X-Project": "bobs", "X-File": "bobs-1.0.tar.gz"}
    assert read.gateway.get("/simple/acme-tools/", *BOB, **headers).status_code == 404
    assert "acme" not in read.gateway.get("/simple/", *BOB, **headers).text
    for path in ("/-/auth/reading", "/projects/acme-tools.html", "/simple/bobs/?project=acme-tools"):
        assert "acme" not in read.gateway.get(path, *BOB).text


@pytest.mark.parametrize(
    ("who", "projects"),
    [(ALICE, ["acme-nested", "acme-tools", "open-one"]), (BOB, ["bobs", "open-one"]), (READER, ["open-one"])],
)
def test_lists_are_made_for_whom_they_are(read: Registry, who: tuple[str, str], projects: list[str]) -> None:
    for other in (ALICE, BOB, READER, ALICE):
        read.gateway.get("/simple/", *other)
        page = read.gateway.get("/simple/", *who)
        assert re.findall(r">([a-z-]+)</a>", page.text) == projects
        assert page.headers["Cache-Control"] == "private, no-cache"
    kind = "application/vnd.pypi.simple.v1+json"
    listed = read.gateway.get("/simple/", *who, Accept=kind).json()["projects"]
    assert [each["name"] for each in listed] == projects
    files = re.findall(r">([^<>]+)</a>", read.gateway.get("/packages/", *who).text)
    names = {normalised(re.split(r"-1\.0", file.rpartition("/")[2])[0]) for file in files}
    assert sorted(names) == projects
    # Of one of Alice's projects there are two packages and a signature.
    assert len(files) == len(projects) + 2 * (who == ALICE)
    assert f"serving {len(files)} packages" in " ".join(read.gateway.get("/", *who).text.split())
    assert not list(read.server.pages.glob("index*"))


def test_redirects_say_nothing(read: Registry) -> None:
    for name in ("acme-tools", "acme-none", "open-one"):
        answer = read.gateway.get(f"/simple/{name}", *BOB)
        assert (answer.status_code, answer.headers["Location"]) == (301, f"/simple/{name}/")


def test_clients(read: Registry, tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--no-cache-dir", "--no-deps"]
    uv = ["uv", "pip", "install", "--no-cache", "--python", sys.executable]
    for who, gets in ((ALICE, True), (BOB, False)):
        index = f"{read.gateway.url.replace('://', f'://{who[0]}:{who[1]}@')}/simple/"
        for command in (
            [*pip, "--only-binary=:all:", "--index-url", index, "-d", str(tmp_path / who[0])],
            [*uv, "--default-index", index, "--target", str(tmp_path / f"uv-{who[0]}")],
        ):
            done = run(tmp_path, *command, "acme-tools")
            assert (done.returncode == 0) == gets, done.stdout


def test_a_token_reads_what_both_its_rules_and_its_line_say(read: Registry) -> None:
    def readable(name: str, *projects: str, right: Right = "read") -> dict[str, int]:
        secret = token_lines.make(name)
        sha256 = token_lines.digest(secret)
        token = Token(name=name, sha256=sha256, rights=(right,), projects=projects, expires=None)
        with (read.server.credentials / "tokens").open("a") as file:
            file.write(f"{token.line}\n")
        who = (USER, secret)
        found = {path: read.gateway.get(path, *who).status_code for path in PAGES}
        assert set(re.findall(r">([a-z-]+)</a>", read.gateway.get("/simple/", *who).text)) == {
            path.split("/")[2] for path, status in found.items() if status == 200
        }
        return found

    assert readable("ci", "acme-tools", "bobs") == dict(zip(PAGES, (200, 404, 404, 404), strict=True))
    assert readable("other", "*") == dict(zip(PAGES, (404, 404, 404, 200), strict=True))
    assert readable("blind", "*", right="publish") == dict.fromkeys(PAGES, 403)


# As Python writes names of groups.
PROJECT_OF_FILE = [
    re.compile(re.sub(r"\(\?<(?=\w)", "(?P<", pattern))
    for pattern in re.findall(r'^  "~(.+)" \$\w+;$', runtime_files("gateway")["http-permissions.conf"], re.MULTILINE)
]
_WORDS = st.sampled_from(
    ["demo", "De.mo", "2", "1.0", "3d", "py3", "none", "any", "win32", "cp311", "egg", "-", "_", "a", "/"]
)
_ENDS = st.sampled_from([".whl", ".WHL", ".tar.gz", ".zip", ".exe", ".whl.asc", ".tar.gz.asc", "-py3.8.egg", ".egg"])


@given(st.lists(_WORDS, min_size=1, max_size=12), st.sampled_from(["", "-"]), _ENDS)
@example(["foo", "-", "1.0", "-", "py3", "-", "none"], "", ".whl")
@example(["foo", "-", "bar", "-", "1.0", "-", "2", "-", "py3", "-", "none", "-", "any"], "", ".whl")
@example(["foo", ".", "win32", "-", "py2.7"], "", ".tar.gz")
def test_the_gateway_takes_no_file_for_another_project(words: list[str], between: str, end: str) -> None:
    """What it reads from a name by itself, it asks about and keeps the answer to."""
    file = between.join(words).strip("/") + end
    for pattern in PROJECT_OF_FILE:
        if found := pattern.search(file):
            guess = name_and_version(file.rpartition("/")[2])
            assert guess
            assert normalised(found[1]) == normalised(guess[0])


@pytest.mark.parametrize("file", ["demo-1.0-1-py3-none-any.whl", "nested/demo-1.0.tar.gz.asc"])
def test_of_ordinary_names_the_gateway_reads_the_project_itself(file: str) -> None:
    assert [found[1] for pattern in PROJECT_OF_FILE if (found := pattern.search(file))] == ["demo"]


def test_a_verdict_is_about_all_files_of_a_project(tmp_path: Path) -> None:
    packages, pages = tmp_path / "packages", tmp_path / "pages"
    packages.mkdir()
    files = ["demo-1.0-py3-none-any.whl", "demo-1.1-py3-none-any.whl", "demo-1.0.tar.gz", "demo-1.0.tar.gz.asc"]
    other = ["Demo-1.0.tar.gz", "my-demo-1.0.zip"]
    for file in (*files, *other):
        (packages / file).write_text(file)
    setup = Setup(permissions=True)
    with (
        Recorder({"reader": ("read", "reading")}) as recorder,
        Gateway(tmp_path, recorder.port, packages=packages, pages=pages, setup=setup) as gateway,
    ):
        for file in (*files, *other):
            assert gateway.get(f"/packages/{file}", "reader", "read").text == file
        asked = [(each.headers.get("X-Project"), each.headers.get("X-File")) for each in recorder.received]
        assert asked == [("demo", None), ("Demo", None), (None, "my-demo-1.0.zip")]


@pytest.mark.parametrize(
    "begin", ["a-1" + "-" * 900, "a-1" + "-b" * 900, "a-1" + ".whl-" * 300, "a-" * 900, "a/" * 900]
)
def test_no_name_is_looked_at_for_long(tmp_path: Path, begin: str) -> None:
    """nginx ends a look after ten million steps, and says so; until then its worker's other clients have waited."""
    setup = Setup(permissions=True)
    with (
        Recorder({"reader": ("read", "reading")}) as recorder,
        Gateway(tmp_path, recorder.port, packages=tmp_path, pages=tmp_path / "pages", setup=setup) as gateway,
    ):
        for end in ("1.tar.gz", "1.whl.zip", "1.whl", "1.whl.asc"):
            assert gateway.get(f"/packages/{begin}{end}", "reader", "wrong").status_code == 401
        assert len(recorder.received) == 4
        assert not gateway.error_log


def test_public_projects_are_decided_by_name(tmp_path: Path) -> None:
    packages, pages, setup = tmp_path / "packages", tmp_path / "pages", Setup(permissions=True, upstream=True)
    with (
        Recorder() as recorder,
        Gateway(
            tmp_path, recorder.port, packages=packages, pages=pages, upstream_port=recorder.port, setup=setup
        ) as gateway,
    ):
        for path in ("/simple/demo/", f"/upstream/demo/{'0' * 64}/other-1.0.tar.gz", "/upstream/demo/hidden"):
            recorder.received.clear()
            # The recorder lets nobody read a project.
            assert gateway.get(path, "reader", "read").status_code == 403
            (asked,) = recorder.received
            assert (asked.path, asked.headers["X-Project"]) == ("/-/auth/reading", "demo")
            assert "X-File" not in asked.headers
