"""Whose password is checked next."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from typing import TYPE_CHECKING

import pytest

from server.access import checks
from server.access.checks import AT_ONCE, SPARE, WAITING, BusyError, Checks, client_of

if TYPE_CHECKING:
    from collections.abc import Callable


class Bench:
    """Checks that end when the test says so."""

    def __init__(self) -> None:
        self.checks = Checks()
        self.begun: list[str] = []
        self.all_begun: list[str] = []
        self.ended: list[str] = []
        self.go = threading.Semaphore(0)

    def ask(
        self, address: str, user: str, name: str, *, right: bool = False, known: bool = False
    ) -> asyncio.Task[bool]:
        def check() -> bool:
            self.begun.append(name)
            self.all_begun.append(name)
            self.go.acquire(timeout=30)
            self.ended.append(name)
            return right

        return asyncio.get_running_loop().create_task(self.checks.right(address, user, check, known=known))

    async def occupy(self) -> list[asyncio.Task[bool]]:
        """Keep all threads busy."""
        tasks = [self.ask(f"203.0.113.{number}", "busy", "busy") for number in range(AT_ONCE)]
        await self.wait(lambda: len(self.begun) == AT_ONCE)
        self.begun.clear()
        return tasks

    async def order(self, tasks: list[asyncio.Task[bool]]) -> list[str]:
        """Let one check after the other end, and return which have begun in which order."""
        await self.wait(self.all_have_begun)
        while self.checks._running or self.checks._guessers:
            await self.wait(lambda: bool(self.checks._running) and self.all_have_begun())
            ended = len(self.ended)
            self.go.release()
            await self.wait(lambda before=ended: len(self.ended) > before and self.all_have_begun())  # type: ignore[misc]
        await asyncio.gather(*tasks, return_exceptions=True)
        return self.begun

    def all_have_begun(self) -> bool:
        return len(self.all_begun) - len(self.ended) == len(self.checks._running)

    async def wait(self, condition: Callable[[], bool]) -> None:
        for _ in range(2000):
            if condition():
                return
            await asyncio.sleep(0.005)
        raise AssertionError(f"waited in vain: {self.begun}")


def test_who_has_tried_less_goes_first() -> None:
    async def run() -> None:
        bench = Bench()
        tasks = await bench.occupy()
        for guess in range(20):
            tasks.append(bench.ask(f"192.0.2.{guess % 5}", "alice", f"guess-{guess}"))
        tasks.append(bench.ask("198.51.100.1", "alice", "alice", right=True))
        await asyncio.sleep(0)
        assert (await bench.order(tasks))[0] == "alice"

    asyncio.run(run())


def test_behind_one_address_the_user_whom_no_flood_tries_goes_first() -> None:
    async def run() -> None:
        bench = Bench()
        tasks = await bench.occupy()
        tasks += [bench.ask("192.0.2.1", f"user-{number % 10}", f"{number}") for number in range(30)]
        tasks.append(bench.ask("192.0.2.1", "alice", "alice", right=True))
        await asyncio.sleep(0)
        assert (await bench.order(tasks))[0] == "alice"

    asyncio.run(run())


def test_so_does_one_behind_the_address_of_a_flood() -> None:
    async def run() -> None:
        bench = Bench()
        for _ in range(checks.FEW + 1):
            bench.checks.count_wrong("192.0.2.1")
        assert bench.checks._guesser("192.0.2.1")
        tasks = [bench.ask("192.0.2.1", f"user-{number % 4}", f"{number}") for number in range(50)]
        # One of the two threads is kept for others.
        await bench.wait(lambda: len(bench.begun) == checks.GUESSERS_AT_ONCE)
        begun = len(bench.begun)
        tasks.append(bench.ask("192.0.2.1", "alice", "alice", right=True))
        await asyncio.sleep(0)
        order = await bench.order(tasks)
        assert order[begun] == "alice"
        # Those who found no place were told so at once.
        assert len(order) == checks.GUESSERS_AT_ONCE + checks.GUESSERS_WAITING

    asyncio.run(run())


def test_what_a_flood_asked_before_it_was_one_does_not_go_before_others_of_its_address() -> None:
    async def run() -> None:
        bench = Bench()
        flood = [bench.ask("192.0.2.1", f"user-{number % 4}", f"{number}") for number in range(WAITING)]
        neighbour = bench.ask("192.0.2.2", "bob", "bob", right=True)
        # As they are wrong one after the other, their client becomes one that guesses.
        for _ in range(checks.FEW + 3):
            ended = len(bench.ended)
            bench.go.release()
            await bench.wait(lambda before=ended: len(bench.ended) > before and bench.all_have_begun())  # type: ignore[misc]
        begun = len(bench.begun)
        alice = bench.ask("192.0.2.1", "alice", "alice", right=True)
        await asyncio.sleep(0)
        assert (await bench.order([*flood, neighbour, alice]))[begun] == "alice"
        assert (await alice, await neighbour) == (True, True)

    asyncio.run(run())


def test_a_flood_leaves_a_thread_to_others() -> None:
    async def run() -> None:
        bench = Bench()
        for _ in range(checks.FEW + 1):
            bench.checks.count_wrong("192.0.2.1")
        tasks = [bench.ask("192.0.2.1", "alice", "guess") for _ in range(4)]
        await bench.wait(lambda: len(bench.begun) == checks.GUESSERS_AT_ONCE)
        tasks.append(bench.ask("198.51.100.1", "alice", "alice", right=True))
        await bench.wait(lambda: len(bench.begun) == checks.GUESSERS_AT_ONCE + 1)
        assert bench.begun[-1] == "alice"
        await bench.order(tasks)

    asyncio.run(run())


def test_a_flood_of_waiting_guesses_gives_way_to_the_next_client() -> None:
    async def run() -> None:
        bench = Bench()
        tasks = await bench.occupy()
        flood = [bench.ask("192.0.2.1", "alice", f"guess-{number}") for number in range(WAITING + SPARE)]
        await asyncio.sleep(0)
        alice = bench.ask("198.51.100.1", "alice", "alice", right=True)
        await asyncio.sleep(0.01)
        refused = [task for task in flood if task.done() and isinstance(task.exception(), BusyError)]
        # More than FEW found no place: from then on their client is one that guesses, and of it few may wait.
        assert len(refused) == WAITING + SPARE - checks.GUESSERS_WAITING
        await bench.order([*tasks, *flood, alice])
        assert alice.result() is True

    asyncio.run(run())


@pytest.mark.parametrize("addresses", [500, 10_000])
def test_a_guess_costs_no_look_at_all_who_wait(monkeypatch: pytest.MonkeyPatch, addresses: int) -> None:
    looks = 0
    place = Checks.place

    def counted(self: Checks, waiting: checks._Waiting) -> tuple[int, ...]:
        nonlocal looks
        looks += 1
        return place(self, waiting)

    monkeypatch.setattr(Checks, "place", counted)

    async def run() -> None:
        bench = Bench()
        tasks = await bench.occupy()
        flood = [bench.ask(f"192.0.2.{number % addresses}", "alice", "guess") for number in range(10_000)]
        await asyncio.sleep(0.01)
        assert looks < 10 * len(flood)
        await bench.order([*tasks, *flood])

    asyncio.run(run())


def test_a_name_that_nobody_tries_goes_before_guesses_of_ever_new_addresses() -> None:
    async def run() -> None:
        bench = Bench()
        tasks = await bench.occupy()
        guesses = [f"192.0.{number // 250}.{number % 250}" for number in range(1000)]
        flood = [bench.ask(address, f"user-{number % 4}", "guess") for number, address in enumerate(guesses)]
        await asyncio.sleep(0)
        alice = bench.ask("198.51.100.1", "alice", "alice", right=True)
        flood += [bench.ask(f"198.18.0.{number}", f"user-{number % 4}", "guess") for number in range(250)]
        await asyncio.sleep(0.01)
        assert (await bench.order([*tasks, *flood, alice]))[0] == "alice"

    asyncio.run(run())


def test_who_was_right_lately_goes_before_all_others_and_keeps_the_place() -> None:
    async def run() -> None:
        bench = Bench()
        tasks = await bench.occupy()
        alice = bench.ask("198.51.100.1", "alice", "alice", right=True, known=True)
        await asyncio.sleep(0)
        # Tried more often than any name of the flood, and waiting for longer than all of it.
        tasks += [bench.ask(f"192.0.2.{number}", "alice", "guess") for number in range(250)]
        tasks += [bench.ask(f"198.18.{number // 250}.{number % 250}", f"{number}", "guess") for number in range(1000)]
        await asyncio.sleep(0.01)
        assert not alice.done()
        assert (await bench.order([*tasks, alice]))[0] == "alice"

    asyncio.run(run())


def test_a_flood_leaves_half_of_its_thread_s_time_to_whoever_answers_it() -> None:
    async def run() -> None:
        made = Checks()
        for _ in range(checks.FEW + 1):
            made.count_wrong("192.0.2.1")
        begun: list[float] = []

        def check() -> bool:
            begun.append(time.monotonic())
            time.sleep(0.05)
            return False

        await asyncio.gather(*(made.right("192.0.2.1", "alice", check) for _ in range(4)))
        assert all(after - before >= 0.1 for before, after in itertools.pairwise(begun))

    asyncio.run(run())


def test_a_guesser_who_finds_all_places_taken_is_told_so_without_waiting() -> None:
    async def run() -> None:
        bench = Bench()
        for _ in range(checks.FEW + 1):
            bench.checks.count_wrong("192.0.2.1")
        tasks = [bench.ask("192.0.2.1", "alice", "guess") for _ in range(checks.GUESSERS_WAITING + 1)]
        await bench.wait(lambda: len(bench.checks._guessers) == checks.GUESSERS_WAITING)
        for _ in range(checks.FEW + 10):
            bench.checks.count_wrong("192.0.2.2")
        late = bench.checks.right("192.0.2.2", "alice", lambda: True)
        with pytest.raises(BusyError):
            late.send(None)
        await bench.order(tasks)

    asyncio.run(run())


def test_names_that_nobody_has_take_no_place_of_others() -> None:
    async def run() -> None:
        bench = Bench()
        beside = bench.checks.beside()
        tasks = await bench.occupy()
        others = [bench.ask(f"192.0.2.{number}", f"user-{number}", "user") for number in range(WAITING // 2)]
        await asyncio.sleep(0)
        go = threading.Event()
        in_vain = [
            asyncio.create_task(beside.right(f"198.51.100.{number}", f"nobody-{number}", lambda: not go.wait(30)))
            for number in range(WAITING)
        ]
        await asyncio.sleep(0.01)
        assert sum(task.done() for task in in_vain) > SPARE
        assert not any(task.done() for task in others)
        go.set()
        await bench.order([*tasks, *others, *in_vain])

    asyncio.run(run())


def test_whoever_guesses_names_that_nobody_has_is_one_that_guesses_everywhere() -> None:
    async def run() -> None:
        bench = Bench()
        beside = bench.checks.beside()
        tasks = await bench.occupy()
        asked = [bench.ask("192.0.2.1", f"user-{number}", "before") for number in range(20)]
        await asyncio.sleep(0)
        for number in range(checks.FEW + 1):
            assert not await beside.right("192.0.2.1", f"nobody-{number}", lambda: False)
        await bench.wait(lambda: sum(task.done() for task in asked) == len(asked) - checks.GUESSERS_WAITING)
        assert not bench.checks.newcomers
        await bench.order([*tasks, *asked])

    asyncio.run(run())


def test_nobody_waits_for_longer_than_a_client_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "PATIENCE_SECONDS", 0.05)

    async def run() -> None:
        bench = Bench()
        tasks = await bench.occupy()
        with pytest.raises(BusyError):
            await bench.ask("192.0.2.1", "alice", "late")
        assert "late" not in await bench.order(tasks)

    asyncio.run(run())


def test_neither_does_a_client_that_becomes_one_that_guesses_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "PATIENCE_SECONDS", 0.05)

    async def run() -> None:
        bench = Bench()
        tasks = await bench.occupy()
        late = [bench.ask("192.0.2.1", "alice", "late") for _ in range(2 * checks.FEW)]
        assert {type(error) for error in await asyncio.gather(*late, return_exceptions=True)} == {BusyError}
        assert "late" not in await bench.order(tasks)

    asyncio.run(run())


def test_right_passwords_are_no_tries() -> None:
    async def run() -> None:
        bench = Bench()
        for number in range(5):
            task = bench.ask("192.0.2.1", "alice", f"{number}", right=True)
            bench.go.release()
            assert await task
        bench.begun.clear()
        tasks = await bench.occupy()
        tasks.append(bench.ask("198.51.100.1", "bob", "once", right=False))
        tasks.append(bench.ask("198.51.100.1", "bob", "twice", right=False))
        tasks.append(bench.ask("192.0.2.1", "alice", "alice", right=True))
        await asyncio.sleep(0)
        assert (await bench.order(tasks))[0] == "alice"

    asyncio.run(run())


def test_a_check_that_fails_frees_its_thread() -> None:
    async def run() -> None:
        made = Checks()

        def fail() -> bool:
            raise RuntimeError

        for _ in range(AT_ONCE + 1):
            with pytest.raises(RuntimeError):
                await made.right("192.0.2.1", "alice", fail)
        assert await made.right("192.0.2.1", "alice", lambda: True)

    asyncio.run(run())


def test_a_customer_of_version_6_is_one_client() -> None:
    assert client_of("2001:db8::1") == client_of("2001:db8::ffff:1") != client_of("2001:db8:0:1::1")
    assert client_of("192.0.2.1") != client_of("192.0.2.2")
    assert client_of("nonsense:") == "nonsense:"


def test_an_address_of_version_4_is_one_client_in_either_form() -> None:
    # Proxies that listen on both versions write it like the second.
    assert client_of("192.0.2.1") == client_of("::ffff:192.0.2.1") != client_of("::ffff:192.0.2.2")
