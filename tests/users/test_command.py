"""`python -m cdk8s_pypiserver user`: what it writes is what the server reads, and nothing else changes."""

from __future__ import annotations

import contextlib
import logging
import os
import pty
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from passlib.hash import apr_md5_crypt, ldap_sha1, sha256_crypt, sha512_crypt

from cdk8s_pypiserver.users.htpasswd import Htpasswd, HtpasswdError, check_name, check_password, is_hash
from documents import blocks
from manifests import ROOT
from programs import htpasswd_line
from schemas import problems
from server.access.credentials import PasswordFile, verify
from server.access.token_lines import USER as TOKEN_USER

HASH = htpasswd_line("any", "password").strip().partition(":")[2]
OTHER = htpasswd_line("any", "other").strip().partition(":")[2]


def user(*arguments: object, password: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cdk8s_pypiserver", "user", *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        input=password,
    )


def right(path: Path, name: str, password: str) -> bool:
    """Whether the server lets somebody in."""
    digest = PasswordFile(path).hashes().get(name)
    return digest is not None and verify(password.encode(), digest)


def test_a_user_comes_gets_another_password_and_goes(tmp_path: Path) -> None:
    file = tmp_path / "readers"
    added = user("add", file, "bob", "--cost", 10, password="first pässword\n")
    assert (added.returncode, added.stdout, added.stderr) == (0, "", "")
    assert right(file, "bob", "first pässword")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert user("add", file, "alice", password="hers").returncode == 0
    assert user("replace", file, "bob", "--cost", 11, password="second").returncode == 0
    assert right(file, "bob", "second")
    assert not right(file, "bob", "first pässword")
    assert user("list", file).stdout == "bob\tbcrypt, cost 11\nalice\tbcrypt, cost 12\n"
    assert user("remove", file, "bob").returncode == 0
    assert set(PasswordFile(file).hashes()) == {"alice"}
    assert [each.name for each in tmp_path.iterdir()] == ["readers"]


def test_other_lines_and_the_mode_stay(tmp_path: Path) -> None:
    real, file = tmp_path / "real", tmp_path / "publishers"
    real.write_bytes(f"# ours\r\n\r\nbob:{HASH}\r\n  # his\r\nalice:{HASH}".encode())
    real.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(real, 1234, 2345)
    before = real.stat()
    file.symlink_to(real.name)
    changed = Htpasswd(file)
    changed.replace("bob", OTHER)
    changed.add("carol", HASH)
    changed.remove("alice")
    changed.write()
    assert real.read_bytes() == f"# ours\r\n\r\nbob:{OTHER}\r\n  # his\r\ncarol:{HASH}\r\n".encode()
    assert file.is_symlink()
    after = real.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    # Another file in its place: whoever has the old one open reads that to its end.
    assert after.st_ino != before.st_ino


def test_of_a_malformed_file_each_line_is_numbered_and_none_changes(tmp_path: Path) -> None:
    file = tmp_path / "readers"
    lines = ["# comment", f"bob:{HASH}", "SECRET", "carol:SECRET", f":{HASH}", "", f"bob:{OTHER}", "dave:$2y$10$SECRET"]
    file.write_text("\n".join(lines))
    for action in (["add", file, "alice"], ["replace", file, "bob"], ["remove", file, "bob"], ["list", file]):
        refused = user(*action, password="a password")
        assert refused.returncode == 2
        said = refused.stderr.removeprefix("user: error: ").splitlines()
        assert [line.removeprefix(f"{file}: line ").split()[0] for line in said] == ["3", "4", "5", "7", "8"]
        assert "SECRET" not in refused.stderr
    assert "'bob' again, who is in line 2" in refused.stderr
    assert file.read_text() == "\n".join(lines)
    file.write_bytes(b"# comment\nb\xffb:x\n")
    assert user("list", file).stderr == f"user: error: {file}: line 2 is not UTF-8\n"


def test_what_the_server_skips_is_what_the_command_refuses(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    hashes = [scheme.hash("x") for scheme in (apr_md5_crypt, ldap_sha1, sha256_crypt, sha512_crypt)]
    hashes += [sha512_crypt.using(rounds=5001).hash("x"), HASH, HASH.replace("$2b$", "$2y$")]
    cut = [digest[:-1] for digest in hashes]
    for digest in [*hashes, *cut, "", "plain", "{SSHA}" + "a" * 32, "rqXexS6ZhobKA", "$2x$10$" + "a" * 53]:
        file = tmp_path / "readers"
        file.write_text(f"bob:{digest}\n")
        assert is_hash(digest) == (digest in hashes)
        assert (set(PasswordFile(file).hashes()) == {"bob"}) == is_hash(digest), digest


NAMES = st.text(min_size=1, max_size=60)


@given(names=st.lists(NAMES, unique=True, max_size=5), name=NAMES)
def test_any_name_that_is_taken_is_read_by_the_server(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], name: str
) -> None:
    taken = []
    for each in names:
        with contextlib.suppress(HtpasswdError):
            taken.append(check_name(each))
    file = tmp_path_factory.mktemp("names") / "readers"
    changed = Htpasswd(file)
    for each in taken:
        changed.add(each, HASH)
    changed.write()
    assert list(PasswordFile(file).hashes()) == taken == list(Htpasswd(file).users)
    before = file.read_bytes()
    try:
        check_name(name)
        changed.add(name, OTHER)
    except HtpasswdError:
        return
    changed.write()
    assert PasswordFile(file).hashes()[name] == OTHER
    changed.remove(name)
    changed.write()
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "must not be empty"),
        ("a:b", "no colon"),
        (" a", "no space at its ends"),
        ("a\nb", "nothing that is not shown"),
        ("a\u2028b", "nothing that is not shown"),
        ("#a", "must not begin with #"),
        (TOKEN_USER, "is the user of tokens"),
        ("ä" * 128, "at most 255 bytes"),
    ],
)
def test_names_that_are_refused(tmp_path: Path, name: str, says: str) -> None:
    refused = user("add", tmp_path / "readers", name, password="a password")
    assert refused.returncode == 2
    assert says in refused.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("password", "says"),
    [
        ("", "the password is empty"),
        ("ä" * 36 + "b", "has 73 bytes, and bcrypt reads only the first 72"),
        ("a\0b", "has a NUL"),
        ("a\rb", "the end of a line"),
    ],
)
def test_passwords_that_are_refused(tmp_path: Path, password: str, says: str) -> None:
    with pytest.raises(HtpasswdError, match=says):
        check_password(password)
    refused = user("add", tmp_path / "readers", "bob", password=password)
    assert refused.returncode == 2
    assert password == "" or password not in refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_longest_password_counts_to_its_end(tmp_path: Path) -> None:
    file, longest = tmp_path / "readers", "ä" * 36
    assert user("add", file, "bob", "--cost", 10, password=longest).returncode == 0
    assert right(file, "bob", longest)
    assert not right(file, "bob", "ä" * 35 + "é")


@pytest.mark.parametrize(("repeated", "status"), [("secret", 0), ("secrets", 2)])
def test_a_terminal_is_asked_twice_and_shows_nothing(tmp_path: Path, repeated: str, status: int) -> None:
    file = tmp_path / "readers"
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "cdk8s_pypiserver", "user", "add", str(file), "bob"]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, close_fds=True
    ) as asking:
        os.close(theirs)
        shown = b""
        for prompt, typed in ((b"Password: ", "secret"), (b"Once more: ", repeated)):
            while not shown.endswith(prompt):
                shown += os.read(ours, 1024)
            os.write(ours, f"{typed}\n".encode())
        with contextlib.suppress(OSError):
            while part := os.read(ours, 1024):
                shown += part
    os.close(ours)
    assert asking.returncode == status
    assert b"secret" not in shown
    assert file.exists() == (status == 0)
    assert right(file, "bob", "secret") == (status == 0)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["add", "readers", "bob"], "readers: line 1 is 'bob' already: replace it"),
        (["replace", "readers", "alice"], "readers has no user 'alice'"),
        (["remove", "readers", "alice"], "readers has no user 'alice'"),
        (["replace", "none", "bob"], "there is no file none"),
        (["add", "none/readers", "bob"], "cannot be written: No such file or directory"),
        (["add", "readers", "alice", "--cost", "9"], "argument --cost: invalid choice: 9"),
        (["add", ".", "alice"], ". cannot be read: Is a directory"),
        (["secret"], "a Secret needs --publishers or --readers"),
        (["secret", "--readers", "none"], "there is no file none"),
        (
            ["secret", "--readers", "readers", "--name", "A"],
            "argument --name: 'A' must be a name of lower-case letters",
        ),
        (["secret", "--readers", "readers", "--namespace", "a.b"], "argument --namespace: 'a.b' must be a name"),
    ],
)
def test_what_cannot_be_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str) -> None:
    monkeypatch.chdir(tmp_path)
    line = f"bob:{HASH}\n"
    (tmp_path / "readers").write_text(line)
    refused = user(*arguments, password="a password")
    assert refused.returncode == 2
    assert says in refused.stderr
    assert (tmp_path / "readers").read_text() == line
    assert [each.name for each in tmp_path.iterdir()] == ["readers"]


def test_a_file_that_is_too_large_for_a_secret_is_not_written(tmp_path: Path) -> None:
    file = tmp_path / "readers"
    line = f"bob:{HASH}\n"
    file.write_text(line + "# and more\n" * 100_000)
    refused = user("remove", file, "bob")
    assert refused.returncode == 2
    assert "are more than a Secret can have" in refused.stderr
    assert file.read_text().startswith(line)


def test_without_bcrypt_the_extra_is_named(tmp_path: Path) -> None:
    (tmp_path / "bcrypt.py").write_text("raise ModuleNotFoundError('none', name='bcrypt')")
    refused = subprocess.run(
        [sys.executable, "-m", "cdk8s_pypiserver", "user", "add", "readers", "bob"],
        check=False,
        capture_output=True,
        text=True,
        input="a password",
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert refused.returncode == 2
    assert refused.stderr == "user: error: there is no bcrypt here: install the extra 'user' of cdk8s-pypiserver\n"


def test_the_secret_has_the_files_as_they_are(tmp_path: Path) -> None:
    readers, publishers = tmp_path / "r", tmp_path / "p"
    readers.write_text(f"# readers: ä\nbob:{HASH}\n")
    publishers.write_text(f"alice:{HASH}\n")
    made = user("secret", "--readers", readers, "--publishers", publishers, "--namespace", "pypi")
    manifest = yaml.safe_load(made.stdout)
    assert list(problems([manifest])) == []
    assert manifest["metadata"] == {"name": "pypiserver-auth", "namespace": "pypi"}
    assert manifest["stringData"] == {"readers": readers.read_text(), "publishers": publishers.read_text()}
    malformed = tmp_path / "malformed"
    malformed.write_text("bob:plain\n")
    refused = user("secret", "--readers", malformed)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert f"{malformed}: line 1 is not a user with a hash" in refused.stderr


def test_commands_of_the_document(tmp_path: Path) -> None:
    make, whole = (text for kind, text in blocks(ROOT / "docs/credentials.md") if kind == "bash credentials")
    passwords = {"publisher_password": "hers", "reader_password": "his"}
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f"{make}touch tokens signing-key\n{whole}"],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **passwords},
    )
    listed, _, secret = ran.stdout.partition("\n")
    assert listed == "alice\tbcrypt, cost 12"
    assert set(yaml.safe_load(secret)["data"]) == {"publishers", "readers", "tokens", "signing-key"}
    assert right(tmp_path / "publishers", "alice", "hers")
    assert right(tmp_path / "readers", "bob", "his")
    assert yaml.safe_load((tmp_path / "secret.yaml").read_text())["metadata"]["namespace"] == "pypiserver"
