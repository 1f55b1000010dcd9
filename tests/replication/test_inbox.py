"""The inbox: each message finds its room, and says whether there is more to do."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from replsession import messages as m
from replsession.replication.inbox import Inbox
from replsession.replication.peers import Peer
from replsession.session.delta import Delta
from replsession.session.stamp import Stamp
from tests.harness import Network, some_id, some_key

NINE = some_id(9)
KEY = some_key(1)
OF_THE_NODE = (m.Hello,)
OF_MEMBERS = (m.Status, m.Goodbye, m.Probe, m.ProbeAnswer, m.Inquiry, m.Testimony, m.Neighbours)
MESSAGES: list[Any] = [
    m.Ping(),
    m.Deltas(1, ()),
    m.Acknowledge(1),
    m.Accesses(()),
    m.RecordRequest((KEY,)),
    m.Urge(),
    m.RecordInquiry(1, (KEY,)),
    m.RecordAnswer(1, (KEY,), ()),
    m.RepairOffer(1, (0,) * 256),
    m.RepairAnswer(1, ()),
    m.LeafDigests(1, 1, 0, {}),
    m.RecordDigests(1, 1, None, (), {}),
    m.RepairRequest(1, 2, (), ()),
    m.RepairRecords(1, 2, (), ()),
    m.StateRequest(1, 0),
    m.StateRefused(1),
    m.StateChunk(1, 1, 0, ()),
    m.StateCredit(1, 1),
    m.StateEnd(1, 0, 0, {}),
    m.Expirations(()),
]
QUIET = (m.Ping, m.Deltas, m.Acknowledge, m.Urge, m.RecordInquiry, m.RecordAnswer)


def inbox() -> tuple[Inbox, Peer]:
    """The inbox of a member that has nothing to do, and a member that sends."""
    network = Network()
    node = network.add(20)
    network.run(1.0)
    network.by_hand("m20", 9).hello()
    peer = node.peers.get(NINE)
    assert peer is not None
    return node.inbox, peer


def test_every_message_has_a_room() -> None:
    kinds = [type(message) for message in MESSAGES]

    elsewhere = (*OF_THE_NODE, *OF_MEMBERS)
    assert sorted(map(str, (*kinds, *elsewhere))) == sorted(map(str, get_args(m.Message)))


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_what_gives_work_says_so(message: m.Message) -> None:
    room, peer = inbox()

    assert room.received(peer, message, 10, 1001.0) is not isinstance(message, QUIET)


def test_a_delta_after_which_something_is_missing_gives_work() -> None:
    room, peer = inbox()
    stamp = Stamp(9 << 16, NINE)
    delta = Delta(KEY, Stamp(5 << 16, NINE), 7, {NINE: stamp.hlc}, {}, 0.0, stamp, 0.0)

    assert room.received(peer, m.Deltas(1, (delta,)), 10, 1001.0)
    assert room.received(peer, m.Ping(), 1, 1001.0)
