from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from server.http.slots import RESERVED, Slots
from server.http.upstream import HTTPError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Route:
    def __init__(self, rule: str, method: str = "GET") -> None:
        self.rule = rule
        self.method = method


def test_requests_beyond_the_slots_are_turned_away_and_health_is_not() -> None:
    slots = Slots(RESERVED + 2, 1, lambda: "The package volume has not answered for 4 s")
    hanging, release = threading.Semaphore(0), threading.Event()

    def hang() -> str:
        hanging.release()
        release.wait()
        return "late"

    work = slots.apply(hang, Route("/simple/"))
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
        hanging.acquire()
    with pytest.raises(HTTPError) as refused:
        work()
    assert refused.value.status_code == 503
    assert slots.apply(lambda: "Ok", Route("/health"))() == "Ok"
    assert slots.apply(lambda: "stored", Route("/", "POST"))() == "stored"
    release.set()
    for thread in threads:
        thread.join()
    assert work() == "late"


def test_a_request_that_fails_gives_its_slot_back() -> None:
    slots = Slots(RESERVED + 1, 1, lambda: None)

    def fail() -> None:
        raise ValueError("wrong")

    work = slots.apply(fail, Route("/"))
    for _ in range(3):
        with pytest.raises(ValueError, match="wrong"):
            work()


def test_a_burst_waits_while_the_volume_is_well() -> None:
    slots = Slots(RESERVED + 1, 1, lambda: None)
    working, release = threading.Event(), threading.Event()
    answers: list[object] = []

    def hold() -> str:
        working.set()
        release.wait()
        return "first"

    first = threading.Thread(target=lambda: answers.append(slots.apply(hold, Route("/simple/"))()))
    first.start()
    working.wait()
    second = threading.Thread(target=lambda: answers.append(slots.apply(lambda: "second", Route("/simple/"))()))
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
    slots = Slots(RESERVED + 1, 1, lambda: "The package volume has not answered for 4 s")
    work = slots.apply(lambda: Answer(iter([b"first", b"last"])), Route("/packages/:filename#.*#"))
    body = work().body
    assert next(body) == b"first"
    with pytest.raises(HTTPError):
        work()
    ends(body)
    assert list(work().body) == [b"first", b"last"]


def test_uploads_take_no_slot_of_others() -> None:
    slots = Slots(RESERVED + 1, 1, lambda: "The package volume has not answered for 4 s")

    def upload() -> str:
        assert slots.apply(lambda: "read", Route("/simple/"))() == "read"
        with pytest.raises(HTTPError, match="Too many"):
            slots.apply(lambda: "stored", Route("/", "POST"))()
        return "stored"

    assert slots.apply(upload, Route("/", "POST"))() == "stored"
