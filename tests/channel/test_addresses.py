"""Which address and port a receiver gets; what differs by network is in ``test_multicast.py``."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replsession.channel.addresses import (
    NoAddress,
    can_be_dialled,
    check_bind,
    has_address,
    listen,
    resolve_bind,
)
from replsession.errors import ConfigError

GROUP = ("228.0.0.4", 45564)


@pytest.mark.parametrize("bind", ["127.0.0.1", "10.1.2.3", "192.168.0.255", "223.255.255.254"])
def test_an_address_is_taken_as_it_is(bind: str) -> None:
    check_bind(bind)

    assert resolve_bind(bind, GROUP, loopback_allowed=False) == bind


@pytest.mark.parametrize("bind", ["auto", "eth0", "eth0.100", "wlp3s0", "br-5d6f1e2a3b4c", "lo"])
def test_what_may_be_an_interface_is_left_to_the_start(bind: str) -> None:
    check_bind(bind)


@pytest.mark.parametrize(
    "bind",
    [
        "",
        " ",
        "0.0.0.0",
        "0.1.2.3",
        "224.0.0.1",
        "228.0.0.4",
        "240.0.0.1",
        "255.255.255.255",
        "10.0.0.300",
        "10.0.0",
        "010.0.0.1",
        "10.0.0.1/24",
        "10.0.0.1:4000",
        "4000",
        "::",
        "::1",
        "fe80::1%eth0",
        "two words",
        "eth0\n",
        "éth0",
        "shop-1.example.org",
        None,
        4000,
        b"127.0.0.1",
        ["127.0.0.1"],
    ],
)
def test_what_nobody_could_dial_is_refused(bind: str) -> None:
    for refused_by in (
        lambda: check_bind(bind),
        lambda: resolve_bind(bind, GROUP, loopback_allowed=True),
    ):
        with pytest.raises(ConfigError, match='allowed: "auto", an IPv4 address') as refused:
            refused_by()
        assert refused.value.field == "bind"
        assert refused.value.given == bind


def test_the_field_is_named_as_the_user_wrote_it() -> None:
    with pytest.raises(ConfigError, match=r"^REPLSESSION_BIND: got '0\.0\.0\.0'"):
        check_bind("0.0.0.0", "REPLSESSION_BIND")


@given(st.text(max_size=20))
@settings(max_examples=100)
def test_any_text_is_judged_and_nothing_else_is_raised(bind: str) -> None:
    try:
        address = resolve_bind(bind, GROUP, loopback_allowed=True)
    except (ConfigError, NoAddress):
        return
    assert ipaddress.IPv4Address(address)


@pytest.mark.skipif(sys.platform != "linux", reason="interface names are understood on Linux only")
def test_an_interface_gives_its_address() -> None:
    assert resolve_bind("lo", GROUP, loopback_allowed=False) == "127.0.0.1"


@pytest.mark.parametrize("bind", ["nosuch0", "shop-1"])
def test_an_interface_that_is_not_there_says_so(bind: str) -> None:
    with pytest.raises(NoAddress, match="set bind=") as refused:
        resolve_bind(bind, GROUP, loopback_allowed=False)

    assert isinstance(refused.value, OSError)
    assert repr(bind) in str(refused.value)


def test_automatic_may_end_at_loopback_only_where_that_is_allowed() -> None:
    for group in (GROUP, None):
        assert ipaddress.IPv4Address(resolve_bind("auto", group, loopback_allowed=True))
    try:
        address = resolve_bind("auto", GROUP, loopback_allowed=False)
    except NoAddress as refused:
        assert "set bind=" in str(refused)
    else:
        assert not ipaddress.IPv4Address(address).is_loopback


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def three_free_ports() -> int:
    """Return the first of three ports in a row that nothing listens on."""
    # Two runs of the tests at a time begin at different places.
    first = 20_000 + os.getpid() % 2_000 * 3
    for port in range(first, 32_000, 3):
        with ExitStack() as stack:
            try:
                for candidate in range(port, port + 3):
                    stack.enter_context(listen("127.0.0.1", candidate, 1, 1))
            except OSError:
                continue
            return port
    raise AssertionError("no three free ports in a row")


def test_ports_are_taken_from_the_first_one_on(closing: ExitStack) -> None:
    port = three_free_ports()

    taken = [closing.enter_context(listen("127.0.0.1", port, 3, 5)) for _ in range(3)]

    assert [sock.getsockname() for sock in taken] == [
        ("127.0.0.1", candidate) for candidate in range(port, port + 3)
    ]
    assert all(sock.getblocking() is False for sock in taken)
    with pytest.raises(OSError, match=f"ports {port} to {port + 2} are all taken") as refused:
        listen("127.0.0.1", port, 3, 5)
    assert refused.value.errno == errno.EADDRINUSE
    taken[1].close()
    again = closing.enter_context(listen("127.0.0.1", port, 3, 5))
    assert again.getsockname()[1] == port + 1


def test_one_port_is_never_shared(closing: ExitStack) -> None:
    first = closing.enter_context(listen("127.0.0.1", 0, 1, 5))
    port = first.getsockname()[1]

    with pytest.raises(OSError, match=rf"port {port} is taken on 127\.0\.0\.1; set another port="):
        listen("127.0.0.1", port, 1, 5)


def test_a_port_is_taken_by_a_listener_on_all_addresses(closing: ExitStack) -> None:
    wildcard = closing.enter_context(socket.create_server(("0.0.0.0", 0)))

    with pytest.raises(OSError, match="taken"):
        listen("127.0.0.1", wildcard.getsockname()[1], 1, 5)


def test_a_bound_port_that_another_then_listens_on_is_lost_not_shared(closing: ExitStack) -> None:
    early = closing.enter_context(socket.socket())
    early.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    early.bind(("127.0.0.1", 0))
    closing.enter_context(listen("127.0.0.1", early.getsockname()[1], 1, 5))

    with pytest.raises(OSError) as refused:
        early.listen(5)

    assert refused.value.errno == errno.EADDRINUSE


def test_who_loses_the_race_for_a_port_takes_the_next(
    closing: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = three_free_ports()
    rival = closing.enter_context(socket.socket())
    rival.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    rival.bind(("127.0.0.1", port))
    tried: list[socket.socket] = []
    bind = socket.socket.bind

    def rival_listens_first(self: socket.socket, address: tuple[str, int]) -> None:
        bind(self, address)
        tried.append(self)
        rival.listen(1)

    monkeypatch.setattr(socket.socket, "bind", rival_listens_first)
    winner = closing.enter_context(listen("127.0.0.1", port, 3, 5))

    assert winner.getsockname()[1] == port + 1
    assert [sock.fileno() < 0 for sock in tried] == [True, False]


def test_port_0_is_the_kernel_s_choice(closing: ExitStack) -> None:
    ports = {
        closing.enter_context(listen("127.0.0.1", 0, 100, 5)).getsockname()[1] for _ in range(3)
    }

    assert len(ports) == 3
    assert 0 not in ports


def test_the_range_ends_at_the_last_port(closing: ExitStack) -> None:
    try:
        closing.enter_context(listen("127.0.0.1", 65535, 1, 5))
    except OSError as error:
        assert error.errno == errno.EADDRINUSE

    with pytest.raises(OSError, match="port 65535 is taken"):
        listen("127.0.0.1", 65535, 100, 5)


def test_a_port_is_free_again_although_its_connections_linger(closing: ExitStack) -> None:
    first = listen("127.0.0.1", 0, 1, 5)
    port = first.getsockname()[1]
    client = socket.create_connection(("127.0.0.1", port))
    first.setblocking(True)
    accepted, _ = first.accept()
    accepted.close()
    client.recv(1)
    client.close()
    first.close()

    assert closing.enter_context(listen("127.0.0.1", port, 1, 5)).getsockname()[1] == port


def test_an_address_of_another_host_says_so() -> None:
    with pytest.raises(NoAddress, match=r"does not have the address 203\.0\.113\.77; set bind="):
        listen("203.0.113.77", 0, 1, 5)


def test_other_refusals_name_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(self: socket.socket, address: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", forbidden)
    with pytest.raises(PermissionError, match=r"cannot listen on 127\.0\.0\.1:80: Permission d"):
        listen("127.0.0.1", 80, 100, 5)


def test_those_who_try_at_once_get_different_ports() -> None:
    port, rounds, tries = three_free_ports(), 50, 3
    together = threading.Barrier(tries)
    taken: list[tuple[int, int]] = []

    def take_a_port_each_round() -> None:
        for number in range(rounds):
            together.wait(30)
            with listen("127.0.0.1", port, tries, 5) as sock:
                taken.append((number, sock.getsockname()[1]))
                together.wait(30)

    threads = [threading.Thread(target=take_a_port_each_round) for _ in range(tries)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(taken) == [
        (number, port + offset) for number in range(rounds) for offset in range(tries)
    ]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.0.0.5", True),
        ("127.0.0.1", True),
        ("223.255.255.255", True),
        ("0.0.0.0", False),
        ("0.1.2.3", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
    ],
)
def test_where_a_member_may_listen(address: str, expected: bool) -> None:
    assert can_be_dialled(ipaddress.IPv4Address(address)) is expected


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the addresses of interfaces")
def test_the_addresses_of_this_host() -> None:
    assert has_address("127.0.0.1")
    assert not has_address("203.0.113.7")


def test_elsewhere_no_address_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")

    assert not has_address("127.0.0.1")
