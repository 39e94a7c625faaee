from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from programs import PATIENCE
from server.http.bottle import HTTPError
from server.http.limits import RESERVED, Limits, Needs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def test_requests_beyond_the_slots_are_turned_away_and_health_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    # Nobody waits for a volume that is known not to answer.
    monkeypatch.setattr("server.http.limits.PATIENCE_SECONDS", 2 * PATIENCE)
    limits = Limits(RESERVED + 2, 1, lambda: "The package volume has not answered for 4 s")
    hanging, release = threading.Semaphore(0), threading.Event()

    def hang() -> str:
        hanging.release()
        release.wait()
        return "late"

    work = limits.limited(hang, Needs.VOLUME)
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
        hanging.acquire()
    begun = time.monotonic()
    with pytest.raises(HTTPError) as refused:
        work()
    assert time.monotonic() - begun < PATIENCE
    assert refused.value.status_code == 503
    assert limits.limited(lambda: "Ok", Needs.NOTHING)() == "Ok"
    assert limits.limited(lambda: "stored", Needs.UPLOAD)() == "stored"
    release.set()
    for thread in threads:
        thread.join()
    assert work() == "late"


def test_a_request_that_fails_gives_its_slot_back() -> None:
    limits = Limits(RESERVED + 1, 1, lambda: None)

    def fail() -> None:
        raise ValueError("wrong")

    work = limits.limited(fail, Needs.VOLUME)
    for _ in range(3):
        with pytest.raises(ValueError, match="wrong"):
            work()


def test_a_burst_waits_while_the_volume_is_well() -> None:
    limits = Limits(RESERVED + 1, 1, lambda: None)
    working, release = threading.Event(), threading.Event()
    answers: list[object] = []

    def hold() -> str:
        working.set()
        release.wait()
        return "first"

    first = threading.Thread(target=lambda: answers.append(limits.limited(hold, Needs.VOLUME)()))
    first.start()
    working.wait()
    second = threading.Thread(target=lambda: answers.append(limits.limited(lambda: "second", Needs.VOLUME)()))
    second.start()
    release.set()
    for thread in (first, second):
        thread.join()
    assert sorted(map(str, answers)) == ["first", "second"]


class Answer:
    def __init__(self, body: Iterator[bytes]) -> None:
        self.body = body


@pytest.mark.parametrize("ends", [list, lambda body: body.close()])
def test_a_body_keeps_its_slot_until_it_is_sent_or_given_up(ends: Callable[[Iterator[bytes]], object]) -> None:
    limits = Limits(RESERVED + 1, 1, lambda: "The package volume has not answered for 4 s")
    work = limits.limited(lambda: Answer(iter([b"first", b"last"])), Needs.VOLUME)
    body = work().body
    assert next(body) == b"first"
    with pytest.raises(HTTPError):
        work()
    ends(body)
    assert list(work().body) == [b"first", b"last"]


def test_uploads_take_no_slot_of_others() -> None:
    limits = Limits(RESERVED + 1, 1, lambda: "The package volume has not answered for 4 s")

    def upload() -> str:
        assert limits.limited(lambda: "read", Needs.VOLUME)() == "read"
        with pytest.raises(HTTPError, match="Too many"):
            limits.limited(lambda: "stored", Needs.UPLOAD)()
        return "stored"

    assert limits.limited(upload, Needs.UPLOAD)() == "stored"
