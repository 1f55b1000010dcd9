"""Waiting: three doors to one room; who waits goes on when the driver says so, or at the end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import anyio
import anyio.to_thread
import pytest
import trio
import trio.testing
import uvloop

from replsession.channel import waiting
from replsession.channel.waiting import BOUND_S, Waiter, is_loop_here
from replsession.concern import TIMEOUT_MAX_S, Asked
from replsession.config import Timing
from replsession.replication.acks import Ticket
from replsession.replication.freshness import Lookup
from tests.channel.running import PATIENCE_S, some_key, until

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


def some_lookup(*, is_done: bool = False) -> Lookup:
    return Lookup(some_key(), {}, 0.0, 0.0, is_done=is_done)


def some_ticket(*, is_done: bool = False) -> Ticket:
    return Ticket(Asked("one"), {some_key(): 1}, 1, 0.0, is_done=is_done)


def is_entered(waiter: Waiter) -> bool:
    """Tell whether somebody is in the room."""
    return waiter._call is not None


class Finisher:
    """A thread that ends a wait as soon as somebody waits, or sooner if told so."""

    def __init__(self, waiter: Waiter) -> None:
        self.error: BaseException | None = None
        self._waiter = waiter
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            until(lambda: is_entered(self._waiter), "somebody waits")
            self._waiter.finish()
        except BaseException as error:  # noqa: BLE001 - raised again by join(), in the test
            self.error = error

    def join(self) -> None:
        """Wait for its end."""
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        if self.error is not None:
            raise self.error


def test_the_bound_is_above_every_time_out_of_the_node() -> None:
    timing = Timing()

    assert max(TIMEOUT_MAX_S, timing.fresh_timeout_s, timing.join_wait_s) < BOUND_S


@pytest.mark.parametrize("make", [some_lookup, some_ticket])
@pytest.mark.parametrize("is_done", [True, False])
def test_what_is_done_already_needs_no_wait(
    make: Callable[..., Lookup | Ticket], is_done: bool
) -> None:
    waiter = Waiter(make(is_done=is_done))
    assert waiter.is_over is is_done
    waiter.finish()
    assert waiter.is_over


def test_what_was_waited_for_is_named_by_its_kind() -> None:
    lookup, ticket = some_lookup(), some_ticket()

    assert Waiter(lookup).lookup is lookup
    assert Waiter(ticket).ticket is ticket
    with pytest.raises(AssertionError):
        _ = Waiter(lookup).ticket
    with pytest.raises(AssertionError):
        _ = Waiter(ticket).lookup


# On a loop, asyncio's or trio's.


@pytest.mark.anyio
@pytest.mark.parametrize("finished", ["when it was made", "before the wait", "twice"])
async def test_a_wait_that_is_over_does_not_wait(finished: str) -> None:
    waiter = Waiter(some_lookup(is_done=finished == "when it was made"))
    for _ in range({"when it was made": 0, "before the wait": 1, "twice": 2}[finished]):
        waiter.finish()
    with anyio.fail_after(PATIENCE_S):
        await waiter.wait()
        await waiter.wait()

    assert not is_entered(waiter)


@pytest.mark.anyio
async def test_who_waits_goes_on_when_its_own_loop_says_so() -> None:
    waiter = Waiter(some_lookup())
    went_on: list[str] = []

    async def request() -> None:
        await waiter.wait()
        went_on.append("request")

    with anyio.fail_after(PATIENCE_S):
        async with anyio.create_task_group() as group:
            group.start_soon(request)
            await anyio.wait_all_tasks_blocked()
            assert (is_entered(waiter), went_on) == (True, [])
            waiter.finish()
            waiter.finish()

    assert (went_on, waiter.is_over) == (["request"], True)


@pytest.mark.anyio
async def test_who_waits_goes_on_when_another_thread_says_so() -> None:
    waiter = Waiter(some_lookup())
    finisher = Finisher(waiter)
    with anyio.fail_after(PATIENCE_S):
        await waiter.wait()

    assert waiter.is_over
    finisher.join()


@pytest.mark.anyio
async def test_others_go_on_meanwhile() -> None:
    waiters = [Waiter(some_lookup()) for _ in range(20)]
    ended: list[int] = []

    async def request(number: int) -> None:
        await waiters[number].wait()
        ended.append(number)

    with anyio.fail_after(PATIENCE_S):
        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(request, number)
            await anyio.wait_all_tasks_blocked()
            for number in reversed(range(20)):
                await anyio.to_thread.run_sync(waiters[number].finish)
                while number not in ended:
                    await anyio.sleep(0)

    assert ended == list(reversed(range(20)))


@pytest.mark.anyio
async def test_who_is_cancelled_while_waiting_is_cancelled() -> None:
    waiter = Waiter(some_lookup())
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(waiter.wait)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()

    assert scope.cancelled_caught
    assert not waiter.is_over
    # The driver knows nothing of it.
    waiter.finish()
    await anyio.to_thread.run_sync(waiter.finish)
    await anyio.wait_all_tasks_blocked()
    assert waiter.is_over


@pytest.mark.anyio
async def test_a_driver_that_died_holds_nobody_up_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(waiting, "BOUND_S", 0.01)
    waiter = Waiter(some_lookup())
    with anyio.fail_after(PATIENCE_S):
        await waiter.wait()

    assert not waiter.is_over
    waiter.finish()


@pytest.mark.parametrize("new_loop", LOOPS)
def test_a_loop_that_was_closed_needs_not_be_told(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    waiter = Waiter(some_lookup())
    loop = new_loop()
    task = loop.create_task(waiter.wait())
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.run_until_complete(asyncio.sleep(0))
    assert is_entered(waiter)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()
    thread = threading.Thread(target=waiter.finish)
    thread.start()
    thread.join(PATIENCE_S)

    assert waiter.is_over


def test_a_run_of_trio_that_has_ended_needs_not_be_told() -> None:
    waiter = Waiter(some_lookup())

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waiter.wait)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()

    trio.run(main)
    assert is_entered(waiter)
    waiter.finish()

    assert waiter.is_over


# In a thread.


def test_a_thread_waits_until_another_one_says_so() -> None:
    waiter = Waiter(some_lookup())
    finisher = Finisher(waiter)
    waiter.wait_blocking()

    assert waiter.is_over
    finisher.join()


@pytest.mark.parametrize("is_done", [True, False])
def test_a_thread_does_not_wait_for_what_is_over(is_done: bool) -> None:
    waiter = Waiter(some_lookup(is_done=is_done))
    waiter.finish()
    waiter.wait_blocking()
    waiter.wait_blocking()

    assert not is_entered(waiter)


def test_no_thread_is_held_up_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "BOUND_S", 0.01)
    waiter = Waiter(some_lookup())
    waiter.wait_blocking()

    assert not waiter.is_over
    waiter.finish()


def test_many_threads_and_one_driver() -> None:
    waiters = [Waiter(some_lookup()) for _ in range(50)]
    threads = [threading.Thread(target=waiter.wait_blocking, daemon=True) for waiter in waiters]
    for thread in threads:
        thread.start()
    # As it comes: some of them wait already, some do not yet.
    for waiter in waiters:
        waiter.finish()
    for thread in threads:
        thread.join(PATIENCE_S)

    assert not any(thread.is_alive() for thread in threads)


# Where one may wait.


@pytest.mark.anyio
async def test_a_thread_with_a_loop_is_told_from_one_without() -> None:
    assert is_loop_here()
    assert not await anyio.to_thread.run_sync(is_loop_here)


def test_a_plain_thread_has_no_loop() -> None:
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(is_loop_here()))
    thread.start()
    thread.join(PATIENCE_S)

    assert (found, is_loop_here()) == ([False], False)


@pytest.mark.parametrize("new_loop", LOOPS)
def test_a_loop_that_does_not_run_holds_nobody_up(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    loop = new_loop()
    asyncio.set_event_loop(loop)
    try:
        assert not is_loop_here()
    finally:
        asyncio.set_event_loop(None)
        loop.close()
