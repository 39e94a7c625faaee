"""Projects that everybody reads beside those that nobody does without credentials."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING

import pytest

from cdk8s_pypiserver import PermissionsSpec
from gateway_programs import Gateway, Recorder, Registry, Setup, make_sdist, make_wheel, registry, run
from manifests import DIST, kustomization, pod_of, render
from permissions import ALICE, BOB, READER, publish, rule
from programs import PATIENCE, Server
from server.access.who import ANONYMOUS, Who

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from manifests import Manifest

SETUP = Setup(permissions=True, anonymous_projects=True)
RULES = [
    rule("acme-*", publish=["alice"]),
    rule("open-*", read=["@anonymous"], publish=["alice"]),
    rule("*", excluding=["acme-*", "open-*"], read=["*"], publish=["bob"]),
]
OPEN = (
    "/simple/open-one/",
    "/packages/open_one-1.0-py3-none-any.whl",
    "/packages/open_one-1.0-py3-none-any.whl.metadata",
    "/packages/open_one-1.0.tar.gz",
    "/open-one/json",
)
WRONG = (("bob", "wrong"), ("nobody", "x"))
UNREADABLE = ("Bearer open", "Basic", "Basic !", "Negotiate")


def composed(directory: Path, *components: str, rules: object = None) -> tuple[Setup, dict[str, str]]:
    """The gateway and the variables of the server as components make them, with rules of one's own or theirs."""
    data = {"permissions.json": json.dumps({"rules": rules})}
    own = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "pypiserver-permissions"}, "data": data}
    folder = kustomization(
        directory / "overlay",
        resources=[DIST / "local"],
        components=[DIST / "components" / name for name in components],
        **({"patches": [{"patch": json.dumps(own)}]} if rules else {}),
    )
    made = render(folder)
    before = _variables(render(kustomization(directory / "plain", resources=[DIST / "local"])))
    environment = {name: value for name, value in _variables(made).items() if name not in before}
    assert environment.pop("PERMISSIONS").endswith("/permissions.json")
    permissions = directory / "permissions.json"
    permissions.write_text(_files_of(made, "pypiserver-permissions")["permissions.json"])
    setup = Setup(files=_files_of(made, "pypiserver-gateway"))
    return setup, {**environment, "PERMISSIONS": str(permissions), "AUDIT": "log"}


def _files_of(made: list[Manifest], name: str) -> dict[str, str]:
    (files,) = (each["data"] for each in made if each["metadata"]["name"].rpartition("-")[0] == name)
    return dict(files)


def _variables(made: list[Manifest]) -> dict[str, str]:
    (server,) = (each for each in pod_of(made)["containers"] if each["name"] == "pypiserver")
    return {each["name"]: each["value"] for each in server["env"] if "value" in each}


@pytest.fixture(scope="module", params=["spec", "components"])
def read(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    directory = tmp_path_factory.mktemp("read")
    if request.param == "spec":
        permissions = directory / "permissions.json"
        permissions.write_text(PermissionsSpec(rules=RULES).text)  # type: ignore[arg-type]
        setup = SETUP
        environment = {"PERMISSIONS": str(permissions), "ANONYMOUS_PROJECTS": "yes", "AUDIT": "log"}
    else:
        setup, environment = composed(directory, "permissions", "anonymous-projects", rules=RULES)
    with registry(directory, setup, environment=environment) as found:
        for user in (ALICE, BOB):
            found.server.add_user("publishers", *user)
        for name, who in (("open_one", ALICE), ("acme_tools", ALICE), ("bobs", BOB)):
            for made in (make_wheel, make_sdist):
                assert publish(found, made(directory, name, "1.0"), who).ok
        yield found


@pytest.mark.parametrize("path", OPEN)
def test_what_is_open_is_there_for_everybody(read: Registry, path: str) -> None:
    contents = set()
    # Again, since verdicts are kept.
    for _ in range(2):
        for who in ((), ALICE, BOB, READER):
            answer = read.gateway.get(path, *who)
            assert answer.status_code == 200
            assert answer.headers["Cache-Control"].startswith("private")
            contents.add(answer.content)
        assert read.gateway.request("HEAD", path).status_code == 200
    assert len(contents) == 1


@pytest.mark.parametrize("path", OPEN)
@pytest.mark.parametrize("name", ["acme_tools", "acme_none", "bobs", "nobodys"])
def test_for_what_is_not_credentials_are_asked(read: Registry, path: str, name: str) -> None:
    """Whether or not there is such a project, and whoever has read it before."""
    path = path.replace("open_one", name).replace("open-one", name.replace("_", "-"))
    other = path.replace(name[:4], "zzzz")
    answers = []
    for asked in (path, other):
        for method in ("GET", "HEAD"):
            for headers in ({}, {"Range": "bytes=0-1"}, {"If-None-Match": "*"}):
                for who in (ALICE, BOB):
                    read.gateway.get(asked, *who)
                answer = read.gateway.request(method, asked, headers=headers)
                assert answer.status_code == 401
                assert answer.headers["WWW-Authenticate"] == 'Basic realm="pypiserver"'
                answers.append({key: value for key, value in answer.headers.items() if key != "Date"})
    assert answers == [answers[0]] * len(answers)


@pytest.mark.parametrize(
    "path",
    [
        "/simple/acme%2Dtools/",
        "/simple/Acme_Tools/",
        "/simple/%61cme-tools/",
        "/ACME.tools/json",
        "/packages/acme%5Ftools-1.0.tar.gz",
        "/packages/acme_tools-1.0.tar.gz.asc",
        "/packages/acme_tools-1.0.tar.gz.provenance",
        "/packages/acme_tools-1.0-py3-none-any.whl.metadata?open-one",
        "/packages/open_one/acme_tools-1.0.tar.gz",
        "/packages/open_one-1.0.tar.gz/acme_tools-1.0.tar.gz",
        "/packages/acme_tools-1.0.tar.gz?/packages/open_one-1.0.tar.gz",
    ],
)
def test_no_other_way_leads_there(read: Registry, path: str) -> None:
    for _ in range(2):
        for open_one in OPEN:
            read.gateway.get(open_one)
        answer = read.gateway.get(path)
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Basic realm="pypiserver"')


@pytest.mark.parametrize("path", ["/simple/open-two/", "/packages/open_two-1.0.tar.gz", "/open-two/json"])
def test_what_is_open_and_not_there_is_told_so(read: Registry, path: str) -> None:
    assert read.gateway.get(path).status_code == 404


@pytest.mark.parametrize("path", [OPEN[0], OPEN[1], "/simple/", "/"])
def test_wrong_credentials_are_no_missing_ones(read: Registry, path: str) -> None:
    for who in WRONG:
        assert read.gateway.get(path, *who).status_code == 401
    for header in UNREADABLE:
        assert read.gateway.get(path, Authorization=header).status_code == 401


def test_lists_show_everybody_what_is_open(read: Registry, tmp_path: Path) -> None:
    def listed(*who: str) -> list[str]:
        projects = re.findall(r">([a-z-]+)</a>", read.gateway.get("/simple/", *who).text)
        kind = "application/vnd.pypi.simple.v1+json"
        assert [each["name"] for each in read.gateway.get("/simple/", *who, Accept=kind).json()["projects"]] == projects
        files = re.findall(r">([^<>]+)</a>", read.gateway.get("/packages/", *who).text)
        assert len(files) == 2 * len(projects)
        assert f"serving {len(files)} packages" in " ".join(read.gateway.get("/", *who).text.split())
        return projects

    expected: dict[tuple[str, ...], list[str]] = {
        ALICE: ["acme-tools", "bobs", "open-one"],
        BOB: ["bobs", "open-one"],
        (): ["open-one"],
    }
    for _ in range(2):
        for who, projects in expected.items():
            assert listed(*who) == projects
    for name, who in (("acme_new", ALICE), ("open_new", ALICE)):
        for made in (make_wheel, make_sdist):
            assert publish(read, made(tmp_path, name, "1.0"), who).ok
        shown = ["open-new", "open-one"] if name == "open_new" else ["open-one"]
        assert listed() == shown
    assert listed(*ALICE) == ["acme-new", "acme-tools", "bobs", "open-new", "open-one"]
    assert not list(read.server.pages.glob("index*"))


def test_nobody_says_who_they_are(read: Registry) -> None:
    for forged in (Who("alice", "publishers").written, ANONYMOUS.written):
        headers = {"X-Who": forged, "X-Project": "open-one", "X-File": "open_one-1.0.tar.gz"}
        assert read.gateway.get("/simple/acme-tools/", **headers).status_code == 401
        assert read.gateway.get("/simple/acme-tools/", *BOB, **headers).status_code == 404
        assert "acme" not in read.gateway.get("/simple/", **headers).text
    for path in ("/-/auth/reading", "/projects/acme-tools.html", "/simple/open-one/?project=acme-tools"):
        assert "acme" not in read.gateway.get(path).text


def test_nobody_changes_anything_without_credentials(read: Registry, tmp_path: Path) -> None:
    body = b":action=yank&name=open-one&version=1.0"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert read.gateway.request("POST", "/", data=body, headers=headers).status_code == 401
    assert publish(read, make_wheel(tmp_path, "open_two", "1.0"), ()).status_code == 401  # type: ignore[arg-type]


def test_what_nobody_was_refused_is_not_in_the_trail(read: Registry) -> None:
    def lines() -> list[str]:
        return [line for line in read.server.log.splitlines() if line.startswith('{"audit":"login')]

    before = lines()
    read.gateway.get("/simple/open-one/")
    read.gateway.get("/simple/acme-tools/")
    assert lines() == before
    read.gateway.get("/simple/acme-tools/", "nobody", "x")
    assert len(lines()) == len(before) + 1


def test_clients(read: Registry, tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--no-cache-dir"]
    uv = ["uv", "pip", "install", "--no-cache", "--python", sys.executable]
    alices = read.gateway.url.replace("://", f"://{ALICE[0]}:{ALICE[1]}@")
    for at, (url, gets) in enumerate(((read.gateway.url, ["open-one"]), (alices, ["open-one", "acme-tools"]))):
        for project in ("open-one", "acme-tools"):
            for command in (
                [*pip, "--only-binary=:all:", "--no-deps", "--index-url", f"{url}/simple/", "-d", f"pip-{at}"],
                [*uv, "--default-index", f"{url}/simple/", "--target", f"uv-{at}"],
            ):
                done = run(tmp_path, *command, project)
                assert (done.returncode == 0) == (project in gets), done.stdout


@pytest.mark.parametrize("rules", [None, [rule("*", read=["*"], publish=["*"])], [rule("*", publish=["*"])]])
def test_the_component_alone_opens_nothing(rules: object, tmp_path: Path) -> None:
    setup, environment = composed(tmp_path, "permissions", "anonymous-projects", rules=rules)
    with registry(tmp_path, setup, environment=environment) as found:
        assert publish(found, make_wheel(tmp_path, "open_one", "1.0"), ("publisher", "publisher-password")).ok
        for path in (*OPEN, "/simple/", "/packages/", "/"):
            # Of who may read everything, before and after.
            for who, status in (((), 401), (READER, 200), (("reader", "wrong"), 401)):
                expected = 404 if path.endswith(".tar.gz") and status == 200 else status
                assert found.gateway.get(path, *who).status_code == expected


def test_a_rule_without_the_component_is_none(tmp_path: Path) -> None:
    setup, environment = composed(tmp_path, "permissions", rules=RULES)
    server = Server(tmp_path / "server", environment)
    assert server.launch().wait(PATIENCE) != 0
    assert "list the component anonymous-projects after permissions" in server.log
    # Nor where the server lets it be, by a variable that somebody has set: the gateway asks nobody.
    with registry(tmp_path, setup, environment={**environment, "ANONYMOUS_PROJECTS": "yes"}) as found:
        assert publish(found, make_wheel(tmp_path, "open_one", "1.0"), ALICE).status_code == 401
        for path in (*OPEN, "/simple/"):
            assert found.gateway.get(path).status_code == 401


def test_verdicts_about_strangers_take_no_place_of_others(tmp_path: Path) -> None:
    packages, pages = tmp_path / "packages", tmp_path / "pages"
    packages.mkdir()
    for number in range(20):
        (packages / f"open_{number}-1.0.tar.gz").write_text("content")
    with (
        Recorder({"reader": ("read", "reading")}, anonymous=True) as recorder,
        Gateway(tmp_path, recorder.port, packages=packages, pages=pages, setup=SETUP) as gateway,
    ):
        for _ in range(2):
            for number in range(20):
                assert gateway.get(f"/packages/open_{number}-1.0.tar.gz").text == "content"
        assert [each.headers.get("X-Project") for each in recorder.received] == [f"open_{each}" for each in range(20)]
        assert [each.headers.get("Authorization") for each in recorder.received] == [None] * 20
        assert not [path for path in gateway.verdicts.rglob("*") if path.is_file()]
        assert gateway.get("/packages/open_1-1.0.tar.gz", "reader", "read").text == "content"
        assert gateway.get("/packages/open_1-1.0.tar.gz", "reader", "wrong").status_code == 401
        assert recorder.received[-2].headers["Authorization"].startswith("Basic ")
        for header in UNREADABLE:
            assert gateway.get("/packages/open_1-1.0.tar.gz", Authorization=header).status_code == 401
        # Nobody is asked about what can be no credentials.
        assert len(recorder.received) == 22
