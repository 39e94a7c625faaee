from __future__ import annotations

import logging
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import pytest

from server.access import token_lines
from server.access.token_lines import Token
from server.access.tokens import Tokens
from server.pod.samples import text_of

if TYPE_CHECKING:
    from pathlib import Path

    from server.access.tokens import Found

NOW = datetime(2027, 1, 10, tzinfo=timezone.utc).timestamp()


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def at(day: int) -> datetime:
    return datetime(2027, 1, day, tzinfo=timezone.utc)


def give(path: Path, name: str, expires: datetime | None = None, not_before: datetime | None = None) -> str:
    """Add a token to a file, and return it."""
    secret = token_lines.make(name)
    token = Token(
        name=name,
        sha256=token_lines.digest(secret),
        rights=("publish",),
        projects=("*",),
        expires=expires,
        not_before=not_before,
    )
    with path.open("a") as file:
        file.write(f"{token.line}\n")
    return secret


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


def found(tokens: Tokens, secret: str) -> Found:
    known = tokens.find(secret.encode())
    assert known
    return known


def test_a_token_is_found_by_its_name_and_compared_whole(path: Path) -> None:
    secret = give(path, "ci")
    give(path, "other")
    tokens = Tokens(path)
    assert found(tokens, secret).token.name == "ci"
    assert found(tokens, secret).refusal is None
    wrong = secret[:-1] + ("0" if secret[-1] != "0" else "1")
    for text in (wrong, secret.replace("ci", "other"), secret.replace("ci", "nobody"), secret.upper(), "", "\xff"):
        assert tokens.find(text.encode("latin-1")) is None
    assert tokens.find(token_lines.digest(secret).encode()) is None


def test_without_a_file_there_is_none(path: Path) -> None:
    tokens = Tokens(path)
    assert not tokens.present
    assert tokens.find(token_lines.make("ci").encode()) is None
    secret = give(path, "ci")
    assert tokens.present
    assert found(tokens, secret).token.name == "ci"


def test_a_changed_file_counts_at_once(path: Path) -> None:
    old = give(path, "old")
    tokens = Tokens(path)
    assert found(tokens, old)
    path.unlink()
    new = give(path, "new")
    assert tokens.find(old.encode()) is None
    assert found(tokens, new)
    path.unlink()
    assert tokens.find(new.encode()) is None


def test_a_file_that_cannot_be_read_lets_nobody_in(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    secret = give(path, "ci")
    tokens = Tokens(path)
    assert found(tokens, secret)
    path.unlink()
    path.mkdir()
    assert tokens.find(secret.encode()) is None
    assert f"{path} cannot be read; nobody in it is let in" in caplog.text


def test_a_token_counts_from_its_beginning_to_its_end(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    secret = give(path, "ci", expires=at(20), not_before=at(11))
    clock = Clock()
    tokens = Tokens(path, clock)
    assert found(tokens, secret).refusal == "early"
    beginning = "the token ci is refused: not-before 2027-01-11T00:00:00Z has not come; "
    assert caplog.messages == [f"{beginning}the clock here says 2027-01-10T00:00:00Z"]
    clock.now = at(11).timestamp()
    assert found(tokens, secret) == (tokens.all()["ci"], None, 9 * 86_400)
    clock.now = at(20).timestamp() - 1
    assert found(tokens, secret) == (tokens.all()["ci"], None, 1)
    caplog.clear()
    clock.now += 1
    assert found(tokens, secret).refusal == "expired"
    assert caplog.messages == [
        "the token ci is refused: expires 2027-01-20T00:00:00Z has passed; the clock here says 2027-01-20T00:00:00Z"
    ]


def test_a_refused_token_has_one_line_of_the_log_a_minute(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    secret = give(path, "ci", expires=at(9))
    clock = Clock()
    tokens = Tokens(path, clock)
    for _ in range(1000):
        found(tokens, secret)
    assert len(caplog.records) == 1
    clock.now += 60
    found(tokens, secret)
    assert len(caplog.records) == 2


def test_a_wrong_token_of_a_name_that_has_expired_says_nothing(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    give(path, "ci", expires=at(9))
    assert Tokens(path, Clock()).find(token_lines.make("ci").encode()) is None
    assert not caplog.records


def test_a_malformed_line_is_named_by_its_number_and_shows_nothing(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_text("# comment\nci SECRET\n")
    secret = give(path, "other")
    with caplog.at_level(logging.WARNING):
        assert found(Tokens(path), secret)
    assert f"{path}, line 2 counts for nobody: a field must be one of " in caplog.text
    assert "SECRET" not in caplog.text


def test_the_metrics_tell_the_end_the_last_use_and_the_problems(path: Path) -> None:
    secret = give(path, "ci", expires=at(20))
    give(path, "for-ever")
    clock = Clock()
    tokens = Tokens(path, clock)
    lines = text_of(tokens.samples()).splitlines()
    assert f'pypiserver_token_expiry_timestamp_seconds{{token="ci"}} {at(20).timestamp():.17g}' in lines
    assert not any("last_use" in line or "for-ever" in line for line in lines)
    assert "pypiserver_token_problems 0" in lines
    tokens.use(found(tokens, secret).token)
    lines = text_of(tokens.samples()).splitlines()
    assert f'pypiserver_token_last_use_timestamp_seconds{{token="ci"}} {NOW:.17g}' in lines
    path.write_text("no token\n")
    lines = [line for line in text_of(tokens.samples()).splitlines() if not line.startswith("#")]
    assert lines == ["pypiserver_token_problems 1"]
