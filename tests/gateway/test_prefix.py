"""A registry below a path of a host that others share: every address works with the prefix, and without."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import pytest
import requests

from attested import attestation
from cdk8s_pypiserver import GatewaySpec
from gateway_programs import Registry, Setup, basic, make_wheel, multipart, registry, run, scene, twine_upload
from programs import PATIENCE
from server.http.negotiation import JSON

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway_programs import Scene

PREFIX = "/team-a/pypi"
PREFIXED = Setup(spec=GatewaySpec(path_prefix=PREFIX))
PUBLISHER = ("publisher", "publisher-password")
READER = ("reader", "reader-password")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(tmp_path_factory.mktemp("registry"), PREFIXED) as started:
        yield started


@pytest.fixture(scope="module")
def prefixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with scene(tmp_path_factory.mktemp("scene"), PREFIXED) as started:
        yield started


@pytest.mark.parametrize("address", [PREFIX, ""])
def test_the_usual_clients(shared: Registry, tmp_path: Path, address: str) -> None:
    name = f"by_the_usual_{'pre' if address else 'un'}fixed"
    wheel = make_wheel(tmp_path, name, "1.0")
    url = f"{shared.gateway.url}{address}"
    done = twine_upload(tmp_path, url, wheel, credentials=PUBLISHER)
    assert done.returncode == 0, done.stdout
    index = f"{url.replace('://', '://{}:{}@'.format(*READER))}/simple/"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-cache-dir"]
    for number, command in enumerate(
        (
            [*pip, "--index-url", index],
            ["uv", "pip", "install", "--no-cache", "--python", sys.executable, "--default-index", index],
        )
    ):
        target = tmp_path / str(number)
        done = run(tmp_path, *command, "--target", str(target), name)
        assert done.returncode == 0, done.stdout
        assert (target / f"{name}.py").read_text() == "VERSION = '1.0'\n"
    check = ["--check-url", index, "--username", PUBLISHER[0], "--password", PUBLISHER[1]]
    done = run(tmp_path, "uv", "publish", "--no-cache", "--publish-url", f"{url}/", *check, str(wheel))
    assert done.returncode == 0, done.stdout
    assert "already exists" in done.stdout


@pytest.mark.parametrize("address", [f"{PREFIX}/", PREFIX, "/", f"{PREFIX}/?a", f"{PREFIX}?a"])
def test_where_packages_are_published(shared: Registry, tmp_path: Path, address: str) -> None:
    body, content_type = multipart(make_wheel(tmp_path, f"published_{len(address)}", "1.0"))
    answer = shared.gateway.request("POST", address, *PUBLISHER, data=body, headers={"Content-Type": content_type})
    assert (answer.status_code, answer.text) == (200, "")
    assert shared.gateway.get(f"{PREFIX}/simple/published-{len(address)}/", *READER).ok


def test_every_link_leads_below_the_prefix(shared: Registry, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "linked", "1.0")
    done = requests.post(
        f"{shared.gateway.url}{PREFIX}/",
        data={":action": "file_upload", "attestations": json.dumps([attestation(wheel.name, wheel.read_bytes())])},
        files={"content": (wheel.name, wheel.read_bytes())},
        auth=PUBLISHER,
        timeout=PATIENCE,
    )
    assert done.ok, done.text
    root = f"{shared.gateway.url}{PREFIX}/"
    todo, pages = {root}, {}
    while todo:
        page = todo.pop()
        answer = requests.get(page, auth=READER, timeout=PATIENCE)
        assert (answer.status_code, answer.url) == (200, page)
        # The second time it comes from a file.
        assert requests.get(page, auth=READER, timeout=PATIENCE).content == answer.content
        pages[page] = answer.content
        if answer.headers["Content-Type"].startswith("text/html"):
            found = {urljoin(page, link) for link in re.findall(r'(?:href|data-provenance)="([^"#]+)', answer.text)}
            todo |= {link for link in found - pages.keys() if link.startswith(shared.gateway.url)}
    assert all(page.startswith(root) for page in pages)
    wanted = {
        "",
        "simple/",
        "packages/",
        "simple/linked/",
        f"packages/{wheel.name}",
        f"packages/{wheel.name}.provenance",
    }
    assert {page.removeprefix(root) for page in pages} >= wanted
    assert f"--index-url {root}simple/".encode() in pages[root]

    listed = requests.get(f"{root}simple/linked/", auth=READER, headers={"Accept": JSON}, timeout=PATIENCE)
    (file,) = listed.json()["files"]
    assert urljoin(f"{root}simple/linked/", file["url"]) == f"{root}packages/{wheel.name}"
    assert file["provenance"] == f"{root}packages/{wheel.name}.provenance"
    described = requests.get(f"{root}linked/json", auth=READER, timeout=PATIENCE).json()
    assert described["releases"]["1.0"] == [{"url": f"{root}packages/{wheel.name}"}]
    assert requests.get(f"{root}packages/{wheel.name}.metadata", auth=READER, timeout=PATIENCE).ok


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/simple", "/simple/"),
        ("/simple/linked", "/simple/linked/"),
        ("/packages", "/packages/"),
        ("/linked/", "/simple/linked/"),
        ("/simple/Some_Project/", "/simple/some-project/"),
        ("/Some_Project/json", "/some-project/json"),
        ("/simple/evil.example?next=//evil.example", "/simple/evil.example/"),
    ],
)
@pytest.mark.parametrize("address", [PREFIX, ""])
def test_redirects_lead_below_the_prefix(shared: Registry, address: str, path: str, location: str) -> None:
    headers = {"Host": "evil.example", "X_Forwarded_Host": "evil.example", "X_Forwarded_Prefix": "/evil"}
    answer = shared.gateway.get(f"{address}{path}", *READER, **headers)
    assert answer.is_redirect
    assert answer.headers["Location"] == f"{PREFIX}{location}"


def test_the_prefix_alone(shared: Registry) -> None:
    answer = shared.gateway.get(f"{PREFIX}?a")
    assert (answer.status_code, answer.headers["Location"]) == (301, f"{PREFIX}/")
    assert "pypiserver" in shared.gateway.get(f"{PREFIX}/", *READER).text


def test_probes_have_no_prefix(shared: Registry) -> None:
    for path in ("/health", "/ready"):
        assert shared.gateway.get(path).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/simple/", "GET, HEAD"),
        ("POST", "/packages/demo-1.0-py3-none-any.whl", "GET, HEAD"),
        ("PUT", "/", "GET, HEAD, POST"),
        ("DELETE", "/?a", "GET, HEAD, POST"),
    ],
)
def test_methods(prefixed: Scene, method: str, path: str, allowed: str) -> None:
    answer = prefixed.gateway.request(method, f"{PREFIX}{path}", "publisher", "publish", data=b"x")
    assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)


@pytest.mark.parametrize("method", [b"GET", b"POST"])
@pytest.mark.parametrize(
    "path",
    [
        # What only the gateway itself asks for.
        b"/team-a/pypi/-/publish",
        b"/team-a/pypi/-/welcome",
        b"/team-a/pypi/-/auth/publisher",
        b"/team-a/pypi/-/refusal/busy",
        b"/team-a/pypi/-/",
        b"/team-a/pypi/%2d/publish",
        b"/team-a/pypi/%2D/auth/reader",
        b"/team-a/pypi/team-a/pypi/-/publish",
        # Other spellings of the prefix.
        b"/team-a/%70ypi/simple/",
        b"/%74eam-a/pypi/",
        b"/team-a%2fpypi/",
        b"/TEAM-A/pypi/",
        b"/team-a/pypi//",
        b"//team-a/pypi/",
        b"/team-a//pypi/simple/",
        b"/team-a/./pypi/simple/",
        b"/team-a/x/../pypi/simple/",
        b"/team-a/pypi/../pypi/simple/",
        b"/team-a/pypi/%2e%2e/pypi/",
        b"/team-a/pypi%2fsimple/",
        b"/team-a/pypi/%2fsimple/",
        b"/team-a/pypi%00/simple/",
        b"/team-a/pypi%0a/simple/",
        b"/team-a/pypi/%0a/simple/",
        b"/team-a/pypi;/simple/",
        b"/team-a/pypi%3f/simple/",
        b"/team-a/pypi/simple/demo%3f/",
        b"/team-a/pypi\\simple/",
        b"/team-a/pypix/simple/",
        b"/team-a/pypi/team-a/pypi/simple/",
        b"/team-a/simple/",
        # What is refused without a prefix too.
        b"/team-a/pypi/packages/.demo-2.0-py3-none-any.whl",
        b"/team-a/pypi/packages/../packages/demo-1.0-py3-none-any.whl",
        b"/team-a/pypi/packages/..%2fdemo-1.0.zip",
        b"/team-a/pypi/.git/config",
        b"/team-a/pypi/metadata/demo-1.0-py3-none-any.whl.metadata",
    ],
)
def test_odd_paths_reach_neither_the_server_nor_a_file(prefixed: Scene, method: bytes, path: bytes) -> None:
    access = basic("publisher", "publish").encode()
    rest = b"Host: x\r\nAuthorization: " + access + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    answer = prefixed.gateway.exchange(method + b" " + path + b" HTTP/1.1\r\n" + rest)
    assert answer.split(b" ", 2)[1] in {b"400", b"404", b"405"}
    assert not [each for each in prefixed.recorder.received if not each.path.startswith("/-/auth/")]


def test_an_absolute_address(prefixed: Scene) -> None:
    head = f"Host: x\r\nAuthorization: {basic('reader', 'read')}\r\nConnection: close\r\n\r\n"
    answer = prefixed.gateway.exchange(f"GET http://x{PREFIX}/simple/ HTTP/1.1\r\n{head}".encode())
    assert answer.startswith(b"HTTP/1.1 200 ")


def test_the_log_has_the_address_that_was_asked_for(prefixed: Scene) -> None:
    prefixed.gateway.get(f"{PREFIX}/simple/?token=secret", "reader", "read")
    assert prefixed.gateway.logged(method="GET", path=f"{PREFIX}/simple/")["status"] == 200
