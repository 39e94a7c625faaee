"""Who may do what: addresses times credentials, and what a verdict depends on."""

from __future__ import annotations

import http.client
import threading
from typing import TYPE_CHECKING

import pytest

from gateway_programs import Scene, Setup, basic, read_answer, scene
from programs import wait_for

if TYPE_CHECKING:
    from pathlib import Path

CREDENTIALS = {
    "none": {},
    "wrong": {"Authorization": basic("reader", "publish")},
    "reader": {"Authorization": basic("reader", "read")},
    "publisher": {"Authorization": basic("publisher", "publish")},
}
WHEEL = "/packages/demo-1.0-py3-none-any.whl"
# method, path, then the status for: nobody, a wrong password, a reader, a publisher; and for nobody if reads are open
BEHAVIOUR = """
GET  /                                        401 401 200 200  200
HEAD /                                        401 401 200 200  200
GET  /simple/                                 401 401 200 200  200
HEAD /simple/                                 401 401 200 200  200
GET  /simple/demo/                            401 401 200 200  200
GET  /simple/unknown-to-the-gateway/          401 401 200 200  200
GET  /simple/Some_Project/                    401 401 301 301  301
GET  /simple                                  301 301 301 301  301
GET  /simple/demo                             301 301 301 301  301
GET  /demo/                                   303 303 303 303  303
GET  /demo                                    303 303 303 303  303
GET  /demo/json                               401 401 200 200  200
GET  /packages                                301 301 301 301  301
GET  /packages/                               401 401 200 200  200
GET  /packages/demo-1.0-py3-none-any.whl      401 401 200 200  200
HEAD /packages/demo-1.0-py3-none-any.whl      401 401 200 200  200
GET  /packages/linked-1.0.zip                 401 401 404 404  404
GET  /packages/nested/demo-1!2.0+local.1.tar.gz 401 401 200 200  200
GET  /packages/nested/demo-1%212.0%2Blocal.1.tar.gz 401 401 200 200  200
GET  /packages/absent-1.0.zip                 401 401 404 404  404
GET  /packages/notes.txt                      404 404 404 404  404
POST /                                        401 401 403 200  401
POST /?:action=file_upload                    401 401 403 200  401
PUT  /                                        405 405 405 405  405
DELETE /simple/demo/                          405 405 405 405  405
POST /simple/                                 405 405 405 405  405
POST /packages/demo-1.0-py3-none-any.whl      405 405 405 405  405
OPTIONS /simple/                              405 405 405 405  405
POST /RPC2                                    404 404 404 404  404
GET  /favicon.ico                             404 404 404 404  404
GET  /-/auth/reader                           404 404 404 404  404
GET  /-/auth/publisher                        404 404 404 404  404
GET  /-/auth/reader-verdict                   404 404 404 404  404
GET  /-/auth/publisher-verdict                404 404 404 404  404
GET  /-/publish                               404 404 404 404  404
POST /-/publish                               404 404 404 404  404
GET  /-/ready                                 404 404 404 404  404
GET  /index.html                              303 303 303 303  303
GET  /projects/demo.html                      404 404 404 404  404
GET  /health                                  200 200 200 200  200
GET  /ready                                   200 200 200 200  200
"""
ROWS = [line.split() for line in BEHAVIOUR.strip().splitlines()]


@pytest.mark.parametrize(("method", "path", "statuses"), [(row[0], row[1], row[2:]) for row in ROWS])
def test_behaviour(shared_private: Scene, shared_anonymous: Scene, method: str, path: str, statuses: list[str]) -> None:
    answers = {
        name: shared_private.gateway.request(method, path, headers=headers) for name, headers in CREDENTIALS.items()
    }
    open_answer = shared_anonymous.gateway.request(method, path)
    assert [str(answer.status_code) for answer in [*answers.values(), open_answer]] == statuses
    for answer in [*answers.values(), open_answer]:
        assert (answer.headers.get("WWW-Authenticate") == 'Basic realm="pypiserver"') is (answer.status_code == 401)
        assert "Allow" in answer.headers or answer.status_code != 405
        assert "/" not in answer.headers["Server"]


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Basic",
        "Basic ",
        "Basic :",
        "Bearer " + basic("reader", "read").removeprefix("Basic "),
        basic("reader", "read") + "\t=x",
        basic("reader", "read").rstrip("=")[:-2],
        basic("reader", ""),
        basic("", ""),
        "Basic " + "A" * 2000,
    ],
)
def test_what_is_not_a_valid_authorization(private: Scene, header: str) -> None:
    assert private.gateway.get("/simple/", Authorization=header).status_code == 401
    assert private.gateway.request("POST", "/", headers={"Authorization": header}, data=b"x").status_code == 401
    assert private.gateway.get("/simple/", "reader", "read").status_code == 200


def test_two_authorization_headers_are_refused(private: Scene) -> None:
    line = f"Authorization: {basic('reader', 'read')}\r\n"
    other = f"Authorization: {basic('reader', 'wrong')}\r\n"
    for lines in (line + other, other + line):
        answer = private.gateway.exchange(f"GET /simple/ HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 400 ")
    assert not private.recorder.received


def test_a_verdict_depends_on_the_authorization_header_alone(private: Scene) -> None:
    noise = {
        "X_Original_URI": "/health",
        "X_Accel_Redirect": "/-/publish",
        "X_Remote_User": "publisher",
        "Range": "bytes=0-9",
        "If_None_Match": "*",
        "Cookie": "a=b",
        "Transfer_Encoding_": "chunked",
    }
    private.gateway.get("/simple/", "reader", "read", **noise)
    private.gateway.request("POST", "/", "reader", "read", data=b"body", headers=noise)
    assert [(each.method, each.path, each.body) for each in private.recorder.received] == [
        ("GET", "/-/auth/reader", b""),
        ("GET", "/-/auth/publisher", b""),
    ]
    for each in private.recorder.received:
        assert set(each.headers) == {"Host", "Authorization", "X-Forwarded-For", "X-Request-ID"}
        assert each.headers["Authorization"] == basic("reader", "read")
        assert each.headers["X-Forwarded-For"] == "127.0.0.1"


def test_a_verdict_is_asked_for_once_and_answers_every_kind_of_read(private: Scene) -> None:
    gateway = private.gateway
    for _ in range(3):
        assert gateway.request("HEAD", WHEEL, "reader", "read").content == b""
        part = gateway.get(WHEEL, "reader", "read", Range="bytes=256-259")
        assert (part.status_code, part.content) == (206, bytes(range(4)))
        assert len(gateway.get(WHEEL, "reader", "read").content) == 51200
        assert gateway.get("/simple/demo/", "reader", "read").status_code == 200
    assert len(private.recorder.asked("/-/auth/")) == 1


def test_the_first_request_being_head_or_range_spoils_no_verdict(private: Scene) -> None:
    assert private.gateway.request("HEAD", WHEEL, "reader", "read").status_code == 200
    assert len(private.gateway.get(WHEEL, "reader", "read").content) == 51200
    assert private.gateway.get(WHEEL, "publisher", "publish", Range="bytes=0-0").content == b"\0"
    assert len(private.gateway.get(WHEEL, "publisher", "publish").content) == 51200


def test_a_refusal_leaves_no_trace(private: Scene) -> None:
    for number in range(3):
        assert private.gateway.get("/simple/", "reader", f"guess-{number}").status_code == 401
        assert private.gateway.request("POST", "/", "reader", "read", data=b"x").status_code == 403
    assert not [path for path in private.gateway.verdicts.rglob("*") if path.is_file()]


def test_each_spelling_of_credentials_is_the_same_place(private: Scene) -> None:
    encoded = basic("reader", "read").removeprefix("Basic ")
    for spelling in (f"Basic {encoded}", f"bAsIc {encoded}", f"Basic    {encoded}"):
        assert private.gateway.get("/simple/", Authorization=spelling).status_code == 200
    assert private.gateway.get("/simple/", Authorization=f"Basic {encoded}===").status_code == 401
    assert len(private.recorder.received) == 1


def test_a_refusal_counts_only_for_those_credentials(private: Scene) -> None:
    gateway = private.gateway
    for _ in range(3):
        assert gateway.get("/simple/", "reader", "guess").status_code == 401
        assert gateway.get("/simple/", "reader", "read").status_code == 200
        assert gateway.get("/simple/", "publisher", "read").status_code == 401
        assert gateway.get("/simple/", "publisher", "publish").status_code == 200
        assert gateway.get("/simple/", "Reader", "read").status_code == 401
        assert gateway.request("POST", "/", "reader", "read", data=b"x").status_code == 403
        assert gateway.request("POST", "/", "publisher", "publish", data=b"x").status_code == 200


def test_one_users_verdict_is_never_anothers(tmp_path: Path) -> None:
    with scene(tmp_path) as started:
        users = {f"user-{number}": (f"password-{number}", "reader") for number in range(20)}
        started.recorder.users.update(users)
        wrong: list[str] = []

        def ask(user: str, password: str) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", started.gateway.port)
            for turn in range(40):
                right = turn % 2 == 0
                header = basic(user, password if right else password + "x")
                connection.request("GET", "/simple/demo/", headers={"Authorization": header})
                answer = connection.getresponse()
                answer.read()
                if answer.status != (200 if right else 401):
                    wrong.append(f"{user} {right} {answer.status}")
            connection.close()

        threads = [threading.Thread(target=ask, args=(user, password)) for user, (password, _) in users.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong


def test_a_withdrawn_password_stops_working(tmp_path: Path) -> None:
    with scene(tmp_path, Setup(changes={"proxy_cache_valid 204 30s": "proxy_cache_valid 204 1s"})) as started:
        assert started.gateway.get("/simple/", "reader", "read").status_code == 200
        del started.recorder.users["reader"]
        # Of requests at once the first asks when the verdict is old: the others must not go by that for ever.
        over = threading.Event()

        def go_on() -> None:
            while not over.is_set():
                started.gateway.get("/simple/", "reader", "read")

        threads = [threading.Thread(target=go_on) for _ in range(4)]
        for thread in threads:
            thread.start()

        def refused() -> bool:
            return all(started.gateway.get("/simple/", "reader", "read").status_code == 401 for _ in range(20))

        try:
            wait_for(refused, "refusals")
        finally:
            over.set()
            for thread in threads:
                thread.join()


def test_a_cached_verdict_is_readable_by_its_owner_only(private: Scene) -> None:
    private.gateway.get("/simple/", "reader", "read")
    files = [path for path in private.gateway.verdicts.rglob("*") if path.is_file()]
    assert len(files) == 1
    assert files[0].stat().st_mode & 0o077 == 0


def test_credentials_are_judged_before_the_body_is_asked_for(private: Scene) -> None:
    head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n"
    for user, password, status in (("publisher", "guess", 401), ("reader", "read", 403)):
        with private.gateway.connect() as connection:
            connection.sendall(f"{head}Authorization: {basic(user, password)}\r\n\r\n".encode())
            assert connection.recv(12) == f"HTTP/1.1 {status}".encode()
    with private.gateway.connect() as connection:
        connection.sendall(f"{head}\r\n".encode())
        assert connection.recv(12) == b"HTTP/1.1 401"
    with private.gateway.connect() as connection:
        connection.sendall(f"{head}Authorization: {basic('publisher', 'publish')}\r\n\r\n".encode())
        assert connection.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"x" * 1000000)
        assert read_answer(connection)[0] == 200
    assert [len(each.body) for each in private.recorder.asked("/", "POST")] == [1000000]


def test_what_a_publish_brings_to_the_server(private: Scene) -> None:
    headers = {
        "Content_Type": "multipart/form-data; boundary=x",
        "User_Agent": "twine/7",
        "X_Forwarded_Host": "pypi.example.org",
        "X_Forwarded_Proto": "https",
        "X_Forwarded_For": "192.0.2.7",
        "X_Script_Name": "/prefix",
    }
    assert private.gateway.request("POST", "/", "publisher", "publish", data=b"body", headers=headers).ok
    (seen,) = private.recorder.asked("/", "POST")
    line = private.gateway.logged(method="POST")
    assert seen.headers == {
        "Host": f"127.0.0.1:{private.gateway.port}",
        "Connection": "close",
        "Content-Length": "4",
        "Content-Type": "multipart/form-data; boundary=x",
        "User-Agent": "twine/7",
        "Authorization": basic("publisher", "publish"),
        "X-Forwarded-For": "127.0.0.1",
        "X-Forwarded-Host": "pypi.example.org",
        "X-Forwarded-Proto": "https",
        "X-Request-ID": line["request_id"],
    }


def test_pages_know_of_the_client_only_where_it_found_them(private: Scene) -> None:
    # For the addresses of provenance objects; the server keeps no page with one.
    private.gateway.get("/simple/new/", "reader", "read", Host="evil.example", X_Forwarded_Host="evil.example/x")
    (seen,) = private.recorder.asked("/simple/new/")
    assert set(seen.headers) == {"Host", "Connection", "X-Request-ID", "X-Forwarded-Proto", "Accept"}


@pytest.mark.parametrize(("sent", "passed"), [("a.example:8443", "a.example:8443"), ("evil.example//x", None)])
def test_the_forwarded_host_is_passed_on_if_it_is_one(private: Scene, sent: str, passed: str | None) -> None:
    private.gateway.get("/demo/json", "reader", "read", X_Forwarded_Host=sent, X_Forwarded_Proto="https")
    (seen,) = private.recorder.asked("/demo/json")
    assert seen.headers.get("X-Forwarded-Host") == passed
    assert seen.headers["X-Forwarded-Proto"] == "https"


def test_anonymous_reads_ask_for_no_verdict(anonymous: Scene) -> None:
    assert anonymous.gateway.get("/simple/", "reader", "wrong").status_code == 200
    assert not anonymous.recorder.received
    # Nobody has checked that name.
    assert anonymous.gateway.logged(path="/simple/")["user"] == ""
