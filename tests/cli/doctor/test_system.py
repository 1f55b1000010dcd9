"""What the system says of its network: recorded texts, and this machine itself."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from replsession.cli.doctor import system
from replsession.cli.doctor.facts import Joined, Route
from tests.cluster.processes import free_ports

ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
eth1\t040000E4\t00000000\t0005\t0\t0\t0\tFFFFFFFF\t0\t0\t0
*\t000000F0\t00000000\t0200\t0\t0\t0\t000000F0\t0\t0\t0
"""
"""Recorded on a little-endian machine: a default route, a network, a host, and a rejected one."""

IGMP = """\
Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter
1\tlo        :     1      V3
\t\t\t\t010000E0     1 0:00000000\t\t0
2\teth0      :     2      V3
\t\t\t\t040000E4     2 0:00000000\t\t0
\t\t\t\t010000E0     1 0:00000000\t\t0
"""

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
little = pytest.mark.skipif(sys.byteorder != "little", reason="recorded on such a machine")


@little
def test_routes_are_read() -> None:
    assert list(system.routes_in(ROUTES)) == [
        Route("eth0", "0.0.0.0/0"),
        Route("eth0", "10.0.0.0/24"),
        Route("eth1", "228.0.0.4/32"),
    ]


@little
def test_groups_are_read() -> None:
    assert list(system.joined_in(IGMP)) == [
        Joined("lo", "224.0.0.1"),
        Joined("eth0", "228.0.0.4"),
        Joined("eth0", "224.0.0.1"),
    ]


@pytest.mark.parametrize(
    ("flags", "carrier", "expected"),
    [
        (0x1003, "1", (True, True, True, False)),
        (0x1002, "", (False, True, True, False)),
        (0x1003, "0", (True, False, True, False)),
        (0x3, "1", (True, True, False, False)),
        (0x9, "1", (True, True, False, True)),
    ],
)
def test_flags_are_read(flags: int, carrier: str, expected: tuple[bool, ...]) -> None:
    addresses = [("eth0", "10.0.0.1/24"), ("eth0:web", "10.0.0.2/24"), ("eth01", "10.1.0.1/24")]
    one = system.interface_of("eth0", flags, carrier, addresses)
    assert (one.is_up, one.has_carrier, one.has_multicast, one.is_loopback) == expected
    assert one.addresses == ("10.0.0.1/24", "10.0.0.2/24")


@linux
def test_this_machine_has_a_loopback_interface() -> None:
    (lo,) = [one for one in system.interfaces() if one.is_loopback]
    assert lo.is_up and "127.0.0.1/8" in lo.addresses
    assert system.routes() is not None


@linux
def test_a_group_is_listed_while_it_is_joined() -> None:
    wanted = Joined("lo", "228.1.2.3")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        words = socket.inet_aton("228.1.2.3") + socket.inet_aton("127.0.0.1")
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, words)
        assert wanted in (system.joined() or ())
    assert wanted not in (system.joined() or ())


def test_a_port_is_taken_by_who_listens_and_is_left_free_by_the_question() -> None:
    (port,) = free_ports(1)
    assert system.ports_taken("127.0.0.1", port, 1) == ()
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        # Bound, and asked about while it is: the question is not in the way of listening.
        assert system.ports_taken("127.0.0.1", port, 1) == ()
        listening.listen()
        assert system.ports_taken("127.0.0.1", port, 1) == (port,)


def test_ports_end_where_ports_end() -> None:
    assert all(port <= 65535 for port in system.ports_taken("127.0.0.1", 65530, 100))


@linux
def test_what_the_kernel_drops_is_asked_for_each_interface() -> None:
    assert isinstance(system.drops_without_way_back("lo"), bool)
    # One that is not there has no setting of its own; that of all others counts.
    everybody = Path("/proc/sys/net/ipv4/conf/all/rp_filter").read_text()
    assert system.drops_without_way_back("no-such-one") == (int(everybody) > 0)


def test_an_address_leads_somewhere() -> None:
    assert system.towards("127.0.0.1", 9) == "127.0.0.1"


ARP = """\
IP address       HW type     Flags       HW address            Mask     Device
10.0.0.9         0x1         0x0         00:00:00:00:00:00     *        eth0
10.0.0.2         0x1         0x2         02:00:00:00:00:02     *        eth0
10.0.0.2         0x1         0x0         00:00:00:00:00:00     *        eth1
"""


@pytest.mark.parametrize(
    ("host", "expected"), [("10.0.0.9", True), ("10.0.0.2", False), ("10.0.0.7", False)]
)
def test_who_does_not_answer_is_read(host: str, expected: bool) -> None:
    assert system.is_asked_for(host, ARP) is expected
    assert system.is_asked_for(host, "") is False


def test_a_container_has_its_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr(Path, "exists", lambda _: False)
    assert not system.is_container()
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    assert system.is_container()
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST")
    monkeypatch.setattr(Path, "exists", lambda path: str(path) == "/run/.containerenv")
    assert system.is_container()


def test_a_tunnel_is_known_by_its_flag() -> None:
    assert system.interface_of("tun0", 0x1091, "1", ()).is_tunnel
    assert not system.interface_of("eth0", 0x1003, "1", ()).is_tunnel


@linux
def test_the_limit_on_groups_is_read() -> None:
    assert (system.memberships_max() or 0) >= 0
