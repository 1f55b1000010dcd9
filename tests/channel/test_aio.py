"""The driver: what it says on the network, and what it makes of what comes from there."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial

import pytest

from replsession.channel import aio
from replsession.channel.aio import Network
from replsession.channel.channel import Channel
from replsession.channel.dispatch import Dispatcher
from replsession.channel.member import LocalMember
from replsession.channel.multicast import open_sockets
from replsession.channel.tls import LinkSecurity
from replsession.channel.waiting import Waiter
from replsession.config import ClusterSettings
from replsession.identity import Address
from replsession.membership.membership import Dial
from replsession.messages import Goodbye, Heartbeat, Hello
from replsession.session.stamp import NOTHING_SEEN
from replsession.wire.encoding import encode, encode_heartbeat
from tests.channel.running import (
    HOST,
    NAME,
    PATIENCE_S,
    QUICK,
    SECRET,
    STILL,
    Home,
    Host,
    free_port,
    has_one_link,
    keys_of,
    names_of_others,
    read,
    some_identity,
    some_settings,
    taken,
    until,
    write,
)

STRANGER = bytes.fromhex("57a4637e57a4637e")


def network_of(settings: ClusterSettings) -> Network:
    """Make a network on the running loop, as a channel does."""
    return Network(LocalMember(settings, None), settings, keys_of(settings), Dispatcher(), {})


def driver_of(channel: Channel) -> Network:
    network = channel._network
    assert network is not None
    return network


def test_the_log_of_a_start_has_every_stage(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "replsession")
    settings = some_settings(replace(STILL, heartbeat_interval_s=0.5, drop_after_s=3))
    channel = host.channel(settings)
    channel.register("/examples", None)
    assert settings.multicast is not None
    group, port = settings.multicast

    host.start(channel)

    assert caplog.messages[:5] == [
        "Cluster is about to start",
        f"Receiver server socket bound to /{HOST}:{settings.port}",
        f"Membership on multicast {group}:{port}, heartbeat every 500 ms, drop after 3000 ms",
        "Sleeping for up to 1000 milliseconds to establish cluster membership",
        f"Register manager /examples to cluster with name {socket.gethostname()}-{settings.port}",
    ]
    assert {record.levelname for record in caplog.records} == {"INFO"}


def test_the_sleep_ends_as_soon_as_membership_is_known(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "replsession")
    timing = replace(STILL, heartbeat_interval_s=0.05, discovery_s=1000, transfer_timeout_s=2000)
    settings = some_settings()
    first = host.started(settings)
    write(first, a=b"\x01", birth=True)

    second = host.started(replace(settings, node=replace(settings.node, timing=timing)))

    assert read(second) == {"a": b"\x01"}


@pytest.mark.parametrize("obstacle", ["port", "address", "group"])
def test_a_start_that_fails_leaves_nothing_open(
    obstacle: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = some_settings(auto_bind=1)
    if obstacle == "address":
        settings = replace(settings, bind="203.0.113.7")
    if obstacle == "group":
        assert settings.multicast is not None
        settings = replace(settings, multicast=(settings.multicast[0], settings.port))

    async def start() -> None:
        await network_of(settings).start()

    with taken(settings.port), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as squatter:
        if obstacle == "group":
            # Without SO_REUSEADDR it does not share the port.
            squatter.bind(("", settings.port))
            settings = replace(settings, port=free_port())
        with pytest.raises(OSError, match=r"taken|does not have the address|in use"):
            asyncio.run(start())

    if obstacle != "address":
        # A receiver that was left open would have the port still.
        with taken(settings.port):
            pass


def test_without_multicast_nothing_is_sent_to_a_group(host: Host) -> None:
    channel = host.channel(some_settings(STILL, multicast=None))

    host.start(channel)

    assert channel.state == "state transfer"
    assert write(channel, a=b"\x01", birth=True)


class Ear:
    """Hears all datagrams to a group, and says things to it."""

    def __init__(self, settings: ClusterSettings) -> None:
        assert settings.multicast is not None
        self._group = settings.multicast
        self._receiving, self._sending = open_sockets(*settings.multicast, HOST)
        self.own_port: int = self._sending.getsockname()[1]

    def say(self, datagram: bytes) -> None:
        self._sending.sendto(datagram, self._group)

    def heard(self) -> list[bytes]:
        """Return what others said since the last time."""
        datagrams: list[bytes] = []
        while True:
            try:
                datagram, (_, port) = self._receiving.recvfrom(65536)
            except BlockingIOError:
                return datagrams
            if port != self.own_port:
                datagrams.append(datagram)

    def close(self) -> None:
        self._receiving.close()
        self._sending.close()


@pytest.fixture
def ear(request: pytest.FixtureRequest) -> Iterator[Ear]:
    ear = Ear(request.getfixturevalue("still"))
    yield ear
    ear.close()


@pytest.fixture
def still() -> ClusterSettings:
    return some_settings(STILL)


def counted_more_than(channel: Channel, before: int) -> bool:
    return channel.metrics.datagrams_refused > before


def test_no_datagram_is_ever_answered(loop_host: Host, still: ClusterSettings, ear: Ear) -> None:
    channel = loop_host.channel(still)
    loop_host.start(channel)
    keys = keys_of(still)
    until(ear.heard, "the one heartbeat of the start")
    nobody = Address(HOST, free_port())
    genuine = keys.seal(encode_heartbeat(Heartbeat(STRANGER, nobody)))
    foreign = keys_of(replace(still, name="other")).seal(
        encode_heartbeat(Heartbeat(STRANGER, nobody))
    )
    elsewhere = keys.seal(encode_heartbeat(Heartbeat(STRANGER, Address("192.0.2.9", 4000))))
    refused = (
        b"",
        b"x",
        genuine[:-1],
        genuine + b"\0",
        foreign,
        elsewhere,
        keys.seal(b"\xff"),
        bytes(65_000),
    )

    for datagram in 5 * refused:
        before = channel.metrics.datagrams_refused
        ear.say(datagram)
        until(partial(counted_more_than, channel, before), "it is counted")
    for _ in range(10):
        ear.say(genuine)
    membership = channel.member.node.membership
    until(lambda: STRANGER in membership.candidates, "the hint is taken")
    until(lambda: membership.candidates[STRANGER].failures, "and the address was dialled")

    assert ear.heard() == []
    assert list(membership.candidates) == [STRANGER]
    assert not names_of_others(channel)


def test_a_flood_of_datagrams_leaves_the_loop_to_others(
    loop_host: Host, still: ClusterSettings, ear: Ear
) -> None:
    channel = loop_host.channel(still)
    loop_host.start(channel)
    home = loop_host.home(channel)
    assert home is not None
    is_over = threading.Event()

    def flood() -> None:
        while not is_over.is_set():
            ear.say(b"rplH" + bytes(100))

    async def turns() -> int:
        for number in range(1, 201):
            await asyncio.sleep(0)
            if channel.metrics.datagrams_refused > 1000:
                return number
        return number

    flooding = threading.Thread(target=flood, daemon=True)
    flooding.start()
    try:
        until(lambda: channel.metrics.datagrams_refused > 100, "the flood has come")
        assert home.run(turns()) > 1
        assert write(channel, a=b"\x01", birth=True)
    finally:
        is_over.set()
        flooding.join(PATIENCE_S)


def reasons_of(
    host: Host, monkeypatch: pytest.MonkeyPatch, settings: ClusterSettings, *addresses: Address
) -> list[str]:
    """Have a member dial, and return what it took down of each attempt."""
    channel = host.channel(settings)
    host.start(channel)
    network = driver_of(channel)
    reasons: list[str] = []

    def dial_failed(dial: int, reason: str, now: float, *, refused: bool) -> None:
        assert refused == (reason == "connection refused")
        reasons.append(reason)

    monkeypatch.setattr(channel.member.node, "dial_failed", dial_failed)
    for address in addresses:
        host_home = host.home(channel)
        assert host_home is not None
        host_home.run(network._dial(Dial(1, address)))
    return reasons


def test_a_dial_that_fails_says_why(loop_host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aio, "DIAL_TIMEOUT_S", 0.2)
    port, silent = free_port(), free_port()
    with taken(silent):
        reasons = reasons_of(
            loop_host,
            monkeypatch,
            some_settings(STILL),
            Address(HOST, port),
            Address(HOST, silent),
            Address("." * 100, 4000),
            Address("x" * 100, 4000),
        )

    assert reasons[:2] == ["connection refused", "no answer"]
    assert len(reasons) == 4 and all(reasons)


def test_dialling_a_stranger_says_that_tls_refused(
    loop_host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = some_settings(STILL)
    stranger = loop_host.channel(some_settings(STILL, secret=SECRET[::-1]))
    loop_host.start(stranger)

    (reason,) = reasons_of(loop_host, monkeypatch, settings, stranger.member.node.me.address)

    assert reason.startswith("TLS refused: ")
    until(lambda: stranger.metrics.links_refused == 1, "the stranger counted it")


def test_what_waits_arrives_before_the_goodbye(host: Host) -> None:
    settings = some_settings(STILL)
    first, second = host.channel(settings), host.channel(settings)
    host.start(first)
    host.start(second)
    until(lambda: has_one_link(first) and has_one_link(second), "both see each other")
    home = host.home(first)
    sessions = range(1, 201)

    async def write_and_stop() -> None:
        for number in sessions:
            write(first, number, a=b"\x01", birth=True)
        await first.stop()

    if home is None:
        for number in sessions:
            write(first, number, a=b"\x01", birth=True)
        first.stop_thread()
    else:
        home.run(write_and_stop())

    until(lambda: not names_of_others(second), "the first is gone")
    assert [number for number in sessions if read(second, number) is None] == []


def waiting_on(channel: Channel) -> Waiter:
    """Let a request wait for a member that has no state, and will not have any soon."""
    waiter = channel.open(some_identity(), NOTHING_SEEN)
    assert isinstance(waiter, Waiter) and not waiter.is_over
    return waiter


def test_who_waits_goes_on_when_the_member_stops(host: Host) -> None:
    channel = host.channel(some_settings(replace(STILL, discovery_s=1000, join_wait_s=1000)))
    host.start(channel)
    waiter = waiting_on(channel)
    host.stop(channel)

    assert waiter.is_over
    assert not waiter.lookup.is_done


def test_who_waits_goes_on_when_the_loop_ends_without_a_word(loop_host: Host) -> None:
    channel = loop_host.channel(some_settings(replace(STILL, discovery_s=1000, join_wait_s=1000)))
    loop_host.start(channel)
    waiter = waiting_on(channel)
    home = loop_host.home(channel)
    assert home is not None
    home.close()

    assert waiter.is_over


def test_who_waits_goes_on_when_it_is_known_that_there_is_nobody(thread_host: Host) -> None:
    channel = thread_host.channel(some_settings(replace(QUICK, discovery_s=1, join_wait_s=1000)))
    thread_host.start(channel)
    waiter = waiting_on(channel)
    waiter.wait_blocking()

    assert waiter.is_over and waiter.lookup.is_certain
    assert channel.is_ready
    assert channel.opened_at_last(some_identity(), waiter.lookup) is None


def test_a_goodbye_arrives_although_the_other_end_writes(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "replsession")
    settings = some_settings()
    first = host.started(settings)
    second = host.channel(settings)
    is_over = threading.Event()

    def keep_writing() -> None:
        number = 0
        while not is_over.is_set():
            number += 1
            write(first, number, a=b"\x01", birth=True)
            time.sleep(0.0005)

    writing = threading.Thread(target=keep_writing, daemon=True)
    writing.start()
    rounds = 4
    try:
        for _ in range(rounds):
            host.start(second)
            until(lambda: has_one_link(first) and has_one_link(second), "one link is left")
            host.stop(second)
            until(lambda: not names_of_others(first), "the second is gone")
    finally:
        is_over.set()
        writing.join(PATIENCE_S)

    gone = [line for line in caplog.messages if line.startswith("Received member disappeared")]
    of_first = [line for line in gone if f"name={first.member.node.me.name} " not in line]
    assert [re.findall(r" \(([^)]*)\)$", line) for line in of_first] == [["said goodbye"]] * rounds


def test_two_that_stop_together_do_not_wait_for_each_other(
    loop_host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aio, "LINGER_S", 1000.0)
    settings = some_settings()
    first, second = loop_host.started(settings), loop_host.started(settings)
    until(lambda: has_one_link(first) and has_one_link(second), "both see each other")
    homes = [loop_host.home(channel) for channel in (first, second)]

    stops = [
        asyncio.run_coroutine_threadsafe(channel.stop(), home.loop)
        for channel, home in zip((first, second), homes, strict=True)
        if home is not None
    ]

    for stop in stops:
        stop.result(PATIENCE_S)
    assert (first.state, second.state) == ("stopped", "stopped")


def test_an_input_after_the_loop_closed_goes_nowhere() -> None:
    async def start() -> Network:
        network = network_of(settings)
        await network.start()
        return network

    settings = some_settings(STILL)
    network = asyncio.run(start())

    assert network.is_abandoned
    network.wake()
    network.abandon()
    with taken(settings.port):
        pass


def test_a_loop_that_was_only_closed_gives_its_sockets_back_when_asked() -> None:
    settings = some_settings(STILL)
    loop = asyncio.new_event_loop()
    problems: list[object] = []
    loop.set_exception_handler(lambda _, context: problems.append(context["message"]))
    network = loop.run_until_complete(_started(settings))
    loop.close()
    assert not network.is_abandoned

    network.member.wake()
    network.abandon()

    with taken(settings.port):
        pass


async def _started(settings: ClusterSettings) -> Network:
    network = network_of(settings)
    await network.start()
    return network


def test_strangers_of_another_name_do_not_meet(host: Host) -> None:
    settings = some_settings()
    first = host.started(settings)
    second = host.started(replace(settings, name=NAME + "-staging"))

    until(lambda: first.metrics.datagrams_refused > 2, "they hear each other")
    until(lambda: second.metrics.datagrams_refused > 2, "both ways")

    assert (names_of_others(first), names_of_others(second)) == ([], [])
    assert first.is_ready and second.is_ready


def test_homes_see_no_problem() -> None:
    home = Home(asyncio.new_event_loop)
    home.loop.call_soon_threadsafe(lambda: 1 / 0)
    until(lambda: home.problems, "the problem is seen")
    home.close()


def test_who_leaves_lets_the_other_end_close(
    loop_host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aio, "LINGER_S", 1000.0)
    settings = some_settings(STILL)
    channel = loop_host.channel(settings)
    loop_host.start(channel)
    home = loop_host.home(channel)
    assert home is not None
    security = LinkSecurity(keys_of(settings), settings.name, STRANGER)
    link = security.client_context.wrap_socket(
        socket.create_connection(channel.member.node.me.address, PATIENCE_S),
        server_hostname=security.server_hostname,
    )
    with closing(link):
        hello = Hello(STRANGER, "stranger", 1, Address(HOST, 1), ready=True, alive_ms=1)
        link.sendall(encode(hello))
        until(lambda: names_of_others(channel), "the stranger is up")

        stopping = asyncio.run_coroutine_threadsafe(channel.stop(), home.loop)

        heard = b""
        goodbye = encode(Goodbye())
        while not heard.endswith(goodbye):
            data = link.recv(65536)
            assert data, "closed without a goodbye"
            heard += data
        # If it closed the link now, what we still write would break it before we had read this.
        link.settimeout(0.3)
        with pytest.raises(TimeoutError):
            link.recv(1)
        assert not stopping.done()
    stopping.result(PATIENCE_S)
    assert channel.state == "stopped"


def test_a_seed_is_enough_without_multicast(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "replsession")
    settings = some_settings(multicast=None)
    first = host.started(settings)
    write(first, a=b"\x01", birth=True)
    at_first = f"localhost:{first.member.node.me.address.port}"
    second = host.started(replace(settings, seeds=(at_first,)))
    assert read(second) == {"a": b"\x01"}

    # It knows the second one only; the first it hears of.
    third = host.started(replace(settings, seeds=(str(second.member.node.me.address),)))
    until(lambda: len(names_of_others(third)) == 2, "the third sees both")
    until(lambda: len(names_of_others(first)) == 2, "the first sees both")
    write(third, b=b"\x02")
    until(lambda: read(first) == read(second) == {"a": b"\x01", "b": b"\x02"}, "a write")
    assert f"Membership on seeds {at_first}" in caplog.messages
    assert f"Members may be at {at_first}: {first.member.node.me.address}" in caplog.messages


def test_a_seed_is_looked_for_until_it_is_there(host: Host) -> None:
    port = free_port()
    settings = some_settings(multicast=None, seeds=(f"{HOST}:{port}",))
    alone = host.started(settings)
    write(alone, a=b"\x01", birth=True)

    late = host.started(replace(settings, port=port, seeds=()))
    until(lambda: names_of_others(alone) and names_of_others(late), "they see each other")
    until(lambda: read(late) == {"a": b"\x01"}, "the session")


def test_one_s_own_address_among_the_seeds_is_no_trouble(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "replsession")
    ports = free_port(), free_port()
    seeds = (f"{HOST}:{ports[0]}", f"{HOST}:{ports[1]}", f"localhost:{ports[0]}")
    first = host.started(some_settings(multicast=None, port=ports[0], seeds=seeds))
    settings = replace(some_settings(), multicast=None, port=ports[1], seeds=seeds)
    second = host.started(settings)
    until(lambda: has_one_link(first) and has_one_link(second), "one link")

    assert first.metrics.links_refused == second.metrics.links_refused == 0
    assert [line for line in caplog.messages if "own receiver" in line] == []


def test_a_member_whose_host_gets_another_address_moves_there(
    loop_host: Host, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "replsession")
    settings = some_settings()
    first, second = loop_host.started(settings), loop_host.started(settings)
    until(lambda: has_one_link(first) and has_one_link(second), "they see each other")
    write(first, a=b"\x01", birth=True)
    before = second.member.node.me
    port = before.address.port
    # Binding to the old address works still, so the member is told that it is gone.
    monkeypatch.setattr(driver_of(second)._place, "host", "203.0.113.7")

    until(lambda: "This host has another address" in caplog.text, "it moves")
    until(lambda: has_one_link(first) and has_one_link(second), "they see each other again")
    write(second, b=b"\x02")
    until(lambda: read(first) == {"a": b"\x01", "b": b"\x02"}, "a write")
    after = second.member.node.me
    assert (after.id, after.name) == (before.id, before.name)
    assert after.address.port != port
    with first.member.lock:
        (seen,) = first.member.node.membership.view
    assert seen.address == after.address
    gone = [line for line in caplog.messages if line.startswith("Received member disappeared")]
    assert gone == []
    # The old port is free again.
    until(lambda: can_listen(port), "the old port is given back")


def can_listen(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((HOST, port))
        except OSError:
            return False
    return True
