"""`python -m cdk8s_pypiserver token`, as a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

from server.access import token_lines
from server.access.token_lines import MOMENT, Token

if TYPE_CHECKING:
    from pathlib import Path

LINE = f"old sha256={'0' * 64} rights=read projects=* expires=never\n"


def token(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a directory."""
    command = [sys.executable, "-m", "cdk8s_pypiserver", "token", *arguments]
    return subprocess.run(command, cwd=place, check=False, capture_output=True, text=True, timeout=120)


def only(place: Path) -> Token:
    (found,) = token_lines.read((place / "tokens").read_text()).tokens.values()
    return found


def test_a_new_token_is_printed_once_and_its_digest_kept(tmp_path: Path) -> None:
    before = datetime.now(timezone.utc).replace(microsecond=0)
    done = token(tmp_path, "new", "ci", "--projects", "team-a-*,tool")
    assert (done.returncode, done.stderr) == (0, "")
    secret = done.stdout.strip()
    made = only(tmp_path)
    assert made.sha256 == token_lines.digest(secret)
    assert secret not in (tmp_path / "tokens").read_text()
    assert (made.name, made.rights, made.projects) == ("ci", ("publish",), ("team-a-*", "tool"))
    assert made.expires
    assert before <= made.expires - timedelta(days=90) <= datetime.now(timezone.utc)
    assert made.not_before is None
    assert (tmp_path / "tokens").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("projects", "rights", "warned"),
    [("a", "read", True), ("a,b-*", "publish,read", True), ("*", "read", False), ("a", "publish", False)],
)
def test_a_token_that_may_read_nothing_is_warned_about(
    projects: str, rights: str, tmp_path: Path, *, warned: bool
) -> None:
    done = token(tmp_path, "new", "ci", "--projects", projects, "--rights", rights)
    assert (done.returncode, done.stdout.count("\n")) == (0, 1)
    reason = f"with --projects '{projects}' it reads nothing, unless rules of permissions are about reading"
    assert done.stderr == (f"token: warning: {reason}\n" if warned else "")


def test_options(tmp_path: Path) -> None:
    until, start = "2127-01-31T00:00:00Z", "2126-01-31T00:00:00Z"
    rights = "remove,read"
    done = token(
        tmp_path,
        *("new", "ci", "--projects", "*", "--rights", rights, "--expires", until, "--not-before", start),
        *("--file", "elsewhere"),
    )
    assert done.returncode == 0
    (line,) = (tmp_path / "elsewhere").read_text().splitlines()
    assert line.endswith(f" rights=read,remove projects=* expires={until} not-before={start}")
    assert token(tmp_path, "new", "ci", "--projects", "*", "--expires", "never").returncode == 0
    assert only(tmp_path).expires is None


@pytest.mark.parametrize("before", ["# ours\n\n" + LINE, LINE.rstrip("\n"), ""])
def test_what_somebody_has_written_stays(before: str, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text(before)
    (tmp_path / "tokens").chmod(0o640)
    assert token(tmp_path, "new", "ci", "--projects", "*").returncode == 0
    text = (tmp_path / "tokens").read_text()
    assert text.startswith(before)
    assert not token_lines.read(text).problems
    assert list(token_lines.read(text).tokens) == (["old", "ci"] if LINE.strip() in before else ["ci"])
    assert (tmp_path / "tokens").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["old", "--projects", "*"], "argument NAME: 'old' is in tokens already; a token in its place needs another "),
        (["Ci", "--projects", "*"], "argument NAME: 'Ci' must be lower-case letters, digits, - and ., 63 at most"),
        (["ci", "--projects", "a b"], "argument --projects: 'a b' must be names such as tool or team-a-*, with commas"),
        (["ci", "--projects", ""], "argument --projects: '' must be names"),
        (["ci", "--projects", "*", "--rights", "write"], "argument --rights: 'write' must be of read, publish, yank,"),
        (["ci", "--projects", "*", "--expires", "soon"], "argument --expires: 'soon' is no time such as 90d, 12h or 2"),
        (["ci", "--projects", "*", "--expires", "2020-01-01T00:00:00Z"], "argument --expires: '2020-01-01T00:00:00Z' "),
        (["ci", "--projects", "*", "--not-before", "never"], "argument --not-before: 'never' is no time"),
        (["ci", "--projects", "*", "--not-before", "91d"], "argument --expires: '90d' is not after --not-before"),
        (
            ["ci", "--projects", "*", "--file", "none/tokens"],
            "argument --file: 'none/tokens' cannot be written: No",
        ),
        (["ci", "--projects", "*", "--file", "."], "argument --file: '.' cannot be read: "),
        (["ci"], "the following arguments are required: --projects"),
    ],
)
def test_bad_input_changes_nothing(arguments: list[str], says: str, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text(LINE)
    done = token(tmp_path, "new", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert (tmp_path / "tokens").read_text() == LINE
    assert list(tmp_path.iterdir()) == [tmp_path / "tokens"]


@pytest.mark.parametrize("action", [["new", "ci", "--projects", "*"], ["list"], ["patch"]])
def test_a_line_that_is_none_is_named_and_left(action: list[str], tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text(f"{LINE}ci SECRET\n")
    done = token(tmp_path, *action)
    assert done.returncode == 1
    assert "token: error: tokens, line 2: a field must be one of sha256=" in done.stderr
    assert "SECRET" not in done.stderr
    assert (tmp_path / "tokens").read_text() == f"{LINE}ci SECRET\n"


def test_the_list_says_which_tokens_count(tmp_path: Path) -> None:
    now = datetime.now(timezone.utc)
    ends = {"past": now - timedelta(days=1), "soon": now + timedelta(days=3, minutes=5)}
    later = now + timedelta(days=1)
    fields = f"sha256={'0' * 64} rights=publish,yank projects=a-*"
    lines = [LINE, *(f"{name} {fields} expires={end.strftime(MOMENT)}\n" for name, end in ends.items())]
    lines.append(f"later {fields} expires=never not-before={later.strftime(MOMENT)}\n")
    (tmp_path / "tokens").write_text("".join(lines))
    done = token(tmp_path, "list")
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split(maxsplit=4) for line in done.stdout.splitlines()]
    assert rows[0] == ["NAME", "RIGHTS", "PROJECTS", "EXPIRES", "STATE"]
    assert rows[1:] == [
        ["old", "read", "*", "never", "counts"],
        ["past", "publish,yank", "a-*", ends["past"].strftime(MOMENT), "expired"],
        ["soon", "publish,yank", "a-*", ends["soon"].strftime(MOMENT), "3 days left"],
        ["later", "publish,yank", "a-*", "never", f"counts from {later.strftime(MOMENT)}"],
    ]


def test_without_a_file_there_is_nothing_to_show(tmp_path: Path) -> None:
    for action in ("list", "patch"):
        done = token(tmp_path, action)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == "token: error: argument --file: 'tokens' is not there\n"


def test_the_patch_is_of_the_secret_s_key(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text(f"# ours\n{LINE}")
    done = token(tmp_path, "patch")
    assert done.returncode == 0
    assert json.loads(done.stdout) == {"stringData": {"tokens": f"# ours\n{LINE}"}}


def test_a_package_of_the_user_s_is_none_of_its_own(tmp_path: Path) -> None:
    """Of the current directory, which Python looks into first, or of the environment."""
    (tmp_path / "server").mkdir()
    (tmp_path / "server/__init__.py").write_text("raise SystemExit('loaded')\n")
    assert token(tmp_path, "new", "ci", "--projects", "*").returncode == 0
