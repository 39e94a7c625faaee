"""What is read of an identity and of the answer about it; the verifier says what a test wants."""

from __future__ import annotations

import base64
import http.server
import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import webtest

from programs import PATIENCE, wait_for
from server.access.exchange import AT_ONCE, Exchange
from server.access.trusted import LIFETIME_SECONDS, Publisher, Publishers, PublishersError, TrustedTokens
from server.audit.chain import Chain
from server.audit.trail import STRANGERS_A_SECOND, Trail
from server.http.limits import Limits, Needs
from server.http.routes import Route, application

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = 1_800_000_000.0
ISSUER, AUDIENCE = "https://gitlab.example.org", "pypi.example.org"
CLAIMS = {"iss": ISSUER, "aud": AUDIENCE, "sub": "job", "iat": NOW, "exp": NOW + 60, "path": "a/b"}
KEY = "k" * 32


class Verifier:
    """Answers with a status, and keeps what it was asked with."""

    def __init__(self) -> None:
        self.status = 202
        self.to_nobody = 401
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.received: list[str] = []
        verifier = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                is_somebody = "Authorization" in self.headers
                if is_somebody:
                    verifier.received.append(f"{self.path} {self.headers['Authorization']}")
                verifier.may_answer.wait(PATIENCE)
                self.send_response(verifier.status if is_somebody else verifier.to_nobody)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/auth"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def verifier() -> Iterator[Verifier]:
    made = Verifier()
    yield made
    made.may_answer.set()
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "signing-key"
    path.write_text(f"{KEY}\n")
    return path


@pytest.fixture
def publishers(verifier: Verifier) -> Publishers:
    return Publishers(AUDIENCE, verifier.url, (Publisher("team-a", ISSUER, {"path": "a/b"}, ("team-a-*",)),))


@pytest.fixture
def tokens(publishers: Publishers, key: Path) -> TrustedTokens:
    return TrustedTokens(publishers, key, lambda: NOW)


@pytest.fixture
def app(publishers: Publishers, tokens: TrustedTokens) -> webtest.TestApp:
    exchange = Exchange(publishers, tokens, Trail(None), lambda: NOW)
    routes = [Route("POST", "/mint", exchange.mint, Needs.NOTHING), Route("GET", "/", exchange.audience, Needs.NOTHING)]
    return webtest.TestApp(application(routes, Limits(8, 1, lambda: None)))


def identity(**claims: object) -> str:
    said = json.dumps({**CLAIMS, **claims}).encode()
    return f"e30.{base64.urlsafe_b64encode(said).rstrip(b'=').decode()}.c2lnbmF0dXJl"


def asked(app: webtest.TestApp, token: str, status: int) -> Any:  # noqa: ANN401
    return app.post_json("/mint", {"token": token}, status=status)


def test_a_good_identity_gets_a_token(app: webtest.TestApp, tokens: TrustedTokens, verifier: Verifier) -> None:
    said = asked(app, identity(), 200).json
    assert (said["success"], said["expires"]) == (True, int(NOW) + LIFETIME_SECONDS)
    assert verifier.received == [f"/auth Bearer {identity()}"]
    found = tokens.find(said["token"].encode())
    assert found
    assert (found.token.name, found.token.rights, found.token.projects) == ("team-a", ("publish",), ("team-a-*",))
    assert (found.refusal, found.seconds) == (None, LIFETIME_SECONDS)
    assert app.get("/").json == {"audience": AUDIENCE}


@pytest.mark.parametrize(
    ("claims", "says"),
    [
        ({"iss": "https://other.example.org"}, "iss 'https://other.example.org' is no issuer of a trusted publisher"),
        ({"iss": [ISSUER]}, "is no issuer"),
        ({"aud": "pypi"}, "aud 'pypi' is not 'pypi.example.org'"),
        ({"aud": {AUDIENCE: 1}}, "is not 'pypi.example.org'"),
        ({"exp": NOW}, "exp 2027-01-15T08:00:00Z has passed; the clock here says 2027-01-15T08:00:00Z"),
        ({"exp": "soon"}, "exp 'soon' has passed"),
        ({"exp": 1e300, "iat": 1e300}, "iat 1e+300 has not come"),
        ({"iat": NOW + 301}, "iat 2027-01-15T08:05:01Z has not come; the clock here says 2027-01-15T08:00:00Z"),
    ],
)
def test_what_is_wrong_is_said_before_anybody_is_asked(
    app: webtest.TestApp, verifier: Verifier, claims: dict[str, Any], says: str
) -> None:
    assert says in asked(app, identity(**claims), 403).text
    assert verifier.received == []


def test_clocks_may_be_five_minutes_apart(app: webtest.TestApp) -> None:
    asked(app, identity(iat=NOW + 300), 200)


def test_claims_are_compared_only_with_what_is_verified(app: webtest.TestApp, verifier: Verifier) -> None:
    text = asked(app, identity(path="c"), 403).text
    assert text == "No trusted publisher of 'https://gitlab.example.org' has path 'c'\n"
    assert len(verifier.received) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_no_of_the_verifier(app: webtest.TestApp, verifier: Verifier, status: int) -> None:
    verifier.status = status
    assert asked(app, identity(), 403).text.startswith("The identity is not its issuer's")


@pytest.mark.parametrize("status", [302, 404, 429, 500, 503])
def test_what_is_neither_yes_nor_no_is_no_token(app: webtest.TestApp, verifier: Verifier, status: int) -> None:
    verifier.status = status
    assert "Nobody can verify identities now" in asked(app, identity(), 503).text


@pytest.mark.parametrize("status", [200, 202])
def test_a_verifier_that_says_yes_to_nobody_is_not_believed(
    app: webtest.TestApp, verifier: Verifier, status: int
) -> None:
    verifier.to_nobody = status
    assert "Nobody can verify identities now" in asked(app, identity(), 503).text


def test_a_verifier_that_is_slow_keeps_few_threads(app: webtest.TestApp, verifier: Verifier) -> None:
    verifier.may_answer.clear()
    with ThreadPoolExecutor(AT_ONCE) as threads:
        waiting = [threads.submit(asked, app, identity(), 200) for _ in range(AT_ONCE)]
        wait_for(lambda: len(verifier.received) == AT_ONCE, "the questions")
        assert "Too many identities are being verified" in asked(app, identity(), 503).text
        verifier.may_answer.set()
        assert all(each.result().json["success"] for each in waiting)
    asked(app, identity(), 200)


def test_what_anybody_can_have_refused_is_counted(
    publishers: Publishers, tokens: TrustedTokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 7.0)
    lines = list[str]()
    exchange = Exchange(publishers, tokens, Trail(lines.append, Chain(tmp_path / "audit")), lambda: NOW)
    route = Route("POST", "/mint", exchange.mint, Needs.NOTHING)
    app = webtest.TestApp(application([route], Limits(8, 1, lambda: None)))
    for _ in range(2 * STRANGERS_A_SECOND):
        asked(app, identity(aud="pypi"), 403)
    assert len(lines) == STRANGERS_A_SECOND
    assert json.loads(lines[0])["issuer"] == ISSUER
    # Nor does it fill the volume of the packages.
    assert not (tmp_path / "audit").exists()


def test_without_a_key_there_is_no_token(app: webtest.TestApp, key: Path, tokens: TrustedTokens) -> None:
    token = asked(app, identity(), 200).json["token"]
    for text in (KEY[:-1], ""):
        key.write_text(text)
        assert "no key to sign tokens with" in asked(app, identity(), 503).text
        assert tokens.find(token.encode()) is None
    key.unlink()
    asked(app, identity(), 503)


def test_a_key_that_changes_counts_at_once_and_ends_the_tokens_of_the_one_before(
    publishers: Publishers, key: Path, tokens: TrustedTokens
) -> None:
    (publisher,) = publishers.publishers
    before, _ = tokens.make(publisher)
    key.write_text("l" * 40)
    after, _ = tokens.make(publisher)
    assert tokens.find(before.encode()) is None
    assert tokens.find(after.encode())


def test_an_end_beyond_all_lives_is_not_believed(publishers: Publishers, key: Path, tokens: TrustedTokens) -> None:
    """As of a pod whose clock was wrong."""
    ahead = TrustedTokens(publishers, key, lambda: NOW + 3600)
    token, _ = ahead.make(publishers.publishers[0])
    found = tokens.find(token.encode())
    assert found
    assert found.refusal == "expired"


def test_a_publisher_that_is_taken_out_is_refused(publishers: Publishers, key: Path, tokens: TrustedTokens) -> None:
    token, _ = tokens.make(publishers.publishers[0])
    nobody = TrustedTokens(Publishers(AUDIENCE, publishers.verifier, ()), key, lambda: NOW)
    assert nobody.find(token.encode()) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"audience": "a", "verifier": "b"}',
        '{"audience": "a", "verifier": "b", "publishers": [{"name": "a"}]}',
        '{"audience":"a","verifier":"b","publishers":[{"name":"a","issuer":"i","claims":{},"projects":["*"]}]}',
        '{"audience":"a","verifier":"b","publishers":[],"publishers":[]}',
        '{"audience":"a","verifier":"b","publishers":[{"name":"a","issuer":"","claims":{"a":"b"},"projects":["*"]}]}',
        '{"audience":"a","verifier":"b","publishers":[{"name":"a","issuer":"i","claims":{"a":"b"},"projects":[]}]}',
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, text: str) -> None:
    path = tmp_path / "publishers.json"
    path.write_text(text)
    with pytest.raises(PublishersError, match="cannot be used"):
        Publishers.from_file(path)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ([{"projects": "a-*"}], "no list of projects"),
        ([{"projects": ["a b"]}], "projects must be names such as tool or team-a-*"),
        ([{"projects": ["a"] * 501}], "projects must be 500 at most"),
        (
            [{"projects": [f"{'a' * 99}{each}-*" for each in range(10, 30)]}],
            "projects must have 2000 characters at most",
        ),
        ([{"projects": [1]}], "projects is 1; it must be a text"),
        ([{"claims": {"a": None}}], "claims.a is None; it must be a text"),
        ([{"claims": ["ab"]}], "'list' object has no attribute 'items'"),
        ([{"issuer": None}], "issuer is None; it must be a text"),
        ([{"name": "A"}], "name is 'A'; it must be lower-case"),
        ([{"name": "a" * 64}], "it must be lower-case letters, digits, - and ., 63 at most"),
        # The token of the one would be good for what the other may publish.
        ([{}, {"claims": {"a": "c"}, "projects": ["*"]}], "several publishers called a"),
    ],
)
def test_a_publisher_that_would_be_good_for_more(tmp_path: Path, wrong: list[dict[str, object]], says: str) -> None:
    right = {"name": "a", "issuer": "i", "claims": {"a": "b"}, "projects": ["a-*"]}
    said = {"audience": "a", "verifier": "b", "publishers": [{**right, **each} for each in wrong]}
    path = tmp_path / "publishers.json"
    path.write_text(json.dumps({**said, "publishers": [right]}))
    assert Publishers.from_file(path).publishers[0].projects == ("a-*",)
    path.write_text(json.dumps(said))
    with pytest.raises(PublishersError, match=re.escape(says)):
        Publishers.from_file(path)


@pytest.mark.parametrize("field", ["audience", "verifier"])
def test_whom_identities_are_for_and_who_verifies_them_is_said(tmp_path: Path, field: str) -> None:
    path = tmp_path / "publishers.json"
    path.write_text(json.dumps({"audience": "a", "verifier": "b", "publishers": [], field: None}))
    with pytest.raises(PublishersError, match=f"cannot be used.*{field} is None; it must be a text"):
        Publishers.from_file(path)
