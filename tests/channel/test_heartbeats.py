"""Heartbeats: signed out, verified in, and sockets made anew when the network changed."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop

from replsession.channel import heartbeats as heartbeats_module
from replsession.channel.heartbeats import Heartbeats
from replsession.channel.multicast import InterfaceGone, open_sockets
from replsession.metrics import Metrics
from replsession.security.keys import ClusterKeys
from tests.channel.running import HOST, NAME, PATIENCE_S, SECRET, some_group

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    def run_it(work: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(asyncio.wait_for(work, PATIENCE_S))

    return run_it


class Side:
    """One member's heartbeats, and what it heard."""

    def __init__(self, group: tuple[str, int], secret: str = SECRET) -> None:
        self.metrics = Metrics()
        self.heard: list[tuple[bytes, str]] = []
        self.heartbeats = Heartbeats(
            asyncio.get_running_loop(),
            ClusterKeys(secret, NAME),
            group,
            HOST,
            lambda payload, source: self.heard.append((payload, source)),
            self.metrics,
        )


@asynccontextmanager
async def sides(*secrets: str) -> AsyncIterator[list[Side]]:
    group = some_group()
    opened = [Side(group, secret) for secret in secrets]
    for side in opened:
        side.heartbeats.open()
    try:
        yield opened
    finally:
        for side in opened:
            side.heartbeats.close()


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def test_who_has_the_secret_is_heard(run: Run) -> None:
    async def work() -> None:
        async with sides(SECRET, SECRET) as (left, right):
            left.heartbeats.send(b"hello")
            await until(lambda: left.heard and right.heard)
            assert left.heard == right.heard == [(b"hello", HOST)]

    run(work())


def test_a_stranger_is_counted_and_never_read(run: Run) -> None:
    async def work() -> None:
        async with sides(SECRET, SECRET[::-1]) as (left, stranger):
            for _ in range(3):
                stranger.heartbeats.send(b"hello")
            await until(lambda: left.metrics.datagrams_refused == 3)
            assert left.heard == []

    run(work())


def test_after_closing_nothing_is_heard_and_the_loop_is_left_alone(run: Run) -> None:
    async def work() -> None:
        async with sides(SECRET, SECRET) as (left, right):
            right.heartbeats.close()
            right.heartbeats.close()
            left.heartbeats.send(b"hello")
            await until(lambda: left.heard)
            assert right.heard == []

    run(work())


def test_another_address_gets_new_sockets_for_it(run: Run) -> None:
    async def work() -> None:
        async with sides(SECRET, SECRET) as (left, right):
            right.heartbeats.move("127.0.0.9")
            right.heartbeats.send(b"hello")
            await until(lambda: left.heard)
            assert left.heard == [(b"hello", "127.0.0.9")]

    run(work())


def test_an_interface_that_vanished_gets_new_sockets(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "replsession")
    sendings: list[socket.socket] = []
    gone = InterfaceGone(errno.ENODEV, "this host does not have the interface (any more)")

    def send(sock: socket.socket, payload: bytes, group: str, port: int) -> OSError | None:
        sendings.append(sock)
        if sendings[0] is sock:
            return gone
        sock.sendto(payload, (group, port))
        return None

    async def work() -> None:
        async with sides(SECRET, SECRET) as (left, right):
            monkeypatch.setattr(heartbeats_module, "send", send)
            left.heartbeats.send(b"lost")
            assert sendings[0].fileno() == -1
            left.heartbeats.send(b"hello")
            await until(lambda: right.heard and left.heard)
            assert left.heard == right.heard == [(b"hello", HOST)]

    run(work())

    assert caplog.messages == [
        f"Multicasting is not functional: {gone}. Trying again.",
        "Membership recovery was successful.",
    ]


def test_while_there_is_no_interface_it_says_so_once(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "replsession")
    missing = 3

    def opened(*arguments: Any) -> tuple[socket.socket, socket.socket]:
        nonlocal missing
        missing -= 1
        if missing >= 0:
            raise InterfaceGone(errno.ENODEV, "no such interface")
        return open_sockets(*arguments)

    async def work() -> None:
        async with sides(SECRET) as (left,):
            left.heartbeats.close()
            monkeypatch.setattr(heartbeats_module, "open_sockets", opened)
            for _ in range(4):
                left.heartbeats.send(b"hello")
            await until(lambda: left.heard)
            assert left.heard == [(b"hello", HOST)]

    run(work())

    assert caplog.messages == [
        "Multicasting is not functional: [Errno 19] no such interface. Trying again.",
        "Recovery attempt number 1 failed ([Errno 19] no such interface). "
        "Trying again with the next heartbeat.",
        "Membership recovery was successful.",
    ]


def test_what_passes_is_told_once_and_keeps_the_sockets(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    used: list[socket.socket] = []
    down = OSError(errno.ENETUNREACH, "Network is unreachable")

    def send(sock: socket.socket, *_: object) -> OSError:
        used.append(sock)
        return down

    async def work() -> None:
        async with sides(SECRET) as (left,):
            with monkeypatch.context() as patched:
                patched.setattr(heartbeats_module, "send", send)
                for _ in range(5):
                    left.heartbeats.send(b"hello")
            assert len(used) == 5 and all(sock is used[0] for sock in used)
            left.heartbeats.send(b"hello")
            await until(lambda: left.heard)

    run(work())

    assert caplog.messages == [f"Multicasting is not functional: {down}. Trying again."]


def test_a_reading_that_fails_gets_new_sockets(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def drain(_: socket.socket) -> list[Any]:
        raise InterfaceGone(errno.ENODEV, "no such interface")

    async def work() -> None:
        async with sides(SECRET) as (left,):
            with monkeypatch.context() as patched:
                patched.setattr(heartbeats_module, "drain", drain)
                left.heartbeats.send(b"one")
                await until(lambda: caplog.messages)
            left.heartbeats.send(b"two")
            await until(lambda: left.heard)
            assert left.heard == [(b"two", HOST)]

    run(work())


def test_a_group_that_cannot_be_joined_is_an_error_and_a_hint(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def opened(*_: object) -> None:
        raise OSError(errno.ENODEV, "no such interface")

    async def work() -> None:
        monkeypatch.setattr(heartbeats_module, "open_sockets", opened)
        side = Side(some_group())
        for _ in range(3):
            with pytest.raises(OSError, match="no such interface"):
                side.heartbeats.join(is_needed=True)

    run(work())

    assert caplog.record_tuples == [
        (
            "replsession.membership",
            logging.ERROR,
            "Unable to join multicast group, make sure your system has multicasting enabled.",
        )
    ]


def test_where_there_are_seeds_the_group_may_be_joined_later(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "replsession")
    really, refusals = open_sockets, [OSError(errno.ENODEV, "no such interface")] * 2

    def opened(*where: Any) -> tuple[socket.socket, socket.socket]:
        if refusals:
            raise refusals.pop()
        return really(*where)

    async def work() -> None:
        monkeypatch.setattr(heartbeats_module, "open_sockets", opened)
        side = Side(some_group())
        side.heartbeats.join(is_needed=False)
        side.heartbeats.send(b"hello")
        assert side.heard == []
        side.heartbeats.send(b"hello")
        await until(lambda: side.heard)
        side.heartbeats.close()

    run(work())

    why = "[Errno 19] no such interface"
    assert caplog.messages == [
        "Unable to join multicast group, make sure your system has multicasting enabled.",
        f"Multicasting is not functional: {why}. Trying again.",
        f"Recovery attempt number 1 failed ({why}). Trying again with the next heartbeat.",
        "Membership recovery was successful.",
    ]


def test_a_flood_of_bad_datagrams_is_one_line_of_each_kind(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "replsession")
    group, floods = some_group(), 200
    stranger = ClusterKeys(SECRET, "another")
    forged = bytearray(ClusterKeys(SECRET, NAME).seal(b"hello"))
    forged[-1] ^= 1

    async def work() -> None:
        side = Side(group)
        side.heartbeats.open()
        sender = open_sockets(*group, HOST)
        try:
            for number in range(floods):
                for datagram in (
                    b"TRIBES-B%d" % number,
                    stranger.seal(b"hello"),
                    bytes(forged),
                    # What the doctor sends while it looks around.
                    b"rplD%d" % number,
                ):
                    sender[1].sendto(datagram, group)
                # So that none is lost for want of room.
                wanted = 4 * number + 4
                await until(lambda: side.metrics.datagrams_refused == wanted)  # noqa: B023
        finally:
            side.heartbeats.close()
            for sock in sender:
                sock.close()
        assert side.heard == []
        assert side.metrics.log_lines_suppressed == 2 * (floods - 1)

    run(work())

    told = [record.getMessage() for record in caplog.records if record.levelno > logging.DEBUG]
    assert sorted(told) == [
        f"Discarded the package from {HOST}, invalid header. Something else uses this group",
        f"Failed to verify a heartbeat from {HOST}: it was not signed with our secret",
        f"Heartbeats from {HOST} are of another cluster, or of this one with another secret",
    ]
