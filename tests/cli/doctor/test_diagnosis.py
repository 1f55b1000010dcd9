"""From facts to findings: each row changes one thing of a machine where all is well."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from replsession.cli.doctor.diagnosis import diagnosed
from replsession.cli.doctor.facts import Failure, Interface, Joined
from replsession.cli.doctor.findings import Severity
from tests.cli.doctor.situations import ETH0, LO, WELL, asked, eth0

ETH1 = Interface("eth1", ("10.1.0.1/24",))
NO_ADDRESS: dict[str, Any] = {"address": None, "no_address": "why not; set bind=…"}


def causes(changes: dict[str, Any]) -> list[str]:
    return [finding.cause for finding in diagnosed(replace(WELL, **changes))]


def test_where_all_is_well_nothing_is_found() -> None:
    assert diagnosed(WELL) == ()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # the interface
        ({"interfaces": eth0(is_up=False)}, ["interface-down"]),
        ({"interfaces": eth0(is_up=False), **NO_ADDRESS}, ["interface-down"]),
        (
            {"interfaces": eth0(is_up=False), **NO_ADDRESS, "asked": asked(bind="eth0")},
            ["interface-down"],
        ),
        ({"interfaces": eth0(has_carrier=False)}, ["no-carrier"]),
        ({"interfaces": eth0(has_multicast=False)}, ["multicast-off"]),
        ({"interfaces": eth0(has_multicast=False), "heard_itself": 0}, ["multicast-off"]),
        # the address
        ({"address": "127.0.0.1", "joined": None}, ["loopback-address"]),
        ({"address": "10.9.9.9"}, ["address-not-here"]),
        ({"interfaces": eth0(name="docker0"), "joined": None}, ["container-address"]),
        ({"interfaces": eth0(name="br-0a1b2c"), "joined": None}, ["container-address"]),
        ({"in_container": True}, ["in-container"]),
        (NO_ADDRESS, ["no-address"]),
        ({**NO_ADDRESS, "towards_group": "127.0.0.1"}, ["loopback-route"]),
        (
            {**NO_ADDRESS, "towards_group": None, "interfaces": (LO, ETH0, ETH1)},
            ["no-multicast-route"],
        ),
        # the route and the group
        ({"towards_group": None}, ["no-multicast-route"]),
        ({"sockets_failed": Failure("EADDRINUSE", "in use")}, ["group-port-taken"]),
        ({"sockets_failed": Failure("ENOBUFS", "no room")}, ["cannot-join"]),
        ({"joined": (Joined("lo", "228.0.0.4"),)}, ["not-joined"]),
        ({"joined": None}, []),
        # sending, and hearing oneself
        ({"send_failed": Failure("EPERM", "not permitted")}, ["firewall-out"]),
        ({"send_failed": Failure("ENOBUFS", "no room"), "sent": 9}, ["cannot-send"]),
        ({"heard_itself": 0}, ["firewall-in"]),
        ({"heard_itself": 7}, []),
        # where the system says nothing of itself
        ({"interfaces": (), "routes": None, "joined": None, "on_wire": None}, []),
        # members of this host only
        (
            {
                "asked": asked(on_this_host=True),
                "address": "127.0.0.1",
                "heard": (),
                "joined": (Joined("lo", "228.0.0.4"),),
            },
            [],
        ),
    ],
)
def test_one_thing_is_wrong(changes: dict[str, Any], expected: list[str]) -> None:
    assert causes(changes) == expected


def test_what_one_cause_explains_is_not_told() -> None:
    """With the link down nothing is sent, heard or reached; only the link is named."""
    changes: dict[str, Any] = {
        "interfaces": eth0(is_up=False),
        "send_failed": Failure("ENETUNREACH", "unreachable"),
        "sent": 0,
        "heard_itself": 0,
        "heard": (),
        "peers": (),
    }
    assert causes(changes) == ["interface-down"]


def test_causes_stand_before_notes() -> None:
    changes: dict[str, Any] = {"in_container": True, "heard_itself": 0}
    found = diagnosed(replace(WELL, **changes))
    assert [finding.cause for finding in found] == ["firewall-in", "in-container"]
    assert [finding.severity for finding in found] == [Severity.ERROR, Severity.NOTE]


def test_an_interface_without_multicast_that_hears_all_the_same_is_a_warning() -> None:
    deaf = replace(WELL, interfaces=eth0(has_multicast=False))
    (finding,) = diagnosed(deaf)
    assert finding.severity is Severity.WARNING
    (finding,) = diagnosed(replace(deaf, heard_itself=0))
    assert finding.severity is Severity.ERROR


def test_a_route_that_is_missing_is_only_a_note_where_the_address_is_known() -> None:
    (finding,) = diagnosed(replace(WELL, towards_group=None))
    assert finding.severity is Severity.NOTE
    assert finding.mend[0] == "ip route replace 228.0.0.4/32 dev eth0"
    assert finding.undo == ("ip route del 228.0.0.4/32 dev eth0",)


def test_several_networks_are_all_named() -> None:
    changes: dict[str, Any] = {**NO_ADDRESS, "towards_group": None, "interfaces": (LO, ETH0, ETH1)}
    (finding,) = diagnosed(replace(WELL, **changes))
    assert finding.severity is Severity.ERROR
    assert finding.sentence.endswith("eth0 (10.0.0.1), eth1 (10.1.0.1)")
    assert finding.mend == (
        "ip route replace 228.0.0.4/32 dev eth0",
        'bind="eth0" (REPLSESSION_BIND=eth0)',
        'bind="eth1" (REPLSESSION_BIND=eth1)',
    )
