"""What is said of what others sent, and of what did not come."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from replsession.cli.doctor.facts import Elsewhere, Heard, Interface, OnWire, OtherDoctor, Peer
from replsession.cli.doctor.findings import Severity
from replsession.cli.doctor.others import about_others
from tests.cli.doctor.situations import OTHER, WELL, asked, eth0, heard, peer

STRANGER = heard(kind="other key", key_id="01020304")
LONG = asked(seconds=60.0)
ELSEWHERE = (Elsewhere("eth1", "10.1.0.2", 9),)
TWO = (*eth0(), Interface("eth1", ("10.1.0.1/24",)))
HEARS_US = OtherDoctor("10.0.0.2", (("10.0.0.1", 9), ("10.0.0.3", 4)), 5.0, 0.1)


def causes(changes: dict[str, Any]) -> list[str]:
    return [finding.cause for finding in about_others(replace(WELL, **changes))]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        # strangers
        (
            {"heard": STRANGER, "peers": peer(why="stranger", speaks="other secret")},
            ["other-secret"],
        ),
        ({"heard": STRANGER, "peers": peer(why="stranger", speaks="other name")}, ["other-name"]),
        (
            {"heard": STRANGER, "peers": peer(why="stranger", answer="silent", speaks="")},
            ["other-secret-or-name"],
        ),
        ({"heard": STRANGER, "asked": asked(has_secret=False)}, ["secret-not-given"]),
        ({"heard": (OTHER, *heard(host="10.0.0.1", kind="other key"))}, ["other-secret-or-name"]),
        # formats
        ({"heard": (OTHER, *heard(kind="other version"))}, ["other-version"]),
        ({"heard": heard(kind="unlike")}, ["other-version"]),
        ({"heard": (OTHER, *heard(kind="forged"))}, ["forged"]),
        ({"heard": (OTHER, *heard(kind="tomcat", host="10.0.0.7"))}, ["tomcat"]),
        ({"heard": (OTHER, *heard(kind="unknown", host="10.0.0.7"))}, ["foreign-datagrams"]),
        # silences
        ({"asked": LONG}, ["multicast-stopped"]),
        ({"asked": LONG, "heard": heard(last_s=57.5)}, []),
        ({"asked": LONG, "heard": heard(datagrams=2)}, []),
        ({"asked": LONG, "peers": peer(answer="refused")}, ["member-left"]),
        ({"asked": LONG, "peers": peer(speaks="nothing")}, ["member-hangs"]),
        # Another member on its host answers, and is no sign of this one.
        ({"asked": LONG, "peers": peer(port=4001)}, ["member-left"]),
        ({"asked": LONG, "rejoined_hears": ("10.0.0.2:4001",)}, ["multicast-stopped"]),
        ({"asked": LONG, "rejoined_hears": ("10.0.0.2:4000",)}, ["snooping-without-querier"]),
        # one way, and clocks
        ({"doctors": (HEARS_US,)}, []),
        ({"doctors": (replace(HEARS_US, hears=(("10.0.0.3", 4),)),)}, ["one-way"]),
        ({"doctors": (replace(HEARS_US, hears=(), heard_for_s=1.0),)}, []),
        ({"doctors": (replace(HEARS_US, host="10.0.0.1", hears=()),)}, []),
        ({"doctors": (replace(HEARS_US, ahead_s=3600.0),)}, ["clock-skew"]),
        ({"doctors": (replace(HEARS_US, ahead_s=-3600.0),)}, ["clock-skew"]),
        # nobody
        ({"heard": ()}, ["nobody-heard"]),
        ({"heard": heard(host="10.0.0.1")}, ["nobody-heard"]),
        ({"heard": (), "asked": asked(on_this_host=True)}, []),
        ({"heard": (), "on_wire": (OnWire("10.0.0.2", 9),)}, ["firewall-in"]),
        ({"heard": (), "on_wire": (OnWire("10.9.0.2", 9),)}, ["firewall-in"]),
        (
            {"heard": (), "on_wire": (OnWire("10.9.0.2", 9),), "drops_without_way_back": True},
            ["no-way-back"],
        ),
        (
            {"heard": (), "on_wire": (OnWire("10.0.0.2", 9),), "drops_without_way_back": True},
            ["firewall-in"],
        ),
        ({"heard": (), "on_wire": (OnWire("10.0.0.1", 9),)}, ["nobody-heard"]),
        ({"heard": (), "on_wire": None}, ["nobody-heard"]),
        ({"heard": (), "peers": peer(why="asked")}, ["multicast-lost"]),
        ({"heard": (), "peers": peer(why="seed")}, ["found-by-seeds"]),
        ({"heard": (), "peers": peer(why="seed", host="192.168.7.7")}, ["found-by-seeds"]),
        ({"heard": (), "peers": peer(why="seed", host="10.0.0.1")}, ["nobody-heard"]),
        ({"heard": (), "peers": peer(why="asked", answer="no host", speaks="")}, []),
        ({"heard": (), "elsewhere": ELSEWHERE, "interfaces": TWO}, ["heard-elsewhere"]),
        ({"elsewhere": ELSEWHERE, "interfaces": TWO}, []),
        ({"heard": (), "peers": peer(why="asked", host="10.0.0.1")}, ["nobody-heard"]),
        ({"heard": (), "peers": peer(why="asked", host="192.168.7.7")}, ["other-network"]),
        (
            {"heard": (), "peers": peer(why="asked", host="members.internal", speaks="")},
            ["nobody-heard"],
        ),
    ],
)
def test_what_is_found(changes: dict[str, Any], expected: list[str]) -> None:
    assert causes(changes) == expected


def test_both_keys_and_a_near_miss_are_named() -> None:
    stranger = heard(kind="other key", key_id="01020304", hint="a secret that ends with a blank")
    changed = replace(WELL, heard=stranger, peers=peer(why="stranger", speaks="other secret"))
    (finding,) = about_others(changed)
    assert finding.severity is Severity.ERROR
    assert finding.sentence == (
        "a member on 10.0.0.2 is of the cluster 'shop' but has another secret (key id 01020304, "
        "ours is aabbccdd): its key is that of a secret that ends with a blank"
    )


def test_whom_to_dial_instead_is_told() -> None:
    changed = replace(WELL, heard=(), peers=(Peer("10.0.0.2", 4000, "asked", "open", "ours"),))
    (finding,) = about_others(changed)
    assert finding.mend == ('seeds=("10.0.0.2:4000",) (REPLSESSION_SEEDS=10.0.0.2:4000)',)


def test_a_clock_says_by_how_much() -> None:
    (finding,) = about_others(replace(WELL, doctors=(replace(HEARS_US, ahead_s=-90.0),)))
    assert finding.severity is Severity.NOTE
    assert "90 s behind this host's" in finding.sentence


def test_a_host_that_is_heard_is_not_behind_a_firewall() -> None:
    stranger: tuple[Heard, ...] = heard(kind="tomcat", host="10.0.0.7")
    changed = replace(WELL, heard=stranger, on_wire=(OnWire("10.0.0.7", 9),))
    assert [finding.cause for finding in about_others(changed)] == ["tomcat", "nobody-heard"]


def test_the_interface_on_which_members_are_heard_is_named() -> None:
    changes: dict[str, Any] = {"heard": (), "elsewhere": ELSEWHERE, "interfaces": TWO}
    (finding,) = about_others(replace(WELL, **changes))
    assert "heartbeats of 10.1.0.2 come in on eth1" in finding.sentence
    assert finding.mend == (
        "ip route replace 228.0.0.4/32 dev eth1",
        'bind="eth1" (REPLSESSION_BIND=eth1)',
    )
    assert finding.undo == ("ip route del 228.0.0.4/32 dev eth1",)
    (finding,) = about_others(replace(WELL, asked=asked(bind="eth0"), **changes))
    assert (finding.mend, finding.undo) == (('bind="eth1" (REPLSESSION_BIND=eth1)',), ())


def test_who_may_not_hear_the_interface_is_told_so() -> None:
    (finding,) = about_others(replace(WELL, heard=(), on_wire=None))
    assert finding.mend[-1].startswith("sudo replsession doctor")
    beside = heard(host="10.0.0.1")
    (finding,) = about_others(replace(WELL, heard=beside))
    assert "(beside 1 on this host)" in finding.sentence
    assert not finding.mend[-1].startswith("sudo")
