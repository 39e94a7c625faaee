"""A reader's gateway sends on to the writer what is published, and says so where there is none."""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import socket
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from cdk8s_pypiserver import GatewaySpec
from certificates import Authority, put
from gateway.test_tokens import give
from gateway_programs import (
    Gateway,
    Recorder,
    Registry,
    Setup,
    basic,
    make_wheel,
    multipart,
    read_answer,
    twine_upload,
)
from name_server import NameServer
from programs import PATIENCE, Server, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SERVICE = "pypiserver-writer"
DOMAIN = "team.svc.cluster.local"
WRITER = f"{SERVICE}.{DOMAIN}"
RESOLV = f"search {DOMAIN} svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"
PUBLISHER, READER = ("publisher", "publisher-password"), ("reader", "reader-password")
AWAY = "Nothing can be published while the writer is away; packages can be read. Try again"
SLOW = Setup(slow_volume=True)
BOTH = {"PUBLISH_METHOD": "direct", "READERS": "yes", "RESCAN_SECONDS": "0.1", "POLL_SECONDS": "0.1"}


@dataclass
class Pair:
    """A writer's pod and a reader's, on one volume, and the name server of their cluster."""

    writer: Registry
    reader: Registry
    names: NameServer


def gateway_of(directory: Path, server: Server, setup: Setup) -> Gateway:
    """The gateway of a server's pod."""
    return Gateway(
        directory,
        server.port,
        verdicts_port=server.verdicts_port,
        packages=server.packages,
        pages=server.pages,
        setup=setup,
    )


def reading(setup: Setup, names: NameServer, port: int) -> Setup:
    """A reader's, whose writer is at this port: tests have none of those below 1024."""
    changes = {
        "resolver%s valid=5s;": f"resolver 127.0.0.1:{names.port} valid=1s; #%s",
        "default %s://%s;": f"default %s://%s:{port};",
    }
    return replace(setup, environment={**setup.environment, "WRITER": SERVICE}, changes={**setup.changes, **changes})


def resolved(gateway: Gateway, text: str = RESOLV) -> Gateway:
    """A gateway of a pod whose name servers are these."""
    (gateway.directory / "resolv.conf").write_text(text)
    return gateway


@contextlib.contextmanager
def pair(
    directory: Path,
    setup: Setup = SLOW,
    authority: Authority | None = None,
    changes: Mapping[str, Mapping[str, str]] | None = None,
) -> Iterator[Pair]:
    """Start a writer and a reader with their gateways; `changes` are those of either's files."""
    own = {name: {**setup.changes, **(changes or {}).get(name, {})} for name in ("front", "behind")}
    writer = Server(directory / "writer", BOTH)
    shared = {**BOTH, "ROLE": "reader", "PACKAGES_DIRECTORY": str(writer.packages)}
    reader = Server(directory / "reader", {**shared, "CREDENTIALS_DIRECTORY": str(writer.credentials)})
    behind = gateway_of(
        directory / "behind", writer, replace(setup, environment={"READERS": "yes"}, changes=own["behind"])
    )
    with NameServer({WRITER: "127.0.0.1"}) as names:
        port = behind.https_port if setup.tls else behind.port
        front = resolved(
            gateway_of(directory / "front", reader, reading(replace(setup, changes=own["front"]), names, port))
        )
        for each in (behind, front):
            if authority:
                put(each.certificates, authority.issue())
        with writer, reader, behind, front:
            yield Pair(Registry(behind, writer), Registry(front, reader), names)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Pair]:
    with pair(tmp_path) as started:
        yield started


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with pair(tmp_path_factory.mktemp("pair"), Setup(slow_volume=True, spec=GatewaySpec(max_upload="10Mi"))) as started:
        yield started


def lists(registry: Registry, wheel: Path) -> bool:
    project = wheel.name.partition("-")[0].replace("_", "-")
    answer = registry.gateway.get(f"/simple/{project}/", *READER)
    return answer.ok and wheel.name in answer.text


def begin(gateway: Gateway, wheel: Path, user: tuple[str, str] = PUBLISHER) -> tuple[socket.socket, bytes]:
    """Send the head of an upload; returns the connection and the body."""
    body, content_type = multipart(wheel)
    connection = gateway.connect()
    connection.sendall(
        f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: {basic(*user)}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n".encode()
    )
    return connection, body


def test_what_is_published_at_a_reader_is_the_writers(shared: Pair, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "through", "1.0")
    done = twine_upload(tmp_path, shared.reader.gateway.url, wheel, credentials=PUBLISHER)
    assert done.returncode == 0, done.stdout
    assert lists(shared.writer, wheel)
    wait_for(lambda: lists(shared.reader, wheel), "the reader to list it")
    answer = shared.reader.gateway.get(f"/packages/{wheel.name}", *READER)
    assert answer.content == wheel.read_bytes()
    # Each has a line of its own.
    assert shared.reader.gateway.logged(method="POST", path="/", status=200)["user"] == "publisher"
    assert shared.writer.gateway.logged(method="POST", path="/", status=200)["user"] == "publisher"


def test_the_words_of_the_writer_arrive(shared: Pair, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "twice", "1.0")
    assert shared.reader.upload(wheel).headers["X-Stored"] == "yes"
    again = shared.reader.upload(wheel)
    assert again.status_code == 409
    assert again.reason == f"Package '{wheel.name}' already exists! What is published cannot be replaced."


@pytest.mark.parametrize(
    ("user", "size", "status", "reason"),
    [
        (("", ""), 1000, 401, "The user name or the password is missing or wrong"),
        (("publisher", "guess"), 1000, 401, "The user name or the password is missing or wrong"),
        (READER, 1000, 403, "This user may not publish or remove"),
        (PUBLISHER, 20_000_000, 413, "The file is larger than this registry takes"),
    ],
)
def test_a_reader_refuses_before_it_asks_for_the_body(
    shared: Pair, user: tuple[str, str], size: int, status: int, reason: str
) -> None:
    before = len(shared.writer.gateway.access_log)
    answer = shared.reader.gateway.request("POST", "/", *user, data=bytes(size))
    assert (answer.status_code, answer.reason[: len(reason)]) == (status, reason)
    head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\nExpect: 100-continue\r\n"
    authorization = f"Authorization: {basic(*user)}\r\n" if user[0] else ""
    with shared.reader.gateway.connect() as connection:
        connection.sendall(f"{head}{authorization}\r\n".encode())
        assert connection.recv(12) == f"HTTP/1.1 {status}".encode()
    assert len(shared.writer.gateway.access_log) == before


def test_the_writer_judges_again(running: Pair, tmp_path: Path) -> None:
    """A reader that goes by an old verdict, or somebody who comes to the writer past it."""
    assert running.reader.upload(make_wheel(tmp_path, "before", "1.0")).ok
    (running.writer.server.credentials / "publishers").write_text("")
    wheel = make_wheel(tmp_path, "after", "1.0")
    wait_for(lambda: running.writer.upload(wheel).status_code == 401, "the writer to know", PATIENCE * 3)
    answer = running.reader.upload(make_wheel(tmp_path, "later", "1.0"))
    assert answer.status_code == 401
    assert answer.reason.startswith("The user name or the password is missing or wrong")


def test_a_token_is_good_for_its_projects_at_a_reader_too(running: Pair, tmp_path: Path) -> None:
    who = give(running.writer.server, "ci", "publish", projects=("own-*",))
    statuses = []
    for name in ("own_one", "other"):
        body, content_type = multipart(make_wheel(tmp_path, name, "1.0"))
        headers = {"Content-Type": content_type}
        answer = running.reader.gateway.request("POST", "/", *who, data=body, headers=headers)
        statuses.append(answer.status_code)
    assert statuses == [200, 403]
    assert "token ci has no right to publish other" in answer.reason
    assert [path.name for path in running.writer.server.packages.glob("*.whl")] == ["own_one-1.0-py3-none-any.whl"]


def test_a_body_goes_to_the_writer_as_it_comes(running: Pair, tmp_path: Path) -> None:
    connection, body = begin(running.reader.gateway, make_wheel(tmp_path, "flowing", "1.0", os.urandom(3_000_000)))
    with connection:
        connection.sendall(body[:-1])

        # A file of a bucket stands in the server's /tmp until it is whole, and has no name there.
        wait_for(lambda: unnamed(running.writer.server) > 2_900_000, "the file at the writer")
        for each in (running.reader, running.writer):
            assert not each.gateway.buffered_bodies()
        assert not unnamed(running.reader.server)
        connection.sendall(body[-1:])
        assert read_answer(connection)[0] == 200


def unnamed(server: Server) -> int:
    """How many bytes are in files that a server holds open in its /tmp."""
    assert server.process
    sizes = []
    for child in open_by(server.process.pid):
        with contextlib.suppress(OSError):
            if str(child.readlink()).startswith(str(server.temporary)):
                sizes.append(child.stat().st_size)
    return sum(sizes)


def open_by(pid: int) -> list[Path]:
    """What a process and its children have open."""
    found = list(Path(f"/proc/{pid}/fd").iterdir())
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found += open_by(int(child))
    return found


def test_a_reader_starts_and_reads_without_a_writer_and_follows_its_address(tmp_path: Path) -> None:
    with Recorder() as server, Recorder() as other, NameServer() as names:
        behind = Gateway(tmp_path / "behind", other.port, packages=tmp_path / "p", pages=tmp_path / "q")
        front = Gateway(
            tmp_path / "front",
            server.port,
            packages=tmp_path / "p",
            pages=tmp_path / "r" / "pages",
            setup=reading(Setup(), names, behind.port),
        )

        answers: list[requests.Response] = []

        def published(status: int) -> bool:
            answers.append(front.request("POST", "/", "publisher", "publish", data=b"body" * 10_000))
            return answers[-1].status_code == status

        with behind, resolved(front):
            # The name is not there yet, then it leads nowhere, then to the writer, and nowhere again.
            for address, status in (("", 503), ("127.0.0.9", 503), ("127.0.0.1", 200), ("127.0.0.9", 503)):
                names.addresses = {WRITER: address} if address else {}
                wait_for(partial(published, status), f"{status} at {address}")
                if status == 503:
                    answer = answers[-1]
                    assert (answer.reason, answer.text) == (AWAY, f"{AWAY}.\n")
                    assert answer.headers["Retry-After"] == "10"
                assert front.get("/simple/other/", "reader", "read").ok
            assert set(names.asked) == {WRITER}
        assert not server.asked("/", "POST")


def test_a_writer_that_dies_during_an_upload(running: Pair, tmp_path: Path) -> None:
    first = make_wheel(tmp_path, "first", "1.0")
    assert running.reader.upload(first).ok
    wait_for(lambda: lists(running.reader, first), "the reader to list what is there")
    wheel = make_wheel(tmp_path, "cut", "1.0", os.urandom(3_000_000))
    connection, body = begin(running.reader.gateway, wheel)
    with connection:
        connection.sendall(body[:1_000_000])
        wait_for(lambda: unnamed(running.writer.server) > 500_000, "the upload at the writer")
        running.writer.gateway.kill()
        running.writer.server.kill()
        connection.sendall(body[1_000_000:])
        status, text = read_answer(connection)
        assert (status, text.decode()) == (503, f"{AWAY}.\n")
    assert running.reader.gateway.get("/simple/first/", *READER).ok
    running.writer.server.start()
    running.writer.gateway.start()
    assert running.reader.upload(wheel).ok
    wait_for(lambda: lists(running.reader, wheel), "the reader to list it")


def test_a_writer_with_too_much_to_do_says_so_itself(tmp_path: Path) -> None:
    with pair(tmp_path) as running:
        behind = running.writer.gateway
        behind.kill()
        behind.environment["CONCURRENT_UPLOADS"] = "1"
        behind.start()
        slow = make_wheel(tmp_path, "slow", "1.0", os.urandom(500_000))
        wheels = (make_wheel(tmp_path, f"busy{number}", "1.0") for number in itertools.count())
        with contextlib.ExitStack() as connections:
            begun: list[socket.socket] = []

            def busy() -> bool:
                # The slow one is refused itself if another one came before it.
                if not begun or select.select(begun[-1:], [], [], 0)[0]:
                    begun.append(connections.enter_context(begin(running.reader.gateway, slow)[0]))
                    begun[-1].sendall(b"--")
                return running.reader.upload(next(wheels)).status_code == 503

            wait_for(busy, "the writer to be busy")
            answer = running.reader.upload(make_wheel(tmp_path, "busier", "1.0"))
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
            assert answer.reason == "Too many files are being published at once; try again"


def test_who_publishes_is_known_behind_a_trusted_reader(tmp_path: Path) -> None:
    setup = Setup(slow_volume=True, spec=GatewaySpec(trusted_proxies=["127.0.0.0/8"]))
    with pair(tmp_path, setup) as running:
        body, content_type = multipart(make_wheel(tmp_path, "far", "1.0"))
        headers = {"Content-Type": content_type, "X-Forwarded-For": "203.0.113.7"}
        assert running.reader.gateway.request("POST", "/", *PUBLISHER, data=body, headers=headers).ok
        for each in (running.reader, running.writer):
            assert each.gateway.logged(method="POST", path="/")["remote"] == "203.0.113.7"


def test_publishing_below_a_prefix(tmp_path: Path) -> None:
    with pair(tmp_path, Setup(slow_volume=True, spec=GatewaySpec(path_prefix="/team/pypi"))) as running:
        wheel = make_wheel(tmp_path, "below", "1.0")
        url = f"{running.reader.gateway.url}/team/pypi"
        done = twine_upload(tmp_path, url, wheel, credentials=PUBLISHER)
        assert done.returncode == 0, done.stdout
        wait_for(lambda: lists(running.reader, wheel), "the reader to list it")


def test_the_way_to_the_writer_is_encrypted_where_the_gateway_is(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with pair(tmp_path, Setup(slow_volume=True, tls=True), authority) as running:
        wheel = make_wheel(tmp_path, "sealed", "1.0")
        body, content_type = multipart(wheel)
        answer = requests.post(
            f"{running.reader.gateway.https_url}/",
            data=body,
            headers={"Content-Type": content_type},
            auth=PUBLISHER,
            verify=str(authority.path),
            timeout=PATIENCE,
        )
        assert answer.ok, answer.text
        assert (running.writer.server.packages / wheel.name).exists()
        # In the clear it would have been refused.
        assert running.writer.gateway.get("/simple/", *READER).status_code == 421


@pytest.mark.parametrize(
    ("writer", "resolv", "reason"),
    [
        (SERVICE, "nameserver 10.0.0.2\nsearch example.org\n", "the pod needs the dnsPolicy ClusterFirst"),
        (SERVICE, f"search {DOMAIN}\n", "the pod needs the dnsPolicy ClusterFirst"),
        ("writer.example.org", RESOLV, "it must be the name of a Service in the namespace of this pod"),
    ],
)
def test_what_leads_to_no_writer_does_not_start(tmp_path: Path, writer: str, resolv: str, reason: str) -> None:
    setup = Setup(environment={"WRITER": writer})
    gateway = Gateway(tmp_path, 1, packages=tmp_path / "p", pages=tmp_path / "q", setup=setup)
    assert resolved(gateway, resolv).launch().wait(PATIENCE) == 1
    text = gateway.termination_log.read_text()
    assert text.startswith(f"WRITER is '{writer}'")
    assert reason in text


@pytest.mark.parametrize(
    ("lines", "made"),
    [
        (RESOLV, f"resolver 10.96.0.10 valid=5s;|http://{WRITER};"),
        (f"nameserver fd00::10\nnameserver 10.0.0.10\nsearch {DOMAIN}", "resolver [fd00::10] 10.0.0.10 valid=5s;"),
        (f"# a comment\nsearch example.org {DOMAIN}\nnameserver 10.0.0.10 \n", f"//{WRITER};"),
    ],
)
def test_where_the_writer_is_looked_up(tmp_path: Path, lines: str, made: str) -> None:
    gateway = Gateway(
        tmp_path, 1, packages=tmp_path / "p", pages=tmp_path / "q", setup=Setup(environment={"WRITER": SERVICE})
    )
    with resolved(gateway, lines):
        text = (gateway.temporary / "gateway/http-writer.conf").read_text()
        assert all(part in text for part in made.split("|"))


def test_an_upload_is_counted_once(tmp_path: Path) -> None:
    """By the reader, who knows the client; the writer's line of the log is its own affair."""
    sockets = {name: socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for name in ("front", "behind")}
    with contextlib.ExitStack() as stack:
        changes = {}
        for name, each in sockets.items():
            stack.enter_context(each).bind(("127.0.0.1", 0))
            each.settimeout(PATIENCE)
            changes[name] = {"127.0.0.1:3904": f"127.0.0.1:{each.getsockname()[1]}"}
        running = stack.enter_context(pair(tmp_path, replace(SLOW, metrics=True), changes=changes))
        assert running.reader.upload(make_wheel(tmp_path, "once", "1.0")).ok
        line = sockets["front"].recv(2000).decode()
        assert " gateway: 1 publish POST 2xx known asked stored none " in line
        # The next line of either is that of a scrape, which both have: so the writer has none of the upload.
        for name, registry in (("front", running.reader), ("behind", running.writer)):
            url = f"http://127.0.0.1:{registry.gateway.metrics_port}/metrics/gateway"
            requests.get(url, timeout=PATIENCE)
            assert " scrape: " in sockets[name].recv(2000).decode()
