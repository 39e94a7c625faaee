"""What the server makes of httpd's answers, and what of them it remembers; httpd is a program of the test's."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections import Counter
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from programs import free_port, htpasswd_line
from server.access import judge as module
from server.access import members as members_module
from server.access.checks import BusyError, UnansweredError
from server.access.credentials import Credentials
from server.access.directory import Directory
from server.access.judge import DirectoryAwayError, Judge
from server.access.members import Members
from server.access.verdicts import Verdicts
from server.access.who import Who
from server.audit.trail import Trail
from server.pod.samples import text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

    from server.access.credentials import Role
    from server.access.members import Verdict

    Clock = Callable[[float], None]

READER, PUBLISHER, NOBODY = ("bob", "bob-secret"), ("alice", "alice-secret"), ("mallory", "mallory-secret")
ROLES = {"/reader": {READER, PUBLISHER}, "/publisher": {PUBLISHER}}
ADDRESS = "192.0.2.1"


class Httpd(ThreadingHTTPServer):
    """Answers as httpd does with mod_authnz_ldap."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.users = {READER, PUBLISHER, NOBODY}
        self.roles = {path: set(of) for path, of in ROLES.items()}
        self.groups = {"/group/core": {PUBLISHER, READER}, "/group/data": {PUBLISHER}}
        self.checks = {"/check/0": "", "/check/1": ""}
        self.account_works = True
        self.broken = False
        self.closed: set[str] = set()
        self.asked: list[tuple[str, str]] = []
        self.go = threading.Event()
        self.go.set()

    def tried(self, user: str) -> list[str]:
        return [credentials for _, credentials in self.asked if credentials.startswith(f"{user}:")]

    def status(self, path: str, credentials: str) -> tuple[int, str]:
        if path in self.checks:
            works = self.account_works and not self.broken
            wrong = self.checks[path] if works else "the account is refused"
            return (403, wrong) if wrong else (200, "")
        if path not in {**self.roles, **self.groups}:
            return 404, "not found"
        self.asked.append((path, credentials))
        self.go.wait(10)
        if self.broken:
            return 500, "the server is away"
        user = tuple(credentials.split(":", 1))
        if user[0] in self.closed:
            return 500, "server is unwilling to perform"
        if user not in self.users or not self.account_works:
            return 401, ""
        return (200, "") if user in {**self.roles, **self.groups}[path] else (403, "")


class _Handler(BaseHTTPRequestHandler):
    server: Httpd

    def do_GET(self) -> None:
        header = self.headers.get("Authorization", "Basic ").partition(" ")[2]
        status, text = self.server.status(self.path, base64.b64decode(header).decode())
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def listening() -> Iterator[Httpd]:
    made = Httpd()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.go.set()
    made.shutdown()
    made.server_close()
    thread.join()


@pytest.fixture
def httpd() -> Iterator[Httpd]:
    with listening() as made:
        yield made


@pytest.fixture
def directory(httpd: Httpd, monkeypatch: pytest.MonkeyPatch) -> Directory:
    monkeypatch.setattr(module, "REST_SECONDS", 0.0)
    return Directory(httpd.server_port)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the time of what is remembered."""
    passed = [0.0]

    class Time:
        @staticmethod
        def monotonic() -> float:
            return 1000.0 + passed[0]

    def move(seconds: float) -> None:
        passed[0] += seconds

    monkeypatch.setattr(members_module, "time", Time)
    monkeypatch.setattr("server.access.checks.time", Time)
    return move


def ask(
    members: Members, user: tuple[str, str], role: Role = "reader", address: str = ADDRESS
) -> Coroutine[None, None, Verdict]:
    return members.verdict(role, user[0], user[1].encode(), address)


def status(members: Members, user: tuple[str, str], role: Role = "reader") -> int:
    """What somebody may do, asked from an event loop of its own."""
    return asyncio.run(ask(members, user, role)).status


def figures(members: Members) -> dict[str, float]:
    lines = (line.rpartition(" ") for line in text_of(members.samples()).splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


@pytest.mark.parametrize(
    ("user", "reader", "publisher"),
    [(PUBLISHER, 204, 204), (READER, 204, 403), (NOBODY, 403, 403), (("alice", "wrong"), 401, 401)],
)
def test_the_roles(directory: Directory, user: tuple[str, str], reader: int, publisher: int) -> None:
    assert directory.ask("reader", user[0], user[1].encode()) == reader
    assert directory.ask("publisher", user[0], user[1].encode()) == publisher


@pytest.mark.parametrize("user", [PUBLISHER, ("alice", "wrong")])
def test_what_is_no_answer(directory: Directory, httpd: Httpd, user: tuple[str, str]) -> None:
    """Also the 401 that everybody gets while the account of httpd itself is refused."""
    for fault in ("broken", "account_works"):
        setattr(httpd, fault, fault == "broken")
        with pytest.raises(DirectoryAwayError):
            directory.ask("reader", user[0], user[1].encode())
        setattr(httpd, fault, fault != "broken")
    assert figures_of(directory)['pypiserver_directory_questions_total{result="away"}'] == 2


def figures_of(directory: Directory) -> dict[str, float]:
    return {f"{each.name}{each.labels}": each.value for each in directory.samples()}


def test_a_closed_account_is_nobody_elses_matter(directory: Directory, httpd: Httpd) -> None:
    members = Members(directory, seconds=60, guesses=4)
    httpd.closed.add("alice")

    async def run() -> None:
        for _ in range(12):
            with pytest.raises(BusyError):
                await ask(members, PUBLISHER)
        assert (await ask(members, READER)).status == 204

    asyncio.run(run())
    assert figures(members)['pypiserver_directory_questions_total{result="undecided"}'] == 12
    assert members._checks._guesser(ADDRESS)


def test_where_users_bind_by_themselves_no_name_is_another(directory: Directory, httpd: Httpd) -> None:
    assert directory.ask("reader", "alice,ou=x", b"alice-secret") == HTTPStatus.UNAUTHORIZED
    assert [credentials for _, credentials in httpd.asked] == ["alice,ou=x:alice-secret"]
    httpd.checks.clear()
    for user in ("alice,ou=x", "alice+uid=bob", "#616c", "a\\2c", "a=b"):
        assert directory.ask("reader", user, b"alice-secret") == HTTPStatus.UNAUTHORIZED
    assert len(httpd.asked) == 1


def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REST_SECONDS", 60.0)
    port = free_port()
    directory = Directory(port)
    with pytest.raises(DirectoryAwayError):
        directory.ask("reader", *PUBLISHER_BYTES)
    # Not asked again so soon: each would wait for as long.
    with listening() as httpd:
        directory._port = httpd.server_port
        with pytest.raises(DirectoryAwayError):
            directory.ask("reader", *PUBLISHER_BYTES)
        assert httpd.asked == []
        # The next look finds that it is back.
        directory.look()
        assert directory.ask("reader", *PUBLISHER_BYTES) == HTTPStatus.NO_CONTENT


PUBLISHER_BYTES = (PUBLISHER[0], PUBLISHER[1].encode())


def test_no_answer_in_time(directory: Directory, httpd: Httpd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.1)
    httpd.go.clear()
    with pytest.raises(DirectoryAwayError, match="does not answer"):
        directory.ask("reader", *PUBLISHER_BYTES)


def test_what_is_missing_is_said_once(directory: Directory, httpd: Httpd, caplog: pytest.LogCaptureFixture) -> None:
    directory.look()
    assert figures_of(directory)["pypiserver_directory_missing_groups"] == 0
    httpd.checks["/check/1"] = "readers ('cn=a') is no group"
    for _ in range(2):
        directory.look()
    assert caplog.text.count("readers ('cn=a') is no group") == 1
    assert figures_of(directory)["pypiserver_directory_missing_groups"] == 1
    assert figures_of(directory)["pypiserver_directory_up"] == 1
    httpd.account_works = False
    for _ in range(2):
        directory.look()
    assert caplog.text.count("the account is refused") == 1
    assert figures_of(directory)["pypiserver_directory_up"] == 0
    httpd.account_works = True
    directory.look()
    assert "answers again" in caplog.text


def test_another_reason_is_said_too(directory: Directory, httpd: Httpd, caplog: pytest.LogCaptureFixture) -> None:
    """A container that is still starting hides none."""
    for reason in ("it starts", "its certificate is of another", "its certificate is of another"):
        httpd.checks["/check/0"] = reason
        directory.look()
    assert caplog.text.count("it starts") == 1
    assert caplog.text.count("its certificate is of another") == 1


def test_without_an_account_a_question_tells_whether_it_answers(directory: Directory, httpd: Httpd) -> None:
    httpd.checks.clear()
    directory.look()
    assert "pypiserver_directory_up" not in figures_of(directory)
    assert directory.ask("reader", "alice", b"wrong") == HTTPStatus.UNAUTHORIZED
    assert figures_of(directory)["pypiserver_directory_up"] == 1
    httpd.broken = True
    with pytest.raises(DirectoryAwayError):
        directory.ask("reader", "alice", b"wrong")
    directory.look()
    assert figures_of(directory)["pypiserver_directory_up"] == 0


def test_an_answer_counts_for_its_time_and_no_longer(directory: Directory, httpd: Httpd, clock: Clock) -> None:
    members = Members(directory, seconds=60, guesses=4)
    assert status(members, READER) == 204
    httpd.roles["/reader"].remove(READER)
    clock(59)
    assert status(members, READER) == 204
    clock(1.1)
    assert status(members, READER) == 403
    httpd.roles["/reader"].add(READER)
    clock(59)
    assert status(members, READER) == 403
    clock(1.1)
    assert status(members, READER) == 204


def test_what_is_known_counts_while_it_is_away(directory: Directory, httpd: Httpd, clock: Clock) -> None:
    members = Members(directory, seconds=60, guesses=4)
    assert [status(members, each) for each in (READER, NOBODY, ("bob", "wrong"))] == [204, 403, 401]
    httpd.broken = True
    assert [status(members, each) for each in (READER, NOBODY, ("bob", "wrong"))] == [204, 403, 401]
    clock(61)
    for user in (READER, NOBODY, ("bob", "wrong")):
        with pytest.raises(UnansweredError):
            status(members, user)
    # Which nobody is to blame for.
    for _ in range(20):
        with pytest.raises(UnansweredError):
            status(members, READER)
    httpd.broken = False
    assert status(members, READER) == 204


def test_a_wrong_password_is_tried_once(directory: Directory, httpd: Httpd) -> None:
    async def run() -> None:
        members = Members(directory, seconds=60, guesses=4)
        wrong = ("alice", "wrong")
        roles: tuple[Role, ...] = ("reader", "publisher")
        found = await asyncio.gather(*(ask(members, wrong, role) for role in roles * 10))
        assert {each.status for each in found} == {401}

    asyncio.run(run())
    assert httpd.tried("alice") == ["alice:wrong"]


@pytest.mark.parametrize("spelling", ["alice", "ALICE", "Alicé"])
def test_a_user_is_not_locked_out(directory: Directory, httpd: Httpd, clock: Clock, spelling: str) -> None:
    members = Members(directory, seconds=60, guesses=4)
    assert status(members, PUBLISHER) == 204

    async def guess(number: int) -> int:
        try:
            return (await ask(members, (spelling, f"guess-{number}"), address=f"192.0.2.{number}")).status
        except BusyError:
            return 503

    async def run(first: int) -> list[int]:
        return list(await asyncio.gather(*(guess(number) for number in range(first, first + 10))))

    assert sorted(asyncio.run(run(0))) == [401] * 4 + [503] * 6
    assert len(httpd.tried(spelling)) - (spelling == "alice") == 4
    assert figures(members)["pypiserver_directory_kept_back_total"] == 6
    # Whoever was right lately is no guesser, also when it is to be asked anew.
    clock(61)
    assert status(members, PUBLISHER) == 204
    clock(members_module.LOCK_OUT_SECONDS)
    assert sorted(asyncio.run(run(10))) == [401] * 4 + [503] * 6


class Nobody(Judge):
    """Knows nobody."""

    def __init__(self) -> None:
        super().__init__()
        self.tried: Counter[str] = Counter()

    def look(self) -> None:
        pass

    def _ask(self, role: Role, user: str, password: bytes) -> HTTPStatus:
        del role, password
        self.tried[user] += 1
        return HTTPStatus.UNAUTHORIZED

    def _groups_of(self, user: str, password: bytes) -> frozenset[str]:
        del user, password
        return frozenset()


@pytest.mark.parametrize("address", ["192.0.2.1", "192.0.{}.{}"], ids=["one address", "new addresses"])
def test_nobody_is_locked_out_by_way_of_other_names(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Those others fill what is remembered; of one address most of them reach nobody."""
    monkeypatch.setattr(members_module, "REMEMBERED", 3000)
    monkeypatch.setattr("server.access.checks.CLIENTS", 1000)
    nobody = Nobody()
    members = Members(nobody, seconds=60, guesses=4)

    async def guess(user: str, number: int) -> None:
        with suppress(BusyError):
            await ask(members, (user, f"guess-{number}"), address=address.format(number // 250, number % 250))

    async def run() -> None:
        for number in range(6):
            await guess("alice", number)
        for first in range(0, 2500, 100):
            await asyncio.gather(*(guess(f"user-{number}", number) for number in range(first, first + 100)))
        for number in range(2500, 2506):
            await guess("alice", number)

    asyncio.run(run())
    assert nobody.tried["alice"] == 4


def test_a_password_that_was_right_and_is_no_longer_is_a_guess(
    directory: Directory, httpd: Httpd, clock: Clock
) -> None:
    members = Members(directory, seconds=60, guesses=1)
    assert status(members, READER) == 204
    httpd.users.remove(READER)
    clock(61)
    assert status(members, READER) == 401
    clock(61)
    with pytest.raises(BusyError):
        status(members, READER)
    assert len(httpd.tried("bob")) == 2


def test_a_flood_reaches_it_at_a_bounded_rate(
    directory: Directory, httpd: Httpd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(members_module, "GUESS_SECONDS", 0.1)
    members = Members(directory, seconds=60, guesses=4)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        for number in range(11):
            await ask(members, (f"user-{number}", "guess"))
        begun, tried = loop.time(), len(httpd.asked)
        flood = [loop.create_task(ask(members, (f"name-{number}", "guess"))) for number in range(200)]
        await asyncio.sleep(0.35)
        # Not behind the flood, though it comes from there and is not known yet; at its own rate it would be the last.
        assert (await ask(members, READER)).status == 204
        passed = loop.time() - begun
        assert len(httpd.asked) - tried <= passed / 0.1 + 2
        await asyncio.wait(flood, timeout=5)
        assert all(each.done() for each in flood)
        [each.exception() for each in flood]

    asyncio.run(run())


def test_so_does_one_from_ever_new_addresses(
    directory: Directory, httpd: Httpd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(members_module, "WRONG_SECONDS", 0.5)
    members = Members(directory, seconds=60, guesses=4)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        flood = [
            loop.create_task(ask(members, (f"user-{number}", "guess"), address=f"192.0.2.{number}"))
            for number in range(40)
        ]
        await asyncio.wait(flood)
        assert {(await each).status for each in flood} == {401}
        assert loop.time() - begun >= (40 / members_module.AT_ONCE - 1) * 0.5
        # A right one holds no place.
        begun = loop.time()
        for _ in range(3):
            members._answers.clear()
            assert (await ask(members, READER)).status == 204
        assert len(httpd.tried("bob")) == 3

    asyncio.run(run())


@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("", "x"),
        ("a" * 257, "x"),
        ("alice", ""),
        ("alice", "x" * 1025),
        ("alice", "alice-secret\0"),
        ("alice", "alice-secret\0more"),
        ("alice", "alice\nsecret"),
        ("alice\0", "alice-secret"),
        ("alice\r", "alice-secret"),
        ("alice\u200b", "alice-secret"),
        ("al\u00adice", "alice-secret"),
        ("alice\ufe00", "alice-secret"),
        ("\uff41lice", "alice-secret"),
        (" alice", "alice-secret"),
        ("alice ", "alice-secret"),
        ("alice  b", "alice-secret"),
    ],
)
def test_what_there_cannot_be_is_not_asked_for(directory: Directory, httpd: Httpd, user: str, password: str) -> None:
    assert status(Members(directory, seconds=60, guesses=4), (user, password)) == 401
    assert httpd.asked == []


def test_a_password_that_is_no_text(directory: Directory, httpd: Httpd) -> None:
    members = Members(directory, seconds=60, guesses=4)
    assert asyncio.run(members.verdict("reader", "alice", b"\xff\xfe", ADDRESS)).status == 401
    assert httpd.asked == []


@pytest.mark.parametrize("user", ["*", "a)(uid=*", "a\\2a", "uid=a,ou=b", "Jörg Müller", "a@example.org", "EXAMPLE\\a"])
def test_what_there_can_be_reaches_it_as_it_is(directory: Directory, httpd: Httpd, user: str) -> None:
    httpd.users.add((user, "pä:ss"))
    httpd.roles["/reader"].add((user, "pä:ss"))
    assert status(Members(directory, seconds=60, guesses=4), (user, "pä:ss")) == 204
    assert httpd.asked == [("/reader", f"{user}:pä:ss")]


def test_of_ten_thousand_users_each_is_asked_about_once(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "ask", lambda *_: HTTPStatus.NO_CONTENT)
    members = Members(directory, seconds=60, guesses=4)

    async def run() -> None:
        for number in range(10_000):
            assert (await ask(members, (f"user-{number}", "secret"))).status == 204
        monkeypatch.setattr(directory, "ask", lambda *_: pytest.fail("asked again"))
        for number in range(10_000):
            assert (await ask(members, (f"user-{number}", "secret"))).status == 204

    asyncio.run(run())


class TestGroups:
    """Groups of the permissions, which the directory is asked about as long as an answer counts."""

    @pytest.fixture
    def members(self, httpd: Httpd, directory: Directory) -> Members:
        del directory
        known = Directory(httpd.server_port, {"core": "cn=core", "data": "cn=data", "unknown": "cn=unknown"})
        return Members(known, seconds=60, guesses=4)

    def groups(self, members: Members, user: tuple[str, str], role: Role = "reader") -> frozenset[str]:
        return asyncio.run(ask(members, user, role)).groups

    def test_who_is_in_which(self, members: Members, httpd: Httpd) -> None:
        assert self.groups(members, PUBLISHER) == {"core", "data"}
        assert self.groups(members, READER) == {"core"}
        # Of whoever may nothing, nothing is asked.
        assert self.groups(members, READER, "publisher") == self.groups(members, NOBODY) == frozenset()
        assert [path for path, credentials in httpd.asked if credentials.startswith("mallory:")] == ["/reader"]

    def test_they_count_as_long_as_the_answer(self, members: Members, httpd: Httpd, clock: Clock) -> None:
        assert self.groups(members, READER) == {"core"}
        httpd.groups["/group/core"].clear()
        clock(59)
        assert self.groups(members, READER) == {"core"}
        clock(2)
        assert self.groups(members, READER) == frozenset()

    def test_what_cannot_be_asked_lets_nobody_in(self, members: Members, httpd: Httpd) -> None:
        del httpd.checks["/check/1"]
        httpd.checks["/check/0"] = ""
        real = httpd.status

        def status(path: str, credentials: str) -> tuple[int, str]:
            return (500, "away") if path == "/group/data" else real(path, credentials)

        httpd.status = status  # type: ignore[method-assign]
        with pytest.raises(BusyError):
            self.groups(members, PUBLISHER)
        httpd.checks["/check/0"] = "the account is refused"
        with pytest.raises(UnansweredError):
            self.groups(members, READER)


class TestBesideTheFiles:
    """Names of the Secret are judged by it alone."""

    @pytest.fixture
    def verdicts(self, directory: Directory, tmp_path: Path) -> Verdicts:
        (tmp_path / "publishers").write_text(htpasswd_line("alice", "of-the-secret"))
        return Verdicts(Credentials(tmp_path), Trail(None), Members(directory, seconds=60, guesses=4))

    def judged(self, verdicts: Verdicts, user: tuple[str, str], role: Role = "reader") -> tuple[int, float | None]:
        header = f"Basic {base64.b64encode(':'.join(user).encode()).decode()}"
        status, who, seconds, _ = asyncio.run(verdicts.verdict(role, header, ADDRESS))
        assert who == (Who(user[0], "publishers" if seconds is None else "directory") if status == 204 else None)
        return status, seconds

    def test_whose_a_name_is(self, verdicts: Verdicts, httpd: Httpd) -> None:
        assert self.judged(verdicts, ("alice", "of-the-secret"), "publisher") == (204, None)
        assert self.judged(verdicts, PUBLISHER) == (401, None)
        assert httpd.asked == []
        assert self.judged(verdicts, READER)[0] == 204
        assert self.judged(verdicts, READER, "publisher")[0] == 403

    def test_an_answer_comes_with_its_end(self, verdicts: Verdicts, clock: Clock) -> None:
        for expected in (60, 10):
            status, seconds = self.judged(verdicts, READER)
            assert status == 204
            assert seconds == pytest.approx(expected, abs=1)
            clock(50)

    def test_while_it_is_away(self, verdicts: Verdicts, httpd: Httpd) -> None:
        httpd.broken = True
        assert self.judged(verdicts, READER) == (424, None)
        assert self.judged(verdicts, ("alice", "of-the-secret")) == (204, None)

    def test_nobody_without_a_name_is_asked_for(self, verdicts: Verdicts, httpd: Httpd) -> None:
        for header in ("", "Basic !"):
            assert asyncio.run(verdicts.verdict("reader", header, ADDRESS)).status == 401
        assert httpd.asked == []
