"""The index in JSON: who gets it, that it is never old, and that pip and uv resolve without downloading."""

from __future__ import annotations

import functools
import hashlib
import json
import sys
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import pytest
from packaging.metadata import Metadata
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version
from pypi_simple import PyPISimple

from gateway_programs import Registry, Setup, make_wheel, multipart, registry, run
from programs import wait_for
from server.http.negotiation import JSON
from trees import Tree, plant

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import requests

PIP_ACCEPT = f"{JSON}, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01"
UV_ACCEPT = f"{JSON}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"
ACCEPTS = {
    "": "html",
    "*/*": "html",
    "text/html": "html",
    "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": "html",
    "application/vnd.pypi.simple.v1+html": "html",
    "text/plain": "html",
    f"text/html, {JSON};q=0.9": "html",
    f"{JSON}, text/html": "html",
    f"{JSON};q=0": "html",
    PIP_ACCEPT: "json",
    UV_ACCEPT: "json",
    JSON: "json",
    f"{JSON}, text/html;q=0.5, */*;q=0.01": "json",
    f"text/html;q=0.4,{JSON};q=0.5": "json",
    "application/vnd.pypi.simple.latest+json": "json",
}
FROM_FILES = ("*/*", "text/html", PIP_ACCEPT, UV_ACCEPT, JSON)
"""What the gateway judges by itself; the server is asked about the rest."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(tmp_path_factory.mktemp("registry"), Setup(anonymous=True)) as started:
        yield started


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Registry, Tree]]:
    with registry(tmp_path_factory.mktemp("planted"), Setup(anonymous=True)) as started:
        yield started, plant(started.server.packages, lambda: started.gateway.get("/simple/").text.count("<a "))


def action(started: Registry, user: str, **form: str) -> requests.Response:
    body = "&".join(f"{name}={value}" for name, value in form.items()).replace(":", "%3A").encode()
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    return started.gateway.request("POST", "/", user, f"{user}-password", data=body, headers=kind)


@pytest.mark.parametrize("path", ["/simple/", "/simple/forms/"])
@pytest.mark.parametrize(("accept", "form"), ACCEPTS.items())
def test_who_gets_which_form(shared: Registry, tmp_path: Path, path: str, accept: str, form: str) -> None:
    if not (shared.server.packages / "forms-1.0-py3-none-any.whl").exists():
        assert shared.upload(make_wheel(tmp_path, "forms", "1.0")).ok
    for _ in range(3):
        answer = shared.gateway.get(path, Accept=accept)
        assert answer.status_code == 200
        types = {"html": "text/html; charset=utf-8", "json": JSON}
        assert answer.headers["Content-Type"].lower() == types[form]
        assert "Accept" in answer.headers["Vary"].split(", ")
        assert answer.text.startswith("<!DOCTYPE html>" if form == "html" else '{"meta":')
    if accept in FROM_FILES:
        assert shared.gateway.access_log[-1]["upstream_duration"] is None
        assert shared.gateway.get(path, Accept=accept, If_None_Match=answer.headers["ETag"]).status_code == 304


def test_old_clients_get_the_same_in_html(shared: Registry, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "old_clients", "1.0", headers="Requires-Python: >=3.8\n")
    assert shared.upload(wheel).ok
    address = f'<a href="../../packages/{wheel.name}#sha256={hashlib.sha256(wheel.read_bytes()).hexdigest()}"'
    for _ in range(2):
        page = shared.gateway.get("/simple/old-clients/", Accept="text/html").text
        assert page.count("<a ") == 1
        assert f'{address} data-requires-python="&gt;=3.8" data-core-metadata="sha256=' in page
        assert f'">{wheel.name}</a>' in page


def test_json_is_compressed(shared: Registry, tmp_path: Path) -> None:
    for number in range(8):
        assert shared.upload(make_wheel(tmp_path, "compressed", f"1.{number}")).ok
    for _ in range(2):
        answer = shared.gateway.get("/simple/compressed/", Accept=JSON, Accept_Encoding="gzip")
        assert answer.headers["Content-Encoding"] == "gzip"
        assert len(answer.json()["files"]) == 8


def test_what_is_published_or_withdrawn_is_shown_at_once(shared: Registry, tmp_path: Path) -> None:
    tags = {"/simple/": "", "/simple/fresh/": ""}
    for number in range(30):
        wheel = make_wheel(tmp_path, "fresh" if number % 2 else f"fresh{number}", f"1.{number}")
        assert shared.upload(wheel).status_code == 200
        path = "/simple/fresh/" if number % 2 else "/simple/"
        answer = shared.gateway.get(path, Accept=PIP_ACCEPT, If_None_Match=tags[path])
        assert answer.status_code == 200
        assert (wheel.name if number % 2 else f"fresh{number}") in answer.text
        again = shared.gateway.get(path, Accept=PIP_ACCEPT)
        assert again.text == answer.text
        tags[path] = again.headers["ETag"]
    for number in range(10):
        form = {":action": "unyank" if number % 2 else "yank", "name": "fresh", "version": "1.29"}
        assert action(shared, "publisher", **form).status_code == 200
        answer = shared.gateway.get("/simple/fresh/", Accept=UV_ACCEPT)
        assert answer.json()["files"][-1]["yanked"] is (number % 2 == 0)
        assert ("data-yanked" in shared.gateway.get("/simple/fresh/").text) is (number % 2 == 0)


def test_only_publishers_withdraw(shared: Registry, tmp_path: Path) -> None:
    assert shared.upload(make_wheel(tmp_path, "guarded", "1.0")).ok
    form = {":action": "yank", "name": "guarded", "version": "1.0"}
    assert action(shared, "reader", **form).status_code == 403
    assert action(shared, "nobody", **form).status_code == 401
    assert "data-yanked" not in shared.gateway.get("/simple/guarded/").text


def asked(running: Registry, path: str) -> list[dict[str, object]]:
    return [line for line in running.gateway.access_log if line["path"].endswith(f"{path}.metadata")]


def asked_twice(running: Registry, path: str) -> bool:
    return len(asked(running, path)) == 2


def test_metadata_is_a_file_of_the_gateway(shared: Registry, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "inside", "1.0", headers="Requires-Python: >=3\n")
    nested = make_wheel(tmp_path, "nested", "1.0")
    assert shared.upload(wheel).ok
    (shared.server.packages / "below").mkdir()
    (shared.server.packages / "below" / nested.name).write_bytes(nested.read_bytes())
    wait_for(lambda: shared.gateway.get("/simple/nested/").ok, "the copied file")
    for project, path in {"inside": wheel.name, "nested": f"below/{nested.name}"}.items():
        (file,) = shared.gateway.get(f"/simple/{project}/", Accept=JSON).json()["files"]
        assert file["url"] == f"../../packages/{path}"
        answers = [shared.gateway.get(f"/packages/{path}.metadata") for _ in range(2)]
        assert answers[0].content == answers[1].content
        assert file["core-metadata"] == {"sha256": hashlib.sha256(answers[0].content).hexdigest()}
        wait_for(functools.partial(asked_twice, shared, path), "both lines of the log")
        assert [line["upstream_duration"] for line in asked(shared, path)] == [None, None]
    for path in ("absent-1.0-py3-none-any.whl", "inside-1.0.tar.gz", ".pypiserver/x.whl", "%2e/x.whl"):
        assert shared.gateway.get(f"/packages/{path}.metadata").status_code == 404


def test_reading_json_and_metadata_needs_credentials(tmp_path: Path) -> None:
    with registry(tmp_path) as started:
        wheel = make_wheel(tmp_path, "private", "1.0")
        assert started.upload(wheel).ok
        for path in ("/simple/", "/simple/private/", f"/packages/{wheel.name}.metadata"):
            for _ in range(2):
                assert started.gateway.get(path, Accept=JSON).status_code == 401
                assert started.gateway.get(path, "reader", "reader-password", Accept=JSON).status_code == 200


def test_a_broken_wheel_is_no_error(shared: Registry, tmp_path: Path) -> None:
    wheel = tmp_path / "broken-1.0-py3-none-any.whl"
    wheel.write_bytes(b"no wheel")
    body, content_type = multipart(wheel)
    answer = shared.gateway.request(
        "POST", "/", "publisher", "publisher-password", data=body, headers={"Content-Type": content_type}
    )
    assert answer.status_code == 200
    (file,) = shared.gateway.get("/simple/broken/", Accept=JSON).json()["files"]
    assert file["core-metadata"] is False
    assert shared.gateway.get(f"/packages/{wheel.name}.metadata").status_code == 404


def test_a_client_library_reads_it(planted: tuple[Registry, Tree]) -> None:
    started, tree = planted
    with PyPISimple(f"{started.gateway.url}/simple/") as client:
        assert set(client.get_index_page(accept=JSON).projects) == set(tree.projects)
        page = client.get_project_page(tree.top, accept=JSON)
        assert (page.repository_version, page.project) == ("1.3", tree.top)
        for file in page.packages:
            metadata = client.get_package_metadata(file, verify=True)
            assert f"Name: {tree.top}" in metadata


def test_the_packaging_library_reads_it(planted: tuple[Registry, Tree]) -> None:
    started, tree = planted
    for project in tree.projects:
        address = f"/simple/{project}/"
        page = started.gateway.get(address, Accept=JSON).json()
        assert page["name"] == canonicalize_name(project)
        found = set()
        for file in page["files"]:
            name, version, *_ = parse_wheel_filename(file["filename"])
            text = started.gateway.get(urljoin(address, file["url"]) + ".metadata").content
            assert hashlib.sha256(text).hexdigest() == file["core-metadata"]["sha256"]
            metadata = Metadata.from_email(text, validate=True)
            assert (canonicalize_name(metadata.name), metadata.version) == (name, version)
            assert metadata.requires_python == SpecifierSet(file["requires-python"])
            found.add(version)
        assert found == set(map(Version, page["versions"]))


def pip(started: Registry, *arguments: str) -> list[str]:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    return [*command, "--no-cache-dir", "--index-url", f"{started.gateway.url}/simple/"]


def uv(started: Registry, *arguments: str) -> list[str]:
    command = ["uv", "pip", *arguments, "--no-cache", "--python", sys.executable]
    return [*command, "--default-index", f"{started.gateway.url}/simple/"]


def downloads(started: Registry, since: int) -> set[str]:
    """The names of the files that have been downloaded, even in part."""
    lines = started.gateway.access_log[since:]
    return {line["path"].rpartition("/")[2] for line in lines if line["path"].endswith((".whl", ".gz"))}


def test_pip_resolves_without_downloading(planted: tuple[Registry, Tree], tmp_path: Path) -> None:
    started, tree = planted
    since = len(started.gateway.access_log)
    report = ("--report", "report.json", "--target", "unused", "--dry-run", "--quiet")
    done = run(tmp_path, *pip(started, "install", *report), tree.top)
    assert done.returncode == 0, done.stdout
    resolved = json.loads((tmp_path / "report.json").read_text())["install"]
    assert {each["metadata"]["name"]: each["metadata"]["version"] for each in resolved} == tree.solution
    assert downloads(started, since) == set()

    done = run(tmp_path, *pip(started, "download", "--quiet", "--dest", "got"), tree.top)
    assert done.returncode == 0, done.stdout
    assert {path.name for path in (tmp_path / "got").iterdir()} == tree.files
    assert downloads(started, since) == tree.files


def test_uv_resolves_without_downloading(planted: tuple[Registry, Tree], tmp_path: Path) -> None:
    started, tree = planted
    since = len(started.gateway.access_log)
    (tmp_path / "requirements.in").write_text(tree.top)
    compile_ = uv(started, "compile", "--quiet", "--no-header", "--no-annotate", "requirements.in")
    done = run(tmp_path, *compile_)
    assert done.returncode == 0, done.stdout
    assert dict(line.split("==") for line in done.stdout.split()) == tree.solution
    assert downloads(started, since) == set()

    done = run(tmp_path, *uv(started, "install", "--quiet", "--target", "got"), tree.top)
    assert done.returncode == 0, done.stdout
    assert downloads(started, since) == tree.files


@pytest.mark.parametrize("client", [pip, uv])
def test_what_is_withdrawn_is_installed_only_where_it_is_pinned(
    shared: Registry, tmp_path: Path, client: object
) -> None:
    project = f"withdrawn_{getattr(client, '__name__', '')}"
    for version in ("1.0", "2.0"):
        assert shared.upload(make_wheel(tmp_path, project, version)).ok
    assert action(shared, "publisher", **{":action": "yank", "name": project, "version": "2.0", "reason": "bad"}).ok
    command = pip(shared, "install") if client is pip else uv(shared, "install")
    for requirement, version in {project: "1.0", f"{project}==2.0": "2.0"}.items():
        target = tmp_path / f"target-{version}"
        done = run(tmp_path, *command, "--target", str(target), requirement)
        assert done.returncode == 0, done.stdout
        assert (target / f"{project}.py").read_text() == f"VERSION = {version!r}\n"
        assert ("bad" in done.stdout) is (version == "2.0")
