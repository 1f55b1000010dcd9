"""The door: bounds before the handshake. And what a link makes of its transport."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest
import uvloop

from replsession.channel import links
from replsession.channel.addresses import listen
from replsession.channel.aio import Network
from replsession.channel.links import (
    HANDSHAKES_MAX,
    HANDSHAKES_OF_SOURCE_MAX,
    Accepting,
    Link,
)
from replsession.identity import Address
from replsession.metrics import Metrics
from tests.channel.running import HOST, PATIENCE_S

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    def run_it(work: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(asyncio.wait_for(work, PATIENCE_S))

    return run_it


class Door:
    """An accept loop whose handshakes end when the test says so."""

    def __init__(self) -> None:
        self.receiver = listen(HOST, 0, 1, 128)
        self.address: tuple[str, int] = self.receiver.getsockname()
        self.metrics = Metrics()
        self.admitted: list[Address] = []
        self.connections: list[socket.socket] = []
        self.end: Exception | None = None
        self.may_end = asyncio.Event()
        self.accepting = Accepting(self.receiver, asyncio.get_running_loop(), self.metrics)
        self.task = asyncio.get_running_loop().create_task(self.accepting.run(self.admit))

    async def admit(self, connection: socket.socket, source: Address) -> None:
        self.admitted.append(source)
        self.connections.append(connection)
        await self.may_end.wait()
        if self.end is not None:
            raise self.end
        connection.close()

    async def close(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.accepting.close()
        for connection in self.connections:
            connection.close()


async def knock(address: tuple[str, int], source: str = HOST) -> socket.socket:
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    sock.setblocking(False)
    sock.bind((source, 0))
    await loop.sock_connect(sock, address)
    return sock


async def is_closed(sock: socket.socket) -> bool:
    """Wait a few turns for the other end to close a connection."""
    try:
        data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 1), 0.2)
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True
    return data == b""


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def test_one_source_gets_only_so_many_handshakes(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "replsession")

    async def work() -> None:
        door = Door()
        visitors = [await knock(door.address) for _ in range(HANDSHAKES_OF_SOURCE_MAX + 4)]
        await until(lambda: door.metrics.links_refused == 4)

        assert len(door.admitted) == HANDSHAKES_OF_SOURCE_MAX
        assert [await is_closed(sock) for sock in visitors[-4:]] == [True] * 4
        assert caplog.text.count("too many in their handshake") == 4
        other = await knock(door.address, "127.0.0.2")
        await until(lambda: len(door.admitted) == HANDSHAKES_OF_SOURCE_MAX + 1)
        assert door.admitted[-1] == Address(*other.getsockname())
        door.may_end.set()
        late = await knock(door.address)
        await until(lambda: Address(*late.getsockname()) in door.admitted)

        await door.close()
        for sock in (*visitors, other, late):
            sock.close()

    run(work())


def test_all_sources_together_get_only_so_many(run: Run) -> None:
    async def work() -> None:
        door = Door()
        sources = [f"127.0.0.{number}" for number in range(2, 6)]
        visitors = [
            await knock(door.address, source)
            for source in sources
            for _ in range(HANDSHAKES_OF_SOURCE_MAX)
        ]
        await until(lambda: len(door.admitted) + door.metrics.links_refused == len(visitors))

        assert len(door.admitted) == HANDSHAKES_MAX
        await door.close()
        for sock in visitors:
            sock.close()

    run(work())


NO_CERTIFICATE = ssl.SSLError(1, "peer did not return a certificate")
NO_CERTIFICATE.reason = "PEER_DID_NOT_RETURN_A_CERTIFICATE"


@pytest.mark.parametrize(
    ("error", "level", "line"),
    [
        (NO_CERTIFICATE, logging.DEBUG, "Connection from {} is no member's: {}"),
        (ConnectionResetError("reset"), logging.WARNING, "Handshake with {} failed: {}"),
        (
            ConnectionAbortedError("SSL handshake is taking longer than 5.0 seconds"),
            logging.WARNING,
            "Handshake with {} failed: {}",
        ),
        (ssl.SSLError(1, "wrong version"), logging.WARNING, "Handshake with {} failed: {}"),
    ],
)
def test_a_handshake_that_fails_is_counted_and_told(
    run: Run, caplog: pytest.LogCaptureFixture, error: Exception, level: int, line: str
) -> None:
    caplog.set_level(logging.DEBUG, "replsession")

    async def work() -> None:
        door = Door()
        door.end = error
        door.may_end.set()
        visitor = await knock(door.address)
        assert await is_closed(visitor)
        source = Address(*visitor.getsockname())
        assert door.metrics.links_refused == 1
        assert line.format(source, error) in caplog.messages
        assert {record.levelno for record in caplog.records} == {level}
        for _ in range(HANDSHAKES_OF_SOURCE_MAX + 1):
            again = await knock(door.address)
            assert await is_closed(again)
            again.close()
        assert len(door.admitted) == HANDSHAKES_OF_SOURCE_MAX + 2, "none of them counts any more"
        await door.close()
        visitor.close()

    run(work())


def test_closing_ends_handshakes_and_frees_the_port(run: Run) -> None:
    async def work() -> None:
        door = Door()
        visitor = await knock(door.address)
        await until(lambda: door.admitted)
        await door.close()

        with listen(*door.address, 1, 1):
            pass
        visitor.close()

    run(work())


def test_a_system_that_cannot_accept_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(links, "ACCEPT_PAUSE_S", 0.01)

    class Exhausted:
        """A loop without file descriptors, three times."""

        def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
            self.loop = loop
            self.failures = 3

        async def sock_accept(self, sock: socket.socket) -> tuple[socket.socket, Any]:
            if self.failures:
                self.failures -= 1
                raise OSError(24, "Too many open files")
            return await self.loop.sock_accept(sock)

        def create_task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
            return self.loop.create_task(work)

    async def work() -> None:
        loop = asyncio.get_running_loop()
        door = Door()
        door.task.cancel()
        await asyncio.gather(door.task, return_exceptions=True)
        exhausted = cast(asyncio.AbstractEventLoop, Exhausted(loop))
        door.accepting = Accepting(door.receiver, exhausted, door.metrics)
        door.task = loop.create_task(door.accepting.run(door.admit))
        visitor = await knock(door.address)
        await until(lambda: door.admitted)
        await door.close()
        visitor.close()

    asyncio.run(asyncio.wait_for(work(), PATIENCE_S))

    told = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [record.getMessage() for record in told] == [
        "Receiver cannot accept: [Errno 24] Too many open files"
    ]


class FakeNetwork:
    """Takes down what a link tells."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def link_opened(self, link: Link) -> None:
        self.told.append(("opened", link.number))

    def bytes_received(self, link: Link, data: bytes) -> None:
        self.told.append(("bytes", link.number, data))

    def link_closed(self, link: Link, reason: str) -> None:
        self.told.append(("closed", link.number, reason))


class FakeTransport(asyncio.Transport):
    """A transport that is never closed by itself."""

    def __init__(self) -> None:
        super().__init__({"ssl_object": self})
        self.done: list[object] = []

    def getpeercert(self, binary_form: bool) -> None:
        """Return no certificate, as for a peer that showed none."""

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self.done.append(bytes(data))

    def is_closing(self) -> bool:
        return "close" in self.done

    def close(self) -> None:
        self.done.append("close")

    def abort(self) -> None:
        self.done.append("abort")


def some_link() -> tuple[Link, FakeNetwork]:
    network = FakeNetwork()
    return Link(7, None, Address(HOST, 4001), cast(Network, network)), network


def test_a_link_without_a_member_in_its_certificate_is_closed_unread(
    caplog: pytest.LogCaptureFixture,
) -> None:
    link, network = some_link()
    transport = FakeTransport()

    link.connection_made(transport)
    link.connection_lost(None)

    assert transport.done == ["abort"]
    assert network.told == [("closed", 7, "connection closed")]
    assert caplog.messages == [f"Link with {HOST}:4001 has no member in its certificate: closed"]


@pytest.mark.parametrize(
    ("ours", "error", "reason"),
    [
        (None, None, "connection closed"),
        (None, ConnectionResetError("Connection reset by peer"), "Connection reset by peer"),
        ("silent for 3.0 s", None, "silent for 3.0 s"),
        ("silent for 3.0 s", ConnectionResetError("x"), "silent for 3.0 s"),
    ],
)
def test_why_a_link_closed(ours: str | None, error: Exception | None, reason: str) -> None:
    link, network = some_link()
    if ours is not None:
        link.close(ours)

    link.connection_lost(error)

    assert network.told == [("closed", 7, reason)]


def test_a_link_that_closes_writes_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "member_of_peer", lambda ssl_object: bytes(8))
    link, network = some_link()
    transport = FakeTransport()
    link.connection_made(transport)
    link.write(b"one")
    link.data_received(b"heard")

    link.close("enough")
    link.write(b"two")
    link.abort()

    assert transport.done == [b"one", "close", "abort"]
    assert network.told == [("opened", 7), ("bytes", 7, b"heard")]
