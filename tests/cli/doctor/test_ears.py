"""Ears beside a member's own."""

from __future__ import annotations

import socket
import struct
import sys

import pytest

from replsession.channel.multicast import open_sockets, send
from replsession.cli.doctor.ears import group_elsewhere, source_in
from tests.cluster.processes import free_ports

GROUP = "228.0.0.4"
LOOPBACK = "127.0.0.1"


def packet(source: str, port: int, protocol: int = 17, options: bytes = b"") -> bytes:
    words = 5 + len(options) // 4
    head = bytes([0x40 | words]) + bytes(8) + bytes([protocol]) + bytes(2)
    addresses = socket.inet_aton(source) + socket.inet_aton(GROUP)
    return head + addresses + options + struct.pack("!HHHH", 4000, port, 8, 0)


def test_the_source_of_a_datagram_is_read_from_the_packet() -> None:
    assert source_in(packet("10.0.0.2", 45564), 45564) == "10.0.0.2"
    assert source_in(packet("10.0.0.2", 45564, options=bytes(8)), 45564) == "10.0.0.2"
    assert source_in(packet("10.0.0.2", 9), 45564) is None
    assert source_in(packet("10.0.0.2", 45564, protocol=6), 45564) is None
    whole = packet("10.0.0.2", 45564)
    for length in range(len(whole) - 5):
        assert source_in(whole[:length], 45564) is None


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere sockets hear all interfaces")
def test_the_group_is_heard_on_other_interfaces_and_what_cannot_be_joined_is_left_out() -> None:
    (port,) = free_ports(1)
    ears = group_elsewhere(GROUP, port, {"lo": LOOPBACK, "eth9": "203.0.113.1"})
    assert list(ears.values()) == ["lo"]
    receiving, sending = open_sockets(GROUP, port, LOOPBACK)
    (ear,) = ears
    with ear, receiving, sending:
        assert send(sending, b"a datagram", GROUP, port) is None
        ear.settimeout(30)
        assert ear.recv(100) == b"a datagram"
