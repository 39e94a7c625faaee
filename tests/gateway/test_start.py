"""start.sh as the process that it is in the pod, in the shells that images bring."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest
import requests

import gateway_programs
from gateway_programs import Gateway, Setup, scene
from programs import PATIENCE, First, needs_pid_namespaces, wait_for
from vitals import workers

if TYPE_CHECKING:
    from pathlib import Path

BAD_PREFIXES = [
    "",
    "pypi",
    "/pypi/",
    "//",
    "//pypi",
    "/a//b",
    "/-/auth",
    "/a/-",
    "/a.b",
    "/a b",
    "/a%20b",
    "/ä",
    "/a;b",
    "/a\nb",
]
SHELLS = ["/bin/sh", *(["busybox sh"] if shutil.which("busybox") else []), *(["bash --posix"])]


def refusal(directory: Path, environment: dict[str, str], *, tls: bool = False) -> str:
    """Start a gateway that must refuse to, and return what the kubelet would show."""
    setup = Setup(environment=environment, tls=tls)
    gateway = Gateway(directory, 1, packages=directory / "packages", pages=directory / "pages", setup=setup)
    assert gateway.launch().wait(PATIENCE) == 1
    reason = gateway.termination_log.read_text()
    assert gateway.error_log == f"the gateway cannot start: {reason}"
    assert not gateway.accepts()
    return reason.rstrip("\n")


def limit(directory: Path, quantity: str) -> str:
    """The limit that is made of MAX_UPLOAD."""
    setup = Setup(environment={"MAX_UPLOAD": quantity})
    with Gateway(directory, 1, packages=directory / "packages", pages=directory / "pages", setup=setup) as gateway:
        return (gateway.temporary / "gateway/upload-size.conf").read_text().split()[1].rstrip(";")


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("quantity", "size"),
    [
        ("1Gi", 2**30),
        ("500M", 500_000_000),
        ("1e9", 10**9),
        ("1E3", 1000),
        ("1E", 10**18),
        ("1073741824", 2**30),
        ("0100", 100),
        ("1.5Gi", 3 * 2**29),
        ("0.1Gi", 107374182),
        (".5k", 500),
        ("2.000Ki", 2048),
        ("7Ei", 7 * 2**60),
        ("7.99999Ei", int(7.99999 * 10**5) * 2**60 // 10**5),
        ("9.2E", 92 * 10**17),
    ],
)
def test_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str, quantity: str, size: int) -> None:
    monkeypatch.setattr(gateway_programs, "SHELL", shell)
    assert limit(tmp_path, quantity) == str(size)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("quantity", "reason"),
    [
        ("500m", "fraction of a byte; M is a million"),
        ("0", "less than a byte"),
        ("0.5", "less than a byte"),
        ("0Gi", "less than a byte"),
        ("0e99", "less than a byte"),
        ("", "must be a size"),
        ("1g", "must be a size"),
        ("-1", "must be a size"),
        ("1Gi; return 200", "must be a size"),
        ("1Gi\n", "must be a size"),
        ("1.2.3", "must be a size"),
        ("1 Gi", "must be a size"),
        ("1e", "must be a size"),
        ("$(id)", "must be a size"),
        ("\u0661Gi", "must be a size"),
        ("9Ei", "more than nginx can count"),
        ("8Ei", "more than nginx can count"),
        ("1e19", "more than nginx can count"),
        ("1" * 30, "more than nginx can count"),
        ("1.123456789012345Gi", "more than 14 digits"),
    ],
)
def test_sizes_that_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str, quantity: str, reason: str
) -> None:
    monkeypatch.setattr(gateway_programs, "SHELL", shell)
    said = refusal(tmp_path, {"MAX_UPLOAD": quantity})
    assert said.startswith(f"MAX_UPLOAD is '{quantity}'; ")
    assert reason in said


@pytest.mark.parametrize(
    ("environment", "uploads"),
    [
        ({"MAX_UPLOAD": "1Gi", "UPLOAD_ROOM": "20Gi"}, 20),
        ({"MAX_UPLOAD": "2Gi", "UPLOAD_ROOM": "20Gi"}, 10),
        ({"MAX_UPLOAD": "1.5Gi", "UPLOAD_ROOM": "21474836480"}, 13),
        ({"MAX_UPLOAD": "20Gi", "UPLOAD_ROOM": "20Gi"}, 1),
        ({"MAX_UPLOAD": "1Ki", "UPLOAD_ROOM": "20Gi", "CONCURRENT_UPLOADS": "3"}, 3),
        ({"MAX_UPLOAD": "50Gi"}, 20),
    ],
)
def test_no_more_uploads_are_received_at_once_than_there_is_room_for(
    tmp_path: Path, environment: dict[str, str], uploads: int
) -> None:
    setup = Setup(environment=environment)
    with Gateway(tmp_path, 1, packages=tmp_path / "packages", pages=tmp_path / "pages", setup=setup) as gateway:
        assert (gateway.temporary / "gateway/publish-limit.conf").read_text() == f"limit_conn publishes {uploads};\n"
        assert ("uploads that are received at once" in gateway.error_log) is (uploads in {10, 13, 1})


def test_an_upload_that_has_no_room_is_refused(tmp_path: Path) -> None:
    said = refusal(tmp_path, {"MAX_UPLOAD": "50Gi", "UPLOAD_ROOM": "20Gi"})
    assert said.startswith("MAX_UPLOAD is '50Gi' and UPLOAD_ROOM '20Gi': such an upload does not fit")
    said = refusal(tmp_path / "another", {"UPLOAD_ROOM": "20 Gi"})
    assert said.startswith("UPLOAD_ROOM is '20 Gi'; it must be a size such as 1Gi")


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("CONCURRENT_UPLOADS", "0", "from 1 to 256"),
        ("CONCURRENT_UPLOADS", "257", "from 1 to 256"),
        ("CONCURRENT_UPLOADS", "", "from 1 to 256"),
        ("CONCURRENT_UPLOADS", "2;", "from 1 to 256"),
        ("ALLOW_REMOVAL", "true", "one of: no yes"),
        ("INGRESS", "", "one of: no yes"),
        ("LOG_LEVEL", "debug", "one of: info notice warn error crit"),
        *(("PATH_PREFIX", prefix, "must be / or a path such as /pypi") for prefix in BAD_PREFIXES),
        ("PATH_PREFIX", "/simple", "the registry itself has what is there"),
        ("PATH_PREFIX", "/health/x", "the registry itself has what is there"),
        ("TRUSTED_PROXIES", "10.0.0.0/8,fd00::/8", "addresses and networks"),
        ("TRUSTED_PROXIES", "proxy.example.org", "addresses and networks"),
        ("TRUSTED_PROXIES", "*", "addresses and networks"),
        ("TRUSTED_PROXIES", "10.0.0.0/33", "nginx refuses its configuration"),
    ],
)
def test_values_that_are_refused(tmp_path: Path, name: str, value: str, reason: str) -> None:
    said = refusal(tmp_path, {name: value})
    assert value in said
    assert reason in said


def test_an_ingress_and_https_at_the_gateway_exclude_each_other(tmp_path: Path) -> None:
    said = refusal(tmp_path, {"INGRESS": "yes"}, tls=True)
    assert said.startswith("INGRESS is 'yes' while HTTPS is on at the gateway")
    assert "gateway-tls" in said


def test_what_nginx_refuses_reaches_the_kubelet(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, 1, packages=tmp_path / "packages", pages=tmp_path / "pages")
    (gateway.configuration / "server-own.conf").write_text("nonsense on;\n")
    assert gateway.launch().wait(PATIENCE) == 1
    assert 'unknown directive "nonsense"' in gateway.termination_log.read_text()


def test_a_second_start_forgets_the_first(tmp_path: Path) -> None:
    directory = tmp_path / "gateway"
    for environment, expected in (({"TRUSTED_PROXIES": "10.0.0.0/8"}, True), ({}, False)):
        setup = Setup(environment=environment)
        with Gateway(directory, 1, packages=tmp_path / "packages", pages=tmp_path / "pages", setup=setup) as gateway:
            made = "".join(path.read_text() for path in (gateway.temporary / "gateway").iterdir())
            assert ("set_real_ip_from" in made) is expected


def test_signals_reach_nginx(tmp_path: Path) -> None:
    with scene(tmp_path) as started:
        process = started.gateway.process
        assert isinstance(process, subprocess.Popen)
        assert started.gateway.pid_file.read_text().strip() == str(process.pid)
        assert started.gateway.stop() == 0


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
def test_both_versions_of_the_internet_protocol(tmp_path: Path) -> None:
    with scene(tmp_path, Setup(metrics=True, tls=True)) as started:
        gateway = started.gateway
        for port in (gateway.port, gateway.https_port, gateway.metrics_port):
            for host in ("127.0.0.1", "::1"):
                socket.create_connection((host, port), PATIENCE).close()
        with socket.create_connection(("::1", gateway.port), PATIENCE) as connection:
            connection.sendall(b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            wait_for(lambda: any(line["remote"] == "::1" for line in gateway.access_log), "the line of that client")


@pytest.mark.parametrize("shell", SHELLS)
def test_while_the_volume_is_away_other_workers_open_no_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str
) -> None:
    monkeypatch.setattr(gateway_programs, "SHELL", shell)
    with scene(tmp_path) as started:
        gateway, away = started.gateway, started.pages.parent / "volume-away"
        package, reader = "/packages/demo-1.0-py3-none-any.whl", ("reader", "read")
        before = workers(gateway.process)
        assert gateway.get(package, *reader).status_code == 200
        away.write_text("The reason.\n")
        refused = gateway.get(package, *reader)
        assert (refused.status_code, refused.text) == (503, "The reason.\n")
        assert refused.headers["Retry-After"] == "5"
        assert refused.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert gateway.get("/simple/demo/", *reader).status_code == 200
        wait_for(lambda: len(workers(gateway.process) - before) == 2, "other workers")
        wait_for(lambda: not workers(gateway.process) & before, "the ends of those of before")
        assert gateway.get(package, *reader).status_code == 503
        away.unlink()
        assert gateway.get(package, *reader).status_code == 200


@needs_pid_namespaces
@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGTERM])
@pytest.mark.parametrize("shell", SHELLS)
def test_a_pod_that_goes_while_it_starts_goes_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str, number: int
) -> None:
    monkeypatch.setattr(gateway_programs, "SHELL", shell)
    gateway = Gateway(tmp_path, 1, packages=tmp_path / "packages", pages=tmp_path / "pages")
    checking, checked = tmp_path / "checking", tmp_path / "checked"
    program = tmp_path / "bin/nginx"
    program.unlink()
    program.write_text(
        f"#!/bin/sh\n: >{checking}\nwhile [ ! -e {checked} ]; do sleep 0.1; done\n[ $1 = -t ] || sleep 60\n"
    )
    program.chmod(0o755)
    with First(gateway.command(), env=gateway.environment, cwd=tmp_path) as process:
        wait_for(checking.exists, "the check of the configuration")
        process.send_signal(number)
        checked.touch()
        assert process.wait(5) == 0


@needs_pid_namespaces
@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGTERM])
def test_it_ends_as_the_first_process(tmp_path: Path, number: int) -> None:
    gateway = Gateway(tmp_path, 1, packages=tmp_path / "packages", pages=tmp_path / "pages")

    def answers() -> bool:
        # It listens before it hears of signals, and its check of the configuration listens too.
        with contextlib.suppress(requests.ConnectionError):
            return bool(gateway.get("/health").status_code)
        return False

    with First(gateway.command(), env=gateway.environment, cwd=tmp_path) as process:
        wait_for(answers, "nginx")
        process.send_signal(number)
        assert process.wait(5) == 0
