"""Who asks, and who must not get to know it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from copying import PUBLISHER, File, Index, copy, counted, wheel
from gateway_programs import Registry, basic, make_wheel

if TYPE_CHECKING:
    from pathlib import Path

PASSWORD = "p@ss:wörd/&"


def test_a_login_from_url_environment_or_netrc(tmp_path: Path) -> None:
    name, content = wheel(tmp_path / "made", "acme", "1.0")
    with Index({name: File(content)}) as source:
        source.password = basic("reader", PASSWORD)
        address = f"{source.url}/simple/"
        in_url = address.replace("://", f"://reader:{quote(PASSWORD, safe='')}@")
        variables = {"COPY_SOURCE_USERNAME": "reader", "COPY_SOURCE_PASSWORD": PASSWORD}
        by_url = copy(tmp_path, in_url, tmp_path / "by-url")
        by_environment = copy(tmp_path, address, tmp_path / "by-environment", environment=variables)
        source.password = basic("reader", "plain")
        (tmp_path / ".netrc").write_text("machine 127.0.0.1 login reader password plain\n")
        (tmp_path / ".netrc").chmod(0o600)
        by_netrc = copy(tmp_path, address, tmp_path / "by-netrc")
    for done in (by_url, by_environment, by_netrc):
        assert (done.status, done.table) == (0, counted(copied=1)), done.said
        assert PASSWORD not in done.said


def test_half_a_login_is_refused(tmp_path: Path) -> None:
    variables = {"COPY_TARGET_USERNAME": "publisher"}
    done = copy(tmp_path, tmp_path, "http://127.0.0.1:1/", environment=variables)
    assert done.status == 2
    assert "there is no variable COPY_TARGET_PASSWORD" in done.said


def test_another_server_does_not_get_the_login(tmp_path: Path) -> None:
    name, content = wheel(tmp_path / "made", "acme", "1.0")
    with Index({name: File(content)}) as files, Index({name: File(content)}) as source:
        source.files_at = files.url
        done = copy(tmp_path, f"{source.url}/simple/".replace("://", "://reader:secret@"), tmp_path / "carry")
        assert {login for *_, login in source.requests} == {basic("reader", "secret")}
        assert [login for *_, login in files.requests] == [""]
    assert (done.status, done.table) == (0, counted(copied=1)), done.said


def test_no_password_and_no_token_is_printed(tmp_path: Path, target: Registry) -> None:
    """Of a server that is away, of one that refuses, and of an index whose links have a token."""
    name, content = wheel(tmp_path / "made", "acme", "1.0")
    with Index({name: File(content, fragment="?token=secret")}) as source:
        in_url = f"{source.url}/simple/".replace("://", "://reader:secret@")
        wrong = copy(tmp_path, in_url, target.gateway.url.replace("://", "://publisher:secret@"))
        failed = copy(tmp_path, in_url, tmp_path / "carry", "--retries", "0")
    away = copy(tmp_path, in_url, tmp_path / "carry", "--retries", "0")
    assert (wrong.status, failed.status, away.status) == (2, 1, 2), (wrong.said, failed.said)
    for done in (wrong, failed, away):
        assert "secret" not in done.said


def test_a_reader_cannot_publish(tmp_path: Path, target: Registry) -> None:
    (tmp_path / "packages").mkdir()
    make_wheel(tmp_path / "packages", "acme", "1.0")
    reader = {"COPY_TARGET_USERNAME": "reader", "COPY_TARGET_PASSWORD": "reader-password"}
    done = copy(tmp_path, tmp_path / "packages", target.gateway.url, environment=reader)
    assert (done.status, done.table) == (1, counted(failed=1)), done.said
    assert "403" in done.said
    assert copy(tmp_path, tmp_path / "packages", target.gateway.url, environment=PUBLISHER).status == 0
