"""What is said of receivers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from replsession.cli.doctor.facts import Peer
from replsession.cli.doctor.findings import Severity
from replsession.cli.doctor.receivers import about_receivers
from tests.cli.doctor.situations import OPEN, WELL, asked, peer

ONE_PORT: dict[str, Any] = {"asked": asked(auto_bind=1), "ports_taken": (4000,)}
TCP = ["tcp-refused"]
HERE = Peer("10.0.0.1", 4000, "own port", "open", "ours")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"peers": peer(answer="refused", speaks="")}, ["tcp-refused"]),
        ({"peers": peer(answer="silent", speaks="")}, ["tcp-silent"]),
        ({"peers": peer(answer="unreachable", speaks="")}, ["tcp-unreachable"]),
        ({"peers": peer(answer="no route", speaks="")}, ["no-route"]),
        ({"peers": peer(answer="silent", why="asked")}, ["tcp-silent"]),
        ({"peers": peer(answer="silent", why="stranger")}, []),
        ({"peers": peer(speaks="other secret", why="asked")}, ["other-secret"]),
        ({"peers": peer(speaks="other name", why="asked")}, ["other-name"]),
        ({"peers": peer(speaks="other program", why="asked")}, ["other-program"]),
        (
            {
                "peers": peer(speaks="other secret", why="asked"),
                "asked": asked(has_secret=False),
            },
            [],
        ),
        # it was heard, then ended: that is said elsewhere
        ({"peers": peer(answer="refused"), "asked": asked(seconds=60.0)}, []),
        ({"peers": peer(answer="refused", why="asked"), "asked": asked(seconds=60.0)}, TCP),
        ({"peers": peer(answer="no host", speaks="", why="asked")}, ["host-down"]),
        ({"peers": peer(answer="no name", speaks="", why="asked")}, ["name-unknown"]),
        ({"peers": peer(speaks="nothing")}, ["member-hangs"]),
        ({"peers": peer(speaks="other version")}, ["other-version"]),
        ({"peers": peer(answer="refused", why="seed", host="10.0.0.1")}, []),
        (ONE_PORT, ["receiver-port-taken"]),
        ({**ONE_PORT, "peers": (OPEN, HERE)}, ["member-here"]),
        ({**ONE_PORT, "peers": (replace(HERE, speaks="other name"),)}, ["receiver-port-taken"]),
        ({"ports_taken": (4000,)}, []),
        ({"ports_taken": tuple(range(4000, 4100))}, ["receiver-port-taken"]),
    ],
)
def test_what_is_found(changes: dict[str, Any], expected: list[str]) -> None:
    found = about_receivers(replace(WELL, **changes))
    assert [finding.cause for finding in found] == expected


def test_the_next_port_is_named() -> None:
    (finding,) = about_receivers(replace(WELL, **ONE_PORT))
    assert finding.sentence == "TCP port 4000 is taken on 10.0.0.1 by another program"
    assert finding.mend[0] == "port=4001 (REPLSESSION_PORT=4001)"


def test_the_other_host_is_where_a_connection_is_let_in() -> None:
    (finding,) = about_receivers(replace(WELL, peers=peer(answer="silent")))
    rule = "INPUT -p tcp --dport 4000:4099 -j ACCEPT"
    assert finding.mend[0] == f"on 10.0.0.2: iptables -I {rule}"
    assert finding.undo == (f"on 10.0.0.2: iptables -D {rule}",)


def test_a_seed_that_is_not_heard_may_not_run() -> None:
    changed = replace(WELL, peers=peer(answer="refused", why="seed", host="10.0.0.3"))
    (finding,) = about_receivers(changed)
    assert finding.severity is Severity.WARNING
    assert "10.0.0.3:4000 is a seed, but" in finding.sentence
    (finding,) = about_receivers(replace(WELL, peers=peer(answer="refused", why="seed")))
    assert finding.severity is Severity.ERROR
    assert "sends heartbeats, but" in finding.sentence
