from __future__ import annotations

import hashlib
from datetime import datetime, timezone

import pytest

from server.access import token_lines
from server.access.token_lines import LineError, Token, read

DIGEST = "0123456789abcdef" * 4
LINE = f"ci sha256={DIGEST} rights=publish,yank projects=team-a-*,tool expires=2027-01-31T00:00:00Z"
FULL = f"{LINE} not-before=2027-01-01T00:00:00Z"


def test_a_line_says_everything_about_a_token() -> None:
    assert Token.of(FULL) == Token(
        name="ci",
        sha256=DIGEST,
        rights=("publish", "yank"),
        projects=("team-a-*", "tool"),
        expires=datetime(2027, 1, 31, tzinfo=timezone.utc),
        not_before=datetime(2027, 1, 1, tzinfo=timezone.utc),
    )
    assert Token.of(FULL).line == FULL
    never = Token.of(LINE.replace("2027-01-31T00:00:00Z", "never"))
    assert (never.expires, never.not_before) == (None, None)
    assert Token.of(never.line) == never


def test_fields_stand_in_any_order() -> None:
    name, *fields = FULL.split()
    assert Token.of("   ".join([name, *reversed(fields)])) == Token.of(FULL)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("ci", "sha256 must be given"),
        (LINE.replace("ci ", "Ci "), "the name must be lower-case letters, digits, - and ., 63 at most"),
        (LINE.replace("ci ", f"{'c' * 64} "), "the name must be "),
        (LINE.replace("ci ", "ci SECRET "), "a field must be one of sha256=, rights=, projects=, expires= and not-b"),
        (f"{LINE} scope=SECRET", "a field must be one of "),
        (f"{LINE} expires=never", "expires must be given once"),
        (LINE.replace(DIGEST, "SECRET"), "sha256 must be 64 hexadecimal digits"),
        (LINE.replace(DIGEST, DIGEST.upper()), "sha256 must be 64 hexadecimal digits"),
        (LINE.replace(f" sha256={DIGEST}", ""), "sha256 must be given"),
        (LINE.replace(" rights=publish,yank", ""), "rights must be given"),
        (LINE.replace("publish,yank", ""), "rights must be of read, publish, yank, remove, with commas"),
        (LINE.replace("publish,yank", "publish,write"), "(got 'publish,write')"),
        (LINE.replace(" projects=team-a-*,tool", ""), "projects must be given"),
        (LINE.replace("team-a-*,tool", ""), "projects must be names such as tool or team-a-*"),
        (LINE.replace("team-a-*", "team/a"), "(got 'team/a,tool')"),
        (LINE.replace("tool", "t" * 2000), "projects must have 2000 characters at most"),
        (LINE.replace("tool", ",".join("t" * 500)), "projects must be 500 at most"),
        (LINE.replace(" expires=2027-01-31T00:00:00Z", ""), "expires must be given"),
        (
            LINE.replace("2027-01-31T00:00:00Z", "2027-01-31"),
            "expires must be a time such as 2027-01-31T00:00:00Z (got",
        ),
        (LINE.replace("2027-01-31T00:00:00Z", "2027-02-30T00:00:00Z"), "(got '2027-02-30T00:00:00Z')"),
        (LINE.replace("2027-01-31T00:00:00Z", "2027-01-31T00:00:00+01:00"), "expires must be a time"),
        (LINE.replace("2027-01-31T00:00:00Z", "SECRET"), "expires must be a time such as 2027-01-31T00:00:00Z"),
        (f"{LINE} not-before=never", "not-before must be a time"),
    ],
)
def test_what_is_no_token_is_named_and_shows_no_secret(line: str, says: str) -> None:
    with pytest.raises(LineError) as refused:
        Token.of(line)
    assert says in str(refused.value)
    assert "SECRET" not in str(refused.value)


def test_a_file_has_comments_empty_lines_and_problems_by_number() -> None:
    text = f"# of team a\r\n\n{LINE}\r\n  # indented\nSECRET\n{LINE.replace('ci ', 'other ')}"
    tokens, problems = read(text)
    assert list(tokens) == ["ci", "other"]
    assert list(problems) == [5]


def test_a_name_that_two_lines_have_counts_for_neither() -> None:
    tokens, problems = read(f"{LINE}\nother{LINE[2:]}\n{LINE.replace('tool', '*')}\n")
    assert list(tokens) == ["other"]
    assert {number: str(problem) for number, problem in problems.items()} == dict.fromkeys(
        (1, 3), "the name must be that of one line: none of them counts (got 'ci')"
    )


def test_a_token_has_its_name_and_192_random_bits() -> None:
    made = {token_lines.make("ci.team-a") for _ in range(100)}
    assert len(made) == 100
    for token in made:
        assert token_lines.name_in(token) == "ci.team-a"
        assert len(token.removeprefix("pypiserver_ci.team-a_")) == 48
        assert token_lines.digest(token) == hashlib.sha256(token.encode()).hexdigest()


@pytest.mark.parametrize(
    "token",
    ["", "pypi-AgEIcHlwaS5vcmc", "pypiserver__" + 48 * "0", "pypiserver_ci_" + 47 * "0", "pypiserver_ci_" + 48 * "Z"],
)
def test_what_has_no_name_is_no_token(token: str) -> None:
    assert token_lines.name_in(token) is None
