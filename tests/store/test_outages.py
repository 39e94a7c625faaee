"""The store fails, in the ways that stores do: what was acknowledged stays, and nothing else is told."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest
import requests

from certificates import Authority
from programs import PATIENCE, RUNTIME, First, needs_pid_namespaces, upload, wait_for
from refusing_store import EXPIRED_TOKEN, OTHER_REGION, OTHER_TIME, READ_ONLY, UNKNOWN_KEY
from remote_programs import KEYS, RemoteStore
from store_samples import files, metric, metrics, sha256, wheel

if TYPE_CHECKING:
    from pathlib import Path

    from programs import Server
    from refusing_store import Refusal
    from store_programs import Place

NAME, CONTENT = wheel("demo", "1.0")
OTHER, LARGE = wheel("demo", "2.0", os.urandom(6_000_000))
WAYS = [("refused", 0), ("hung", 0), ("cut", 100)]
LONGEST = 15
"""How many seconds an upload may take to be refused because the store is away."""


def ready(server: Server) -> bool:
    return requests.get(f"{server.url}/-/ready", timeout=PATIENCE).ok


def assert_goes_on(server: Server) -> None:
    """Assert that what needs no store is answered."""
    assert files(server.url, "demo").keys() == {NAME}
    assert ready(server)
    assert requests.get(f"{server.url}/packages/{NAME}", timeout=PATIENCE).content == CONTENT
    assert requests.get(f"{server.url}/-/stored/{NAME}", timeout=PATIENCE).ok


@pytest.mark.parametrize(("way", "number"), WAYS)
def test_a_store_that_is_away_refuses_uploads_and_nothing_else(place: Place, way: str, number: int) -> None:
    server = place.start()
    assert upload(server.url, NAME, CONTENT).ok
    place.way.be(way, number)
    begun = time.monotonic()
    answer = upload(server.url, OTHER, LARGE)
    assert time.monotonic() - begun < LONGEST
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert "store" in answer.reason
    assert_goes_on(server)
    # Known by now, and told at once.
    wait_for(lambda: metric(server.url, "pypiserver_store_answers") == 0, "the metric")
    answer = upload(server.url, OTHER, LARGE)
    assert (answer.status_code, "The store is away" in answer.text) == (503, True)
    assert_goes_on(server)
    place.way.be("open")
    wait_for(lambda: upload(server.url, OTHER, LARGE).ok, "an upload")
    assert (place.folder / OTHER).read_bytes() == LARGE
    assert files(server.url, "demo").keys() == {NAME, OTHER}
    assert metric(server.url, "pypiserver_store_failed_requests_total") > 0


@pytest.mark.parametrize("way", ["refused", "hung", "cut"])
def test_a_store_that_goes_away_while_a_file_is_copied(place: Place, way: str) -> None:
    """What is there of it is nobody's, and the same file, or another of its name, can be published."""
    server = place.start()
    assert upload(server.url, NAME, CONTENT).ok
    if way == "cut":
        place.way.be("cut", 2_000_000)
        answer = upload(server.url, OTHER, LARGE)
    else:
        place.way.be("slow", 2_000_000)
        answers: list[requests.Response] = []
        thread = threading.Thread(target=lambda: answers.append(upload(server.url, OTHER, LARGE)))
        thread.start()
        wait_for(lambda: list((place.folder / ".pypiserver/unfinished").glob("*")), "the upload")
        place.way.be(way)
        thread.join()
        (answer,) = answers
    assert answer.status_code == 503
    assert_goes_on(server)
    place.way.be("open")
    another = wheel("demo", "2.0", b"another")[1]
    wait_for(lambda: upload(server.url, OTHER, another).ok, "an upload")
    assert files(server.url, "demo")[OTHER]["hashes"]["sha256"] == sha256(another)
    assert (place.folder / OTHER).read_bytes() == another


def test_a_slow_store_is_waited_for(place: Place) -> None:
    server = place.start()
    place.way.be("slow", 1_000_000)
    assert upload(server.url, OTHER, LARGE).ok
    assert (place.folder / OTHER).read_bytes() == LARGE


def test_an_rclone_that_is_away_or_starts_anew(place: Place) -> None:
    rclone = place.rclone()
    server = place.server(rclone=rclone).start()
    assert upload(server.url, NAME, CONTENT).ok
    rclone.stop()
    answer = upload(server.url, OTHER, LARGE)
    assert (answer.status_code, "rclone does not answer" in answer.text) == (503, True)
    assert_goes_on(server)
    rclone.start()
    wait_for(lambda: upload(server.url, OTHER, LARGE).ok, "an upload")


def test_a_server_starts_when_the_store_is_back(place: Place) -> None:
    first = place.start()
    assert upload(first.url, NAME, CONTENT).ok
    first.kill()
    place.way.be("refused")
    second = place.server("second", VOLUME_WAIT_SECONDS="60")
    process = second.launch()
    wait_for(lambda: "waiting for the store" in second.log, "the log")
    assert process.poll() is None
    place.way.be("open")
    wait_for(lambda: "Booting worker" in second.log, "the start")
    second.kill()
    assert files(second.start().url, "demo").keys() == {NAME}


@pytest.mark.parametrize("way", ["refused", "hung"])
def test_a_start_that_waits_for_the_store_says_so_before_long(place: Place, way: str) -> None:
    place.way.be(way)
    server = place.server(VOLUME_WAIT_SECONDS="60")
    process = server.launch()
    wait_for(lambda: "waiting for the store: .pypiserver/registry cannot be read: " in server.log, "the log", LONGEST)
    assert process.poll() is None
    server.kill()


@needs_pid_namespaces
def test_a_pod_that_goes_while_the_store_is_away_goes_at_once(place: Place) -> None:
    place.way.be("refused")
    server = place.server(VOLUME_WAIT_SECONDS="60")
    with (
        (server.directory / "server.log").open("ab") as log,
        First(server.command, env=server.environment, cwd=server.directory, stdout=log, stderr=log) as process,
    ):
        wait_for(lambda: "waiting for the store" in server.log, "the log")
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0


def ends(server: Server) -> str:
    """The reason why a server does not start, in its log and in what the kubelet reads."""
    told = server.directory / "termination-log"
    told.write_text("")
    server.program = server.directory / "program"
    shutil.copytree(RUNTIME / "server", server.program / "server", dirs_exist_ok=True)
    start = server.program / "server/pod/start.py"
    start.write_text(start.read_text().replace("/dev/termination-log", str(told)))
    assert server.launch().wait(60) == 1
    reason = server.log.rpartition("pypiserver cannot start: ")[2]
    assert told.read_text() == reason
    return reason


def test_a_store_that_stays_away_ends_the_start(place: Place) -> None:
    place.way.be("refused")
    assert "nobody answers at the endpoint" in ends(place.server(VOLUME_WAIT_SECONDS="1"))


def test_wrong_keys(place: Place) -> None:
    for options in ({"access_key_id": "nobody"}, {"secret_access_key": "wrong"}):
        rclone = place.rclone("wrong", **options)
        reason = ends(place.server("wrong", rclone))
        assert "store:packages/pypi cannot be used" in reason
        assert "keys" in reason or "access key" in reason


def test_a_bucket_that_is_not_there(place: Place) -> None:
    assert "no such bucket" in ends(place.server(STORE_PATH="store:nothing/pypi"))


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        (OTHER_REGION, "the region, or the endpoint, is another"),
        (OTHER_TIME, "the clocks of this node and of the store differ too much"),
        (UNKNOWN_KEY, "the store does not know this access key"),
        (EXPIRED_TOKEN, "the store does not take these keys"),
        (READ_ONLY, "cannot be stored: it is not permitted to these keys"),
    ],
)
def test_what_a_store_refuses_at_the_start(place: Place, refusal: Refusal, reason: str) -> None:
    with place.refusing() as store:
        store.refusal = refusal
        assert reason in ends(place.server())


@pytest.mark.parametrize(
    ("refusal", "reason", "said"),
    [(UNKNOWN_KEY, "keys", "does not know this access key"), (OTHER_TIME, "clock", "clocks of this node and of")],
)
def test_what_a_store_refuses_later_is_said_once(place: Place, refusal: Refusal, reason: str, said: str) -> None:
    """By who follows and by who surveys the bucket, and by the metric for as long as it is so."""
    with place.refusing() as store:
        server = place.start()
        wait_for(lambda: upload(server.url, NAME, CONTENT).ok, "an upload")
        store.refusal = refusal
        problem = f'pypiserver_store_problem{{reason="{reason}"}}'
        wait_for(lambda: problem in metrics(server.url), "the metric")
        assert metric(server.url, problem) == 1
        assert metric(server.url, "pypiserver_store_answers") == 0
        count = len(store.requests)
        wait_for(lambda: len(store.requests) > count + 20, "more attempts")
        answer = upload(server.url, OTHER, LARGE)
        assert (answer.status_code, said in answer.text) == (503, True)
        assert_goes_on(server)
        for warning in ("the last listing stays", "what is known stays"):
            lines = [line for line in server.log.splitlines() if warning in line]
            assert [said in line for line in lines] == [True], warning
        store.refusal = None
        wait_for(lambda: metric(server.url, "pypiserver_store_answers") == 1, "the metric")
        assert "pypiserver_store_problem" not in metrics(server.url)
        assert server.log.count("The store is back") == 1
        wait_for(lambda: upload(server.url, OTHER, LARGE).ok, "an upload")


def test_a_bucket_that_can_only_be_read_later(place: Place) -> None:
    """It answers whoever looks, so that an upload finds out, and the metric stays until one succeeds."""
    with place.refusing() as store:
        server = place.start()
        wait_for(lambda: upload(server.url, NAME, CONTENT).ok, "an upload")
        store.refusal = READ_ONLY
        answer = upload(server.url, OTHER, LARGE)
        assert (answer.status_code, "it is not permitted to these keys" in answer.text) == (503, True)
        assert metric(server.url, 'pypiserver_store_problem{reason="permission"}') == 1
        assert metric(server.url, "pypiserver_store_answers") == 1
        assert "it is not permitted to these keys" in server.log
        assert_goes_on(server)
        store.refusal = None
        wait_for(lambda: upload(server.url, OTHER, LARGE).ok, "an upload")
        assert "pypiserver_store_problem" not in metrics(server.url)


def test_a_remote_that_rclone_does_not_know(place: Place) -> None:
    assert "rclone knows no such remote" in ends(place.server(STORE_PATH="another:packages/pypi"))


def test_a_bucket_that_can_only_be_read(place: Place, tmp_path: Path) -> None:
    with RemoteStore("s3", tmp_path / "s3", "--auth-key", ",".join(KEYS.values()), "--read-only") as store:
        place.way.lead_to(store.port)
        assert "cannot be stored" in ends(place.server())


def test_a_certificate_that_nobody_trusts_or_that_has_expired(place: Place, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    for days, reason in ((1, "certificate is not trusted"), (-1, "certificate has expired")):
        pair = authority.issue(days)
        for name, content in zip(("tls.key", "tls.crt"), pair, strict=True):
            (tmp_path / name).write_bytes(content)
        arguments = ("--cert", tmp_path / "tls.crt", "--key", tmp_path / "tls.key")
        with RemoteStore("s3", tmp_path / "s3", "--auth-key", ",".join(KEYS.values()), *arguments) as store:
            rclone = place.rclone(f"tls{days}", endpoint=f"https://localhost:{store.port}")
            if days < 0:
                rclone.stop()
                rclone.environment["RCLONE_CA_CERT"] = str(authority.path)
                rclone.start()
            assert reason in ends(place.server(f"tls{days}", rclone))


def test_another_registry_has_the_place(place: Place) -> None:
    first = place.start()
    assert upload(first.url, NAME, CONTENT).ok
    for name in ({"REGISTRY_NAME": "other"}, {"REGISTRY_NAMESPACE": "other"}):
        reason = ends(place.server("second", None, **name))
        assert "is the place of the registry team/pypiserver" in reason
    assert upload(first.url, OTHER, LARGE).ok


def test_a_place_that_was_emptied_is_not_taken_for_a_new_one(place: Place) -> None:
    server = place.start()
    identity = (place.folder / ".pypiserver/volume").read_bytes()
    server.kill()
    place.hand.remove(".pypiserver/volume")
    # A container that starts anew in the same pod knows it, and a new pod what it is told.
    assert "is not the place that is expected" in ends(server)
    new = place.server("new", VOLUME_IDENTITY=identity.decode().strip())
    assert f"expected, {identity.decode().strip()}: there is no" in ends(new)
    place.hand.write(".pypiserver/volume", identity)
    new.start()


def test_a_reader_waits_for_a_writer(place: Place) -> None:
    reader = place.server("reader", ROLE="reader", VOLUME_WAIT_SECONDS="60")
    reader.launch()
    wait_for(lambda: "No writer has begun with it yet" in reader.log, "the log")
    place.start("writer")
    wait_for(lambda: "Booting worker" in reader.log, "the start")
