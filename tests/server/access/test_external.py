from __future__ import annotations

import base64
import http.server
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from server.access.external import External
from server.access.judge import DirectoryAwayError, UndecidedError
from server.pod.samples import text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from server.access.credentials import Role

USER, GROUPS = "X-Auth-Request-User", "X-Auth-Request-Groups"


class Service:
    """A service that answers as a test says, by the credentials that it gets."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, dict[str, str]]] = {}
        self.otherwise: tuple[int, dict[str, str]] = (401, {})
        self.received: list[dict[str, str]] = []
        self.url = ""

    def give(self, user: str, password: str, status: int = 202, **headers: str) -> None:
        encoded = base64.b64encode(f"{user}:{password}".encode()).decode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers[f"Basic {encoded}"] = status, named


@contextmanager
def serving(service: Service) -> Iterator[None]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            service.received.append({"path": self.path, **dict(self.headers)})
            status, headers = service.answers.get(self.headers.get("Authorization", ""), service.otherwise)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value.encode().decode("latin-1"))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.url = f"http://127.0.0.1:{server.server_address[1]}/oauth2/auth"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    with serving(made):
        yield made


def external(
    service: Service, *, readers: str = "developers", original_url: str = "", groups: dict[str, str] | None = None
) -> External:
    return External(
        service.url,
        user_header=USER,
        groups_header=GROUPS,
        readers=frozenset([readers] if readers else []),
        publishers=frozenset(["release managers"]),
        original_url=original_url,
        groups=groups,
    )


def said(judge: External, user: str, role: Role = "reader") -> int:
    return judge.ask(role, user, b"secret").value


def test_groups_say_who_may_what(service: Service) -> None:
    service.give("rita", "secret", X_Auth_Request_User="rita", X_Auth_Request_Groups="other, developers")
    service.give("paul", "secret", X_Auth_Request_User="paul", X_Auth_Request_Groups="release managers")
    service.give("ulf", "secret", X_Auth_Request_User="ulf", X_Auth_Request_Groups="release,managers")
    service.give("ina", "secret", X_Auth_Request_User="ina")
    judge = external(service)
    for user, reader, publisher in (("rita", 204, 403), ("paul", 204, 204), ("ulf", 403, 403), ("ina", 403, 403)):
        assert (said(judge, user), said(judge, user, "publisher")) == (reader, publisher), user
    everybody = external(service, readers="*")
    assert (said(everybody, "ina"), said(everybody, "ina", "publisher")) == (204, 403)
    nobody = external(service, readers="")
    assert said(nobody, "ina") == 403


def test_groups_of_the_permissions(service: Service) -> None:
    service.give("rita", "secret", X_Auth_Request_User="rita", X_Auth_Request_Groups="other, developers")
    service.give("ina", "secret", X_Auth_Request_User="Ina", X_Auth_Request_Groups="developers")
    groups = {"core": "developers", "data": "data scientists", "others": "other"}
    judge = external(service, groups=groups)
    assert judge.groups_of("rita", b"secret") == {"core", "others"}
    for user, password in (("rita", b"wrong"), ("ina", b"secret")):
        with pytest.raises(UndecidedError):
            judge.groups_of(user, password)
    asked = len(service.received)
    assert external(service).groups_of("rita", b"secret") == frozenset()
    assert len(service.received) == asked


def test_what_it_is_asked(service: Service) -> None:
    service.give("rita", "secret", X_Auth_Request_User="rita")
    said(external(service, original_url="https://pypi.example.org/"), "rita", "publisher")
    assert [each.get("Authorization") for each in service.received] == [None, "Basic cml0YTpzZWNyZXQ="]
    asked = service.received[-1]
    assert (asked["path"], asked["X-Original-Method"]) == ("/oauth2/auth", "POST")
    assert asked["X-Original-URL"] == "https://pypi.example.org/"
    assert set(asked) - {"path"} == {
        *("Host", "Accept-Encoding", "Connection", "Authorization", "X-Original-Method", "X-Original-URL")
    }


@pytest.mark.parametrize("status", [401, 403, 302])
def test_a_wrong_password(service: Service, status: int) -> None:
    """Whatever a service says to it: only of a right one is the user known."""
    service.otherwise = status, {USER: "rita", GROUPS: "developers", "Location": "https://login.example.org/"}
    assert said(external(service), "rita") == 401


def test_the_user_is_the_one_that_was_typed(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    service.give("rita", "secret", X_Auth_Request_User="Rita", X_Auth_Request_Groups="developers")
    judge = external(service)
    for _ in range(3):
        assert said(judge, "rita") == 401
    assert caplog.messages == [f"{USER} has another name than the user who logged in: refused"]
    service.give("jürgen", "secret", X_Auth_Request_User="jürgen", X_Auth_Request_Groups="developers")
    assert said(judge, "jürgen") == 204


def test_a_yes_to_nobody_is_not_believed(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    service.give("rita", "secret", X_Auth_Request_Groups="developers")
    with pytest.raises(DirectoryAwayError, match=f"it says 202 without the header {USER}, so nobody is meant"):
        said(external(service), "rita")
    assert "the service that judges credentials does not answer as it should: it says 202 without" in caplog.text


def test_a_service_that_lets_everybody_in_lets_nobody_in(service: Service) -> None:
    service.otherwise = 200, {USER: "rita", GROUPS: "release managers"}
    judge = external(service)
    for _ in range(2):
        with pytest.raises(DirectoryAwayError, match="it says 200 to whoever has no credentials"):
            said(judge, "rita")
    judge.look()
    assert "pypiserver_directory_up 0" in text_of(judge.samples())
    # As soon as it keeps somebody out it counts.
    service.otherwise = 401, {}
    service.give("rita", "secret", X_Auth_Request_User="rita", X_Auth_Request_Groups="developers")
    judge.look()
    assert "pypiserver_directory_up 1" in text_of(judge.samples())
    assert said(judge, "rita") == 204


@pytest.mark.parametrize("status", [400, 404, 407, 429, 500, 502, 503])
def test_what_is_neither_yes_nor_no_lets_nobody_in(service: Service, status: int) -> None:
    service.give("rita", "secret", X_Auth_Request_User="rita", X_Auth_Request_Groups="developers")
    judge = external(service)
    assert said(judge, "rita") == 204
    service.answers.clear()
    service.otherwise = status, {USER: "rita", GROUPS: "developers"}
    with pytest.raises(DirectoryAwayError, match=f"it says {status}"):
        said(judge, "rita")


def test_a_service_that_is_away_lets_nobody_in() -> None:
    service = Service()
    with serving(service):
        service.give("rita", "secret", X_Auth_Request_User="rita", X_Auth_Request_Groups="developers")
        judge = external(service)
        assert said(judge, "rita") == 204
    with pytest.raises(DirectoryAwayError):
        said(judge, "rita")
    judge.look()
    assert "pypiserver_directory_up 0" in text_of(judge.samples())


def test_the_query_of_its_address_is_asked_too(service: Service) -> None:
    service.url += "?allowed_groups=developers"
    assert said(external(service), "rita") == 401
    assert {each["path"] for each in service.received} == {"/oauth2/auth?allowed_groups=developers"}
