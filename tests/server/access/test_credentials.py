from __future__ import annotations

import base64
import errno
import os
import shutil
from http import HTTPStatus
from typing import TYPE_CHECKING

import bcrypt
import pytest
import requests
from passlib.hash import apr_md5_crypt, ldap_sha1, sha256_crypt, sha512_crypt

from programs import PATIENCE, htpasswd_line
from server.access import credentials
from server.access.credentials import Credentials, verify
from server.access.initial_password import InitialPassword

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from passlib.ifc import PasswordHash

    from programs import Server
    from server.access.credentials import Role

    Serve = Callable[..., Server]


def header(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def verdict(judge: Credentials, sent: str | None, role: Role) -> HTTPStatus:
    """What the credentials are worth, whatever it takes to know."""
    asked = judge.asked(sent, role)
    if asked.known() is None:
        asked.check()
    return asked.known() or HTTPStatus.UNAUTHORIZED


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "readers").write_text(htpasswd_line("rita", "read"))
    (tmp_path / "publishers").write_text(htpasswd_line("paul", "pübl:ish"))
    return tmp_path


@pytest.mark.parametrize(
    ("sent", "reader", "publisher"),
    [
        (header("rita", "read"), 204, 403),
        (header("paul", "pübl:ish"), 204, 204),
        (header("rita", "wrong"), 401, 401),
        (header("paul", "read"), 401, 401),
        (header("nobody", "read"), 401, 401),
        (header("", ""), 401, 401),
        (header("rita", "read\0"), 401, 401),
        (None, 401, 401),
        ("", 401, 401),
        ("Bearer token", 401, 401),
        ("Basic !", 401, 401),
        ("Basic \xff", 401, 401),
        ("Basic cml0YQ==", 401, 401),
        ("Basic /w==", 401, 401),
        ("bAsIc " + header("rita", "read").split()[1], 204, 403),
    ],
)
def test_who_may_what(directory: Path, sent: str | None, reader: int, publisher: int) -> None:
    credentials = Credentials(directory)
    assert verdict(credentials, sent, "reader") == reader
    assert verdict(credentials, sent, "publisher") == publisher


def test_a_user_of_both_files_has_both_passwords(directory: Path) -> None:
    (directory / "readers").write_text(htpasswd_line("paul", "read"))
    credentials = Credentials(directory)
    assert verdict(credentials, header("paul", "pübl:ish"), "publisher") == HTTPStatus.NO_CONTENT
    assert verdict(credentials, header("paul", "read"), "reader") == HTTPStatus.NO_CONTENT
    assert verdict(credentials, header("paul", "read"), "publisher") == HTTPStatus.FORBIDDEN


@pytest.mark.parametrize("scheme", [apr_md5_crypt, ldap_sha1, sha256_crypt, sha512_crypt])
def test_the_other_schemes_of_htpasswd(scheme: PasswordHash) -> None:
    digest = scheme.hash("secret")
    assert verify(b"secret", digest)
    assert not verify(b"Secret", digest)


def test_bcrypt_as_htpasswd_and_as_python_write_it() -> None:
    long = b"x" * 100
    digest = bcrypt.hashpw(long[:72], bcrypt.gensalt(4)).decode()
    assert verify(long, digest)
    assert verify(long, digest.replace("$2b$", "$2y$"))
    assert not verify(long[:71], digest)
    assert not verify(b"x", "$2b$99$" + "." * 53)


def test_a_malformed_line_is_named_by_its_number_and_skipped(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    good = htpasswd_line("rita", "read")
    (directory / "readers").write_text(f"# comment\n\nplain:SECRET\nSECRET\n:SECRET\nshort:$2y$10$SECRET\n{good}")
    credentials = Credentials(directory)
    assert verdict(credentials, header("rita", "read"), "reader") == HTTPStatus.NO_CONTENT
    assert verdict(credentials, header("plain", "SECRET"), "reader") == HTTPStatus.UNAUTHORIZED
    assert [record.getMessage().split(",")[1].split(" is")[0] for record in caplog.records] == [
        " line 3",
        " line 4",
        " line 5",
        " line 6",
    ]
    assert str(directory / "readers") in caplog.text
    assert "SECRET" not in caplog.text


@pytest.mark.parametrize("scheme", [apr_md5_crypt, ldap_sha1, sha256_crypt, sha512_crypt])
def test_a_hash_that_was_cut_off_is_a_malformed_line(
    directory: Path, caplog: pytest.LogCaptureFixture, scheme: PasswordHash
) -> None:
    whole = scheme.hash("read")
    (directory / "readers").write_text(f"rita:{whole[:-1]}\nrita:{whole}\n")
    credentials = Credentials(directory)
    assert verdict(credentials, header("rita", "read"), "reader") == HTTPStatus.NO_CONTENT
    assert [record.getMessage().split(",")[1].split(" is")[0] for record in caplog.records] == [" line 1"]


def test_of_a_user_s_lines_the_first_counts_as_for_apache(directory: Path) -> None:
    """mod_authn_file and `htpasswd -v` read no further than it."""
    (directory / "readers").write_text(htpasswd_line("rita", "first") + htpasswd_line("rita", "second"))
    credentials = Credentials(directory)
    assert verdict(credentials, header("rita", "first"), "reader") == HTTPStatus.NO_CONTENT
    assert verdict(credentials, header("rita", "second"), "reader") == HTTPStatus.UNAUTHORIZED


def test_files_are_read_again_when_they_change(directory: Path) -> None:
    credentials = Credentials(directory)
    assert verdict(credentials, header("rita", "read"), "reader") == HTTPStatus.NO_CONTENT
    (directory / "readers").unlink()
    assert verdict(credentials, header("rita", "read"), "reader") == HTTPStatus.UNAUTHORIZED
    (directory / "readers").write_text(htpasswd_line("rita", "other"))
    assert verdict(credentials, header("rita", "other"), "reader") == HTTPStatus.NO_CONTENT


def test_the_initial_password_holds_until_there_are_files(tmp_path: Path) -> None:
    initial = InitialPassword(tmp_path)
    initial.make()
    credentials = Credentials(tmp_path, InitialPassword(tmp_path))
    sent = header("publisher", initial.path.read_text().strip())
    assert verdict(credentials, sent, "publisher") == HTTPStatus.NO_CONTENT
    assert verdict(credentials, header("publisher", "else"), "publisher") == HTTPStatus.UNAUTHORIZED
    (tmp_path / "publishers").write_text(htpasswd_line("paul", "secret"))
    assert verdict(credentials, sent, "publisher") == HTTPStatus.UNAUTHORIZED
    assert verdict(credentials, header("paul", "secret"), "publisher") == HTTPStatus.NO_CONTENT
    assert not initial.path.exists()
    (tmp_path / "publishers").unlink()
    assert verdict(credentials, sent, "publisher") == HTTPStatus.UNAUTHORIZED


@pytest.mark.parametrize("make", [lambda path: path.write_bytes(b"\xff"), os.mkfifo])
def test_what_is_no_initial_password_gives_way_to_one(tmp_path: Path, make: Callable[[Path], None]) -> None:
    initial = InitialPassword(tmp_path)
    initial.path.parent.mkdir()
    make(initial.path)
    initial = InitialPassword(tmp_path)
    assert initial.hashes() == {}
    initial.make()
    assert initial.hashes()
    assert InitialPassword(tmp_path).hashes()


def test_an_initial_password_ends_also_where_it_cannot_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    initial = InitialPassword(tmp_path)
    initial.make()
    sent = header("publisher", initial.path.read_text().strip())

    def unlink(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(type(tmp_path), "unlink", unlink)
    credentials = Credentials(tmp_path, initial)
    (tmp_path / "tokens").touch()
    assert verdict(credentials, sent, "publisher") == HTTPStatus.UNAUTHORIZED
    (tmp_path / "tokens").rename(tmp_path / "else")
    assert verdict(credentials, sent, "publisher") == HTTPStatus.UNAUTHORIZED
    assert f"{initial.path} cannot be removed: Read-only file system" in caplog.text


def test_a_right_password_is_checked_once(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[bytes] = []

    def check(password: bytes, digest: str) -> bool:
        checked.append(password)
        return verify(password, digest)

    monkeypatch.setattr(credentials, "verify", check)
    judge = Credentials(directory)
    for _ in range(3):
        assert verdict(judge, header("rita", "read"), "reader") == HTTPStatus.NO_CONTENT
        assert verdict(judge, header("rita", "read"), "publisher") == HTTPStatus.FORBIDDEN
    assert checked == [b"read"]
    for _ in range(3):
        assert verdict(judge, header("rita", "guess"), "reader") == HTTPStatus.UNAUTHORIZED
    assert checked == [b"read", b"guess"]
    (directory / "readers").write_text(htpasswd_line("rita", "other"))
    assert verdict(judge, header("rita", "read"), "reader") == HTTPStatus.UNAUTHORIZED
    (directory / "readers").unlink()
    assert verdict(judge, header("rita", "other"), "reader") == HTTPStatus.UNAUTHORIZED


@pytest.mark.parametrize("role", ["publishers", "readers"])
def test_a_name_that_nobody_has_takes_a_check(role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a wrong password does, the first time and again: the time must not tell which users there are."""
    checked: list[tuple[bytes, str]] = []

    def check(password: bytes, digest: str) -> bool:
        checked.append((password, digest))
        return verify(password, digest)

    monkeypatch.setattr(credentials, "verify", check)
    line = htpasswd_line("somebody", "right")
    (tmp_path / role).write_text(line)
    judge = Credentials(tmp_path)
    for user, password in (("nobody", "guess"), ("somebody", "guess"), ("nobody", "other"), ("no-one", "guess")):
        checked.clear()
        for _ in range(2):
            assert verdict(judge, header(user, password), "reader") == HTTPStatus.UNAUTHORIZED
        assert checked == [(password.encode(), line.strip().partition(":")[2])], user


def test_in_a_hurry_such_a_name_takes_the_time_alone(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []
    slept: list[float] = []

    def check(password: bytes, digest: str) -> bool:
        checked.append(digest)
        return verify(password, digest)

    monkeypatch.setattr(credentials, "verify", check)
    monkeypatch.setattr("server.access.credentials.time.sleep", slept.append)
    judge = Credentials(directory)
    for number in range(50):
        judge.check_in_vain(b"guess", f"nobody-{number}", hurry=True)
    assert sorted(checked) == sorted({*judge.publishers().values(), *judge._readers.hashes().values()})
    assert set(slept) == set(judge._took.values())
    assert len(slept) == 50 - len(checked)


def test_it_takes_the_time_of_the_same_user_each_time(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of hashes that take longer than others a name must not have now one, now the other."""
    (directory / "publishers").write_text(htpasswd_line("paul", "publish") + htpasswd_line("rita", "publish"))
    checked: list[str] = []

    def check(_: bytes, digest: str) -> bool:
        checked.append(digest)
        return False

    monkeypatch.setattr(credentials, "verify", check)
    judge = Credentials(directory)
    publishers, readers = judge.publishers(), judge._readers.hashes()
    kinds = set()
    for number in range(50):
        seen = set()
        for password in (b"one", b"two", b"three"):
            checked.clear()
            judge.check_in_vain(password, f"nobody-{number}")
            seen.add(tuple(checked))
        assert len(seen) == 1
        kinds |= seen
    # Whose password is wrong in both files has two checks.
    assert kinds == {(publishers["paul"],), (publishers["rita"], readers["rita"])}


def test_a_rotated_secret_counts_without_a_restart(serve: Serve) -> None:
    """The kubelet replaces a mounted Secret by renaming a symbolic link to a new directory."""
    server = serve()
    directory = server.credentials
    (directory / "..1").mkdir()
    for name in ("readers", "publishers"):
        shutil.move(directory / name, directory / "..1" / name)
    (directory / "..data").symlink_to("..1")
    for name in ("readers", "publishers"):
        (directory / name).symlink_to(f"..data/{name}")

    def ask(user: str, password: str, role: str) -> int:
        url = f"http://127.0.0.1:{server.verdicts_port}/-/auth/{role}"
        return requests.get(url, auth=(user, password), timeout=PATIENCE).status_code

    assert ask("publisher", "publisher-password", "publisher") == 204
    assert ask("reader", "reader-password", "publisher") == 403
    (directory / "..2").mkdir()
    (directory / "..2/publishers").write_text(htpasswd_line("publisher", "rotated"))
    (directory / "..next").symlink_to("..2")
    (directory / "..next").rename(directory / "..data")
    assert ask("publisher", "publisher-password", "publisher") == 401
    assert ask("publisher", "rotated", "publisher") == 204
    assert ask("reader", "reader-password", "reader") == 401
    refused = requests.get(f"http://127.0.0.1:{server.verdicts_port}/-/auth/reader", timeout=PATIENCE)
    assert refused.headers["WWW-Authenticate"] == 'Basic realm="pypiserver"'
