from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from server.index.patterns import Patterns, Rules
from server.upstream.configuration import Configuration, IndexConfiguration
from server.upstream.page import Page, PublicFile
from server.upstream.policy import Policy

INDEX = IndexConfiguration(name="pub", url="https://index.example.org/simple/", file_hosts=("files.example.org:8443",))
NOW = datetime(2026, 6, 15, tzinfo=timezone.utc)


def policy(**configured: Any) -> Policy:  # noqa: ANN401 - fields of several types
    return Policy(Configuration(indexes=(INDEX,), **configured), lambda: NOW)


def file(**said: Any) -> PublicFile:  # noqa: ANN401 - the same
    url = "https://files.example.org:8443/demo-1.0.zip"
    fields = {"filename": "demo-1.0.zip", "url": url, "sha256": "ab" * 32, "upload_time": "2026-06-10T00:00:00Z"}
    nothing = dict.fromkeys(PublicFile._fields)
    return PublicFile(**{**nothing, **fields, **said})


def kind(of: Policy, each: PublicFile, status: str | None = None) -> str | None:
    hidden = of.why("demo", each, Page((each,), status, None), INDEX)
    return hidden.kind if hidden else None


def test_without_rules_everything_is_served() -> None:
    assert kind(policy(), file()) is None
    assert policy().refusal("demo") is None


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"upload_time": "2026-06-07T23:59:59Z"}, None),
        ({"upload_time": "2026-06-08T00:00:01Z"}, "age"),
        ({"upload_time": "2026-06-08T00:00:01"}, "age"),
        ({"upload_time": "2027-01-01T00:00:00Z"}, "age"),
        ({"upload_time": None}, "age"),
        ({"upload_time": "yesterday"}, "age"),
    ],
)
def test_a_file_has_to_be_old_enough(said: dict[str, Any], expected: str | None) -> None:
    assert kind(policy(minimum_age_days=7), file(**said)) == expected
    assert kind(policy(minimum_age_days=7, no_minimum_age=Patterns(["dem*"])), file(**said)) is None


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example.org/demo-1.0.zip",
        "http://files.example.org:8443/demo-1.0.zip",
        "https://files.example.org/demo-1.0.zip",
        "https://index.example.org:444/demo-1.0.zip",
        "https://127.0.0.1/demo-1.0.zip",
    ],
)
def test_files_of_other_hosts_are_not_served(url: str) -> None:
    assert kind(policy(), file(url=url)) == "host"


def test_files_of_the_index_itself_are_served() -> None:
    assert kind(policy(), file(url="https://index.example.org/demo-1.0.zip")) is None


def test_a_file_without_a_hash_is_not_served() -> None:
    assert kind(policy(), file(sha256=None)) == "hash"


def test_quarantine() -> None:
    assert kind(policy(), file(), "quarantined") == "quarantined"
    assert kind(policy(), file(), "archived") is None


@pytest.mark.parametrize(
    ("configured", "refused", "expected"),
    [
        ({"deny": Rules(["demo"])}, True, "denied"),
        ({"deny": Rules(["demo<2"])}, False, "denied"),
        ({"deny": Rules(["demo>2"])}, False, None),
        ({"allow": Rules(["other"])}, True, "denied"),
        ({"allow": Rules(["demo"])}, False, None),
        ({"allow": Rules(["d*>=2"])}, False, "denied"),
        ({"allow": Rules(["demo"]), "deny": Rules(["demo==1.0"])}, False, "denied"),
    ],
)
def test_rules(configured: dict[str, Any], refused: bool, expected: str | None) -> None:
    of = policy(**configured)
    assert bool(of.refusal("demo")) == refused
    assert kind(of, file()) == expected
    assert of.covers("demo", "demo-1.0.zip") == (expected is None)


def test_a_version_that_cannot_be_told_is_denied_where_any_is() -> None:
    assert kind(policy(deny=Rules(["demo<2"])), file(filename="demo-latest.zip")) == "denied"
    assert kind(policy(allow=Rules(["demo<2"])), file(filename="demo-latest.zip")) == "denied"


def test_a_post_release_in_an_old_spelling_is_no_way_around_a_rule() -> None:
    for rules in ({"deny": Rules(["demo>=2"])}, {"allow": Rules(["demo<2"])}):
        assert kind(policy(**rules), file(filename="demo-2.0-1.tar.gz")) == "denied"
