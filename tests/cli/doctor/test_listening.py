"""Listening to the group, on loopback."""

from __future__ import annotations

import errno
import threading

from replsession.channel.multicast import open_sockets, send
from replsession.cli.doctor.facts import Question
from replsession.cli.doctor.listening import Listening, failure_of
from replsession.identity import Address
from replsession.messages import Heartbeat
from replsession.security.keys import ClusterKeys
from replsession.wire.encoding import encode_heartbeat
from tests.cluster.processes import free_ports

GROUP = "228.0.0.4"
LOOPBACK = "127.0.0.1"
KEYS = ClusterKeys("a secret of this test alone, 0123456789", "shop")
BEAT = KEYS.seal(encode_heartbeat(Heartbeat(b"abcdefgh", Address(LOOPBACK, 4001))))
OTHER_BEAT = KEYS.seal(encode_heartbeat(Heartbeat(b"bcdefghi", Address(LOOPBACK, 4002))))


def test_it_hears_itself_and_others_and_counts_them() -> None:
    (port,) = free_ports(1)
    listening = Listening(Question("shop", GROUP, port, seconds=2.0), LOOPBACK, None, KEYS)
    receiving, sending = open_sockets(GROUP, port, LOOPBACK)
    with receiving, sending:
        thread = threading.Thread(target=listening.run)
        thread.start()
        receiving.setblocking(True)
        # Its first probe says that it listens.
        receiving.recv(1000)
        for datagram in (BEAT, OTHER_BEAT, BEAT, b"TRIBES-B and more"):
            assert send(sending, datagram, GROUP, port) is None
        thread.join(30)
    assert listening.failed is None and listening.send_failed is None
    assert 0 < listening.heard_itself == listening.sent
    ours, other, tomcat = listening.heard
    assert (ours.host, ours.kind, ours.datagrams, ours.receivers) == (LOOPBACK, "ours", 2, (4001,))
    assert (ours.bytes_least, ours.bytes_most) == (len(BEAT), len(BEAT))
    assert (other.datagrams, other.receivers) == (1, (4002,))
    assert (tomcat.kind, tomcat.datagrams, tomcat.receivers) == ("tomcat", 1, ())
    assert listening.rejoined_hears == ()


def test_two_doctors_tell_each_other_what_they_hear() -> None:
    (port,) = free_ports(1)
    asked = Question("shop", GROUP, port, seconds=3.0)
    both = [Listening(asked, LOOPBACK, None, KEYS) for _ in range(2)]
    threads = [threading.Thread(target=one.run) for one in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for one in both:
        (other,) = one.doctors
        assert other.host == LOOPBACK
        assert dict(other.hears)[LOOPBACK] >= 1
        assert abs(other.ahead_s) < 5
        # A doctor is no member.
        assert one.heard == ()


def test_an_address_that_is_not_here_is_a_fact() -> None:
    (port,) = free_ports(1)
    listening = Listening(Question("shop", GROUP, port), "203.0.113.1", None, KEYS)
    listening.run()
    assert listening.failed is not None
    assert (listening.sent, listening.heard) == (0, ())


def test_errors_have_names() -> None:
    assert failure_of(OSError(errno.EPERM, "not permitted")).reason == "EPERM"
    assert failure_of(OSError("odd")).reason == "unknown"
