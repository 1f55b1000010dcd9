"""Facts for the tables: one machine where all is well, of which each test changes one thing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from replsession.cli.doctor.facts import Facts, Heard, Interface, Joined, Peer, Question, Route

GROUP = "228.0.0.4"
LO = Interface("lo", ("127.0.0.1/8",), has_multicast=False, is_loopback=True)
ETH0 = Interface("eth0", ("10.0.0.1/24",))
OTHER = Heard("10.0.0.2", "ours", 10, 47, 47, 0.2, 4.7, "aabbccdd", (4000,))
OPEN = Peer("10.0.0.2", 4000, "heartbeat", "open", "ours")

WELL = Facts(
    Question("shop", GROUP, 45564),
    (LO, ETH0),
    (Route("eth0", "0.0.0.0/0"), Route("eth0", "10.0.0.0/24")),
    (Joined("lo", "224.0.0.1"), Joined("eth0", "224.0.0.1"), Joined("eth0", GROUP)),
    towards_group="10.0.0.1",
    address="10.0.0.1",
    key_id="aabbccdd",
    sent=10,
    heard_itself=10,
    heard=(OTHER,),
    on_wire=(),
    peers=(OPEN,),
    own_addresses=("127.0.0.1", "10.0.0.1"),
)


def asked(**changes: Any) -> Question:
    """Return the question with changes."""
    return replace(WELL.asked, **changes)


def eth0(**changes: Any) -> tuple[Interface, ...]:
    """Return the interfaces, with changes to the one that matters."""
    return LO, replace(ETH0, **changes)


def heard(**changes: Any) -> tuple[Heard, ...]:
    """Return what was heard, with changes."""
    return (replace(OTHER, **changes),)


def peer(**changes: Any) -> tuple[Peer, ...]:
    """Return the receiver that was dialled, with changes."""
    return (replace(OPEN, **changes),)
