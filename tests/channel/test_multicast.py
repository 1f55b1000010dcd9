"""Heartbeats on loopback, between processes, and in networks that the tests make themselves."""

from __future__ import annotations

import errno
import os
import select
import shutil
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import cast

import pytest

from replsession.channel.multicast import (
    InterfaceGone,
    check_group,
    drain,
    open_sockets,
    send,
)
from replsession.errors import ConfigError
from replsession.identity import Address
from replsession.security.keys import HEARTBEAT_BYTES_MAX, ClusterKeys

GROUP = "228.0.0.4"
LOOPBACK = "127.0.0.1"
ROOT = Path(__file__).parents[2]
PATIENCE_S = 30

PEER = f"""
import select, sys, time
from replsession.channel.multicast import drain, open_sockets, send
group, port, interface, name, *expected = sys.argv[1:]
receiving, sending = open_sockets(group, int(port), interface)
heard, told, end = set(), False, time.monotonic() + {PATIENCE_S}
while time.monotonic() < end:
    send(sending, name.encode(), group, int(port))
    readable, _, _ = select.select([receiving, sys.stdin], [], [], 0.05)
    heard |= {{f"{{text.decode()}}@{{source.host}}" for text, source in drain(receiving)}}
    if heard >= set(expected) and not told:
        told = True
        print(*sorted(heard), flush=True)
    if sys.stdin in readable:
        break
"""


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((LOOPBACK, 0))
        port: int = sock.getsockname()[1]
        return port


class Pair:
    """The two sockets of one would-be member on loopback."""

    def __init__(self, port: int, stack: ExitStack) -> None:
        self.port = port
        self.receiving, self.sending = open_sockets(GROUP, port, LOOPBACK)
        stack.enter_context(self.receiving)
        stack.enter_context(self.sending)

    def say(self, payload: bytes) -> None:
        assert send(self.sending, payload, GROUP, self.port) is None

    def heard(self) -> list[bytes]:
        """Wait until something is there, then return all of it."""
        readable, _, _ = select.select([self.receiving], [], [], PATIENCE_S)
        assert readable, "nothing was heard"
        return [datagram for datagram, _ in drain(self.receiving)]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_everybody_hears_everybody_once_and_himself(stack: ExitStack) -> None:
    port = free_port()
    pairs = [Pair(port, stack) for _ in range(3)]

    pairs[0].say(b"one")
    assert [pair.heard() for pair in pairs] == [[b"one"]] * 3
    pairs[2].say(b"two")
    assert [pair.heard() for pair in pairs] == [[b"two"]] * 3


def test_the_source_is_the_interface_and_the_sender_s_own_port(stack: ExitStack) -> None:
    pair = Pair(free_port(), stack)
    pair.say(b"x")
    select.select([pair.receiving], [], [], PATIENCE_S)

    [(_, source)] = drain(pair.receiving)

    assert isinstance(source, Address)
    assert source == pair.sending.getsockname()
    assert source.host == LOOPBACK


def test_options_of_the_sockets(stack: ExitStack) -> None:
    pair = Pair(free_port(), stack)

    assert pair.receiving.getsockname() == (GROUP, pair.port)
    assert not pair.receiving.getblocking()
    assert not pair.sending.getblocking()
    assert pair.sending.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL) == 1
    assert pair.sending.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP) == 1


def test_a_datagram_to_this_host_alone_is_not_heard(stack: ExitStack) -> None:
    pair = Pair(free_port(), stack)

    pair.sending.sendto(b"unicast", (LOOPBACK, pair.port))
    pair.say(b"to the group")

    assert pair.heard() == [b"to the group"]


def test_nothing_there_is_an_empty_list(stack: ExitStack) -> None:
    assert drain(Pair(free_port(), stack).receiving) == []


def test_a_reading_is_bounded_and_the_rest_stays(stack: ExitStack) -> None:
    pair = Pair(free_port(), stack)
    for number in range(100):
        pair.say(b"%d" % number)

    assert [len(drain(pair.receiving, 30)), len(drain(pair.receiving))] == [30, 64]
    assert [datagram for datagram, _ in drain(pair.receiving)] == [
        b"%d" % number for number in range(94, 100)
    ]


@pytest.mark.parametrize("size", [0, 1, HEARTBEAT_BYTES_MAX, HEARTBEAT_BYTES_MAX + 1, 60_000])
def test_datagrams_of_any_size_are_read_and_too_long_ones_fit_no_seal(
    stack: ExitStack, size: int
) -> None:
    pair = Pair(free_port(), stack)
    keys = ClusterKeys("a secret", "shop")
    pair.say(bytes(size))

    [datagram] = pair.heard()

    assert len(datagram) == min(size, HEARTBEAT_BYTES_MAX + 1)
    assert keys.opened(datagram) is None


def test_a_sealed_heartbeat_arrives_whole(stack: ExitStack) -> None:
    pair = Pair(free_port(), stack)
    keys = ClusterKeys("a secret", "shop")
    pair.say(keys.seal(bytes(488)))

    assert [keys.opened(datagram) for datagram in pair.heard()] == [bytes(488)]


class Failing:
    """Stands for a socket on which receiving and sending fail with some errors, in this order."""

    def __init__(self, *errors: int) -> None:
        self.errors = list(errors)

    def recvfrom(self, size: int) -> tuple[bytes, tuple[str, int]]:
        if self.errors:
            number = self.errors.pop(0)
            raise OSError(number, os.strerror(number))
        return b"x", ("10.0.0.1", 9)

    def sendto(self, payload: bytes, address: tuple[str, int]) -> int:
        number = self.errors.pop(0)
        raise OSError(number, os.strerror(number))

    def as_socket(self) -> socket.socket:
        return cast(socket.socket, self)


PASSING = [errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ECONNREFUSED, errno.ENOBUFS]
GONE = [errno.ENODEV, errno.ENXIO, errno.EADDRNOTAVAIL]


def test_errors_that_pass_are_passed_over_but_count_for_the_bound() -> None:
    assert drain(Failing(*PASSING).as_socket(), len(PASSING)) == []
    assert (
        drain(Failing(*PASSING).as_socket(), len(PASSING) + 2)
        == [(b"x", Address("10.0.0.1", 9))] * 2
    )


@pytest.mark.parametrize("number", GONE)
def test_an_interface_that_is_gone_is_told_apart(number: int) -> None:
    with pytest.raises(InterfaceGone) as gone:
        drain(Failing(number).as_socket())
    error = send(Failing(number).as_socket(), b"", GROUP, 1)

    assert gone.value.errno == number
    assert isinstance(error, InterfaceGone)
    assert error.errno == number


@pytest.mark.parametrize("number", [*PASSING, errno.EAGAIN, errno.EPERM, errno.EMSGSIZE])
def test_other_errors_of_sending_are_returned_as_they_are(number: int) -> None:
    error = send(Failing(number).as_socket(), b"", GROUP, 1)

    assert error is not None
    assert not isinstance(error, InterfaceGone)
    assert error.errno == number


def test_a_closed_socket_is_an_error(stack: ExitStack) -> None:
    pair = Pair(free_port(), stack)
    pair.receiving.close()
    pair.sending.close()

    with pytest.raises(OSError) as refused:
        drain(pair.receiving)
    error = send(pair.sending, b"x", GROUP, pair.port)

    assert refused.value.errno == errno.EBADF
    assert error is not None
    assert error.errno == errno.EBADF


@pytest.mark.parametrize(
    ("group", "port"),
    [
        ("ff02::1", 45564),
        ("10.0.0.1", 45564),
        ("223.255.255.255", 45564),
        ("240.0.0.0", 45564),
        ("228.0.0", 45564),
        ("", 45564),
        ("all-hosts", 45564),
        (None, 45564),
        (0xE4000004, 45564),
        (b"\xe4\x00\x00\x04", 45564),
        (GROUP, 0),
        (GROUP, 65536),
        (GROUP, -1),
        (GROUP, "45564"),
        (GROUP, True),
        (GROUP, 45564.0),
    ],
)
def test_what_is_no_group_is_refused(group: str, port: int) -> None:
    for refused_by in (
        lambda: check_group(group, port),
        lambda: open_sockets(group, port, LOOPBACK),
    ):
        with pytest.raises(ConfigError, match=r"^multicast: got ") as refused:
            refused_by()
        assert refused.value.given == (port if group == GROUP else group)


@pytest.mark.parametrize("group", ["224.0.0.0", "228.0.0.4", "239.255.255.255"])
def test_groups(group: str) -> None:
    check_group(group, 1)
    check_group(group, 65535)


def test_an_address_of_no_interface_is_told_apart_and_leaves_nothing_open() -> None:
    with pytest.raises(InterfaceGone, match=r"does not have an interface 203\.0\.113\.77"):
        open_sockets(GROUP, free_port(), "203.0.113.77")


def test_a_port_that_is_not_shared_is_an_error(stack: ExitStack) -> None:
    alone = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    alone.bind(("", 0))

    with pytest.raises(OSError) as refused:
        open_sockets(GROUP, alone.getsockname()[1], LOOPBACK)

    assert refused.value.errno == errno.EADDRINUSE


class Peers:
    """Processes that send their name to a group, and say whom they have heard."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str, namespace: str | None = None) -> subprocess.Popen[str]:
        entering = ["ip", "netns", "exec", namespace] if namespace else []
        process = subprocess.Popen(
            [*entering, sys.executable, "-c", PEER, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self._processes.append(process)
        return process

    def stop(self) -> None:
        for process in self._processes:
            try:
                process.communicate(timeout=PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()


@pytest.fixture
def peers() -> Iterator[Peers]:
    peers = Peers()
    yield peers
    peers.stop()


def said(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return process.stdout.readline().split()


@pytest.mark.cluster
def test_three_processes_of_one_host_hear_each_other(peers: Peers) -> None:
    port = str(free_port())
    names = ["a", "b", "c"]
    everybody = [f"{name}@{LOOPBACK}" for name in names]

    processes = [peers.start(GROUP, port, LOOPBACK, name, *everybody) for name in names]

    assert [said(process) for process in processes] == [everybody] * 3


class Network:
    """A few hosts at one switch: network namespaces, each with ``eth0`` on a common bridge."""

    def __init__(self) -> None:
        self._made: list[str] = []
        self.switch = ""
        self.hosts: list[str] = []

    def build(self, *hosts: str) -> None:
        self.switch = self._namespace("switch")
        ip(self.switch, "link add bridge0 type bridge")
        ip(self.switch, "link set bridge0 up")
        self.hosts = [self._host(number, name) for number, name in enumerate(hosts, 1)]

    def _namespace(self, name: str) -> str:
        namespace = f"replsession-{os.getpid()}-{name}"
        made = subprocess.run(
            ["ip", "netns", "add", namespace], capture_output=True, text=True, check=False
        )
        if made.returncode != 0:
            pytest.skip(f"network namespaces are not permitted here: {made.stderr.strip()}")
        self._made.append(namespace)
        ip(namespace, "link set lo up")
        return namespace

    def _host(self, number: int, name: str) -> str:
        namespace = self._namespace(name)
        far = f"port{number}"
        ip(self.switch, f"link add {far} type veth peer name eth0 netns {namespace}")
        ip(self.switch, f"link set {far} master bridge0 up")
        ip(namespace, f"addr add 10.77.0.{number}/24 dev eth0")
        ip(namespace, "link set eth0 up")
        return namespace

    def close(self) -> None:
        for namespace in self._made:
            subprocess.run(["ip", "netns", "del", namespace], check=True)


def ip(namespace: str, command: str) -> None:
    subprocess.run(["ip", "-n", namespace, *command.split()], check=True)


def python(namespace: str, program: str) -> str:
    """Run a program inside a namespace and return what it prints."""
    answer = subprocess.run(
        ["ip", "netns", "exec", namespace, sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=PATIENCE_S,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


@pytest.fixture
def network() -> Iterator[Network]:
    if sys.platform != "linux" or shutil.which("ip") is None:
        pytest.skip("network namespaces need Linux and iproute2")
    network = Network()
    try:
        network.build("one", "two")
        yield network
    finally:
        network.close()


@pytest.mark.cluster
def test_hosts_at_one_switch_hear_each_other(network: Network, peers: Peers) -> None:
    everybody = ["a@10.77.0.1", "b@10.77.0.1", "c@10.77.0.2"]
    places = [("a", 1, 0), ("b", 1, 0), ("c", 2, 1)]

    processes = [
        peers.start(
            GROUP, "45564", f"10.77.0.{number}", name, *everybody, namespace=network.hosts[host]
        )
        for name, number, host in places
    ]

    assert [said(process) for process in processes] == [everybody] * 3


@pytest.mark.cluster
def test_a_group_on_another_interface_is_not_heard(network: Network) -> None:
    heard = python(
        network.hosts[0],
        """
        import select
        from replsession.channel.multicast import drain, open_sockets, send
        ours, say_inside = open_sockets("228.0.0.4", 45564, "127.0.0.1")
        theirs, say_outside = open_sockets("228.0.0.4", 45564, "10.77.0.1")
        for sending, text in ((say_outside, b"outside"), (say_inside, b"inside")):
            assert send(sending, text, "228.0.0.4", 45564) is None
        for receiving in (theirs, ours):
            assert select.select([receiving], [], [], 20)[0]
            print(*[text.decode() for text, _ in drain(receiving)])
        """,
    )

    assert heard.split() == ["outside", "inside"]


@pytest.mark.cluster
def test_an_interface_that_goes_and_comes(network: Network) -> None:
    told = python(
        network.hosts[0],
        """
        import errno, select, subprocess
        from replsession.channel.multicast import drain, open_sockets, send

        def ip(words):
            subprocess.run(["ip", *words.split()], check=True)

        def report(what, receiving, sending):
            error = send(sending, b"x", "228.0.0.4", 45564)
            heard = []
            if error is None:
                select.select([receiving], [], [], 20)
                heard = drain(receiving)
            told = "heard" if heard else f"{type(error).__name__} {errno.errorcode[error.errno]}"
            print(f"{what}: {told}")

        sockets = open_sockets("228.0.0.4", 45564, "10.77.0.1")
        report("up", *sockets)
        ip("link set eth0 down")
        report("down", *sockets)
        ip("link set eth0 up")
        report("up again", *sockets)
        ip("addr del 10.77.0.1/24 dev eth0")
        report("without address", *sockets)
        try:
            open_sockets("228.0.0.4", 45564, "10.77.0.1")
        except OSError as error:
            print(f"opened then: {type(error).__name__}")
        ip("addr add 10.77.0.1/24 dev eth0")
        report("with address again", *sockets)
        ip("link del eth0")
        report("removed", *sockets)
        ip("link add eth0 type veth peer name far0")
        ip("link set far0 up")
        ip("addr add 10.77.0.1/24 dev eth0")
        ip("link set eth0 up")
        report("made anew", *sockets)
        report("new sockets", *open_sockets("228.0.0.4", 45564, "10.77.0.1"))
        """,
    )

    assert told.splitlines() == [
        "up: heard",
        "down: OSError ENETUNREACH",
        "up again: heard",
        "without address: OSError ENETUNREACH",
        "opened then: InterfaceGone",
        "with address again: heard",
        "removed: OSError ENETUNREACH",
        "made anew: InterfaceGone ENODEV",
        "new sockets: heard",
    ]


RESOLVE = """
from replsession.channel.addresses import NoAddress, resolve_bind
for loopback_allowed in (False, True):
    try:
        print(resolve_bind("auto", ("228.0.0.4", 45564), loopback_allowed=loopback_allowed))
    except NoAddress as refused:
        print(refused)
"""


@pytest.mark.cluster
def test_automatic_addresses(network: Network) -> None:
    bare, host = network.switch, network.hosts[0]

    alone, inside = python(bare, RESOLVE).splitlines()
    assert "this host has no network address but loopback; set bind=" in alone
    assert inside == LOOPBACK

    assert python(host, RESOLVE).split() == ["10.77.0.1", LOOPBACK]

    ip(host, "link add eth1 type veth peer name far1")
    ip(host, "addr add 10.78.0.1/24 dev eth1")
    assert python(host, RESOLVE).split() == ["10.77.0.1", LOOPBACK], "eth1 is still down"
    ip(host, "link set eth1 up")
    several, _ = python(host, RESOLVE).splitlines()
    assert "several addresses: 10.77.0.1 (eth0), 10.78.0.1 (eth1); set bind=" in several

    ip(host, "link set far1 up")
    ip(host, "route add default via 10.78.0.9")
    assert python(host, RESOLVE).split() == ["10.78.0.1", "10.78.0.1"]
    ip(host, "route add 228.0.0.0/8 dev eth0")
    assert python(host, RESOLVE).split() == ["10.77.0.1", "10.77.0.1"]
    ip(host, "route replace 228.0.0.0/8 dev lo src 127.0.0.1")
    circular, inside = python(host, RESOLVE).splitlines()
    assert "the route to 228.0.0.4 stays on this host's loopback interface" in circular
    assert inside == LOOPBACK


@pytest.mark.cluster
def test_an_interface_named_gives_its_address_or_says_why_not(network: Network) -> None:
    told = python(
        network.hosts[1],
        """
        from replsession.channel.addresses import NoAddress, resolve_bind
        for name in ("eth0", "lo", "eth7"):
            try:
                print(resolve_bind(name, None, loopback_allowed=False))
            except NoAddress as refused:
                print(refused.strerror.partition(";")[0])
        """,
    )
    assert told.splitlines() == [
        "10.77.0.2",
        LOOPBACK,
        "this host has no network interface 'eth7'",
    ]
    ip(network.hosts[1], "addr flush dev eth0")
    bare = python(
        network.hosts[1],
        """
        from replsession.channel.addresses import NoAddress, resolve_bind
        try:
            resolve_bind("eth0", None, loopback_allowed=False)
        except NoAddress as refused:
            print(refused)
        """,
    )
    assert "the network interface 'eth0' has no IPv4 address; set bind=" in bare
