"""From facts to findings: each row changes one thing of a machine where all is well."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from replsession.cli.doctor.diagnosis import diagnosed
from replsession.cli.doctor.facts import Failure, Interface, Joined
from replsession.cli.doctor.findings import Severity
from tests.cli.doctor.situations import ETH0, GROUP, LO, OTHER, WELL, asked, eth0, heard, peer

ETH1 = Interface("eth1", ("10.1.0.1/24",))
ALONE: dict[str, Any] = {"heard": (), "peers": (), "joined": None}
LOOPBACK: dict[str, Any] = {"address": "127.0.0.1", "joined": None, "peers": ()}
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
        # a bridge without containers, and a tunnel without its program, have no cable
        (
            {**ALONE, "interfaces": eth0(name="docker0", has_carrier=False)},
            ["container-address", "nobody-heard"],
        ),
        (
            {**ALONE, "interfaces": eth0(is_tunnel=True, has_carrier=False)},
            ["tunnel-address", "nobody-heard"],
        ),
        ({"interfaces": eth0(has_multicast=False)}, ["multicast-off"]),
        ({"interfaces": eth0(has_multicast=False), "heard_itself": 0}, ["multicast-off"]),
        # the address
        ({"address": "10.9.9.9"}, ["address-not-here"]),
        ({**ALONE, "interfaces": eth0(name="docker0")}, ["container-address", "nobody-heard"]),
        ({**ALONE, "interfaces": eth0(name="br-0a1b2c")}, ["container-address", "nobody-heard"]),
        ({**ALONE, "interfaces": eth0(is_tunnel=True)}, ["tunnel-address", "nobody-heard"]),
        ({**ALONE, "in_container": True}, ["nobody-heard", "in-container"]),
        # where others are heard or dialled, it is a network that has them
        ({"interfaces": eth0(name="docker0"), "joined": None}, []),
        ({"in_container": True}, []),
        ({"in_container": True, "heard": (), "peers": peer(why="seed")}, ["found-by-seeds"]),
        # members of loopback
        ({**LOOPBACK, "heard": ()}, ["loopback-address"]),
        ({**LOOPBACK, "heard": heard(host="127.0.0.1")}, ["loopback-address"]),
        (NO_ADDRESS, ["no-address"]),
        ({**NO_ADDRESS, "route_refuses": Failure("EACCES", "no")}, ["route-refuses"]),
        ({**NO_ADDRESS, "towards_group": "127.0.0.1"}, ["loopback-route"]),
        (
            {**NO_ADDRESS, "towards_group": None, "interfaces": (LO, ETH0, ETH1)},
            ["no-multicast-route"],
        ),
        # the route and the group
        ({"towards_group": None}, ["no-multicast-route"]),
        ({"towards_group": None, "route_refuses": Failure("EACCES", "no")}, []),
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
    changes: dict[str, Any] = {**ALONE, "in_container": True, "heard_itself": 0}
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


def test_an_address_on_two_interfaces_is_taken_from_the_other() -> None:
    twin = Interface("eth1", ("10.0.0.1/32",))
    changes: dict[str, Any] = {"interfaces": (LO, ETH0, twin), "joined": (Joined("eth1", GROUP),)}
    (finding,) = diagnosed(replace(WELL, **changes))
    assert finding.cause == "not-joined"
    assert finding.mend == ("ip address del 10.0.0.1/32 dev eth1",)
    assert finding.undo == ("ip address add 10.0.0.1/32 dev eth1",)


def test_a_limit_on_groups_is_raised_and_set_back() -> None:
    failed = Failure("ENOBUFS", "no room")
    (finding,) = diagnosed(replace(WELL, sockets_failed=failed, memberships_max=0))
    assert finding.cause == "cannot-join"
    assert finding.mend == ("sysctl -w net.ipv4.igmp_max_memberships=20",)
    assert finding.undo == ("sysctl -w net.ipv4.igmp_max_memberships=0",)
    (finding,) = diagnosed(replace(WELL, sockets_failed=Failure("EINVAL", "why"), joined=None))
    assert (finding.cause, finding.mend) == ("cannot-join", ())


def test_the_interfaces_that_other_hosts_see_are_named_instead_of_a_containers() -> None:
    interfaces = (LO, ETH1, Interface("tun0", ("10.8.0.2/32",), is_tunnel=True), *eth0())
    docker = Interface("docker0", ("172.17.0.1/16",))
    changes: dict[str, Any] = {**ALONE, "address": "172.17.0.1"}
    finding, _ = diagnosed(replace(WELL, interfaces=(docker, *interfaces), **changes))
    assert finding.mend == (
        "ip route replace 228.0.0.4/32 dev eth1",
        'bind="eth1" (REPLSESSION_BIND=eth1)',
        'bind="eth0" (REPLSESSION_BIND=eth0)',
    )
    # A route would not change what was asked for by name.
    named = replace(WELL, interfaces=(docker, *interfaces), asked=asked(bind="docker0"), **changes)
    finding, _ = diagnosed(named)
    assert finding.mend[0] == 'bind="eth1" (REPLSESSION_BIND=eth1)'
    assert finding.undo == ()
    finding, _ = diagnosed(replace(WELL, interfaces=(docker, LO), **changes))
    assert finding.mend[0].startswith('bind="…"')


def test_without_multicast_only_addresses_and_receivers_are_judged() -> None:
    without: dict[str, Any] = {"asked": asked(group="", port=0), "towards_group": None, **ALONE}
    assert diagnosed(replace(WELL, **without)) == ()
    assert causes({**without, "interfaces": eth0(has_multicast=False)}) == []
    assert causes({**without, "peers": peer(why="seed", answer="refused")}) == ["tcp-refused"]


def test_what_is_so_of_two_members_of_a_host_is_said_once() -> None:
    members = (OTHER, replace(OTHER, receivers=(4001,)))
    strangers = tuple(replace(one, kind="other key", key_id="01020304") for one in members)
    assert causes({"heard": strangers, "peers": ()}) == ["other-secret-or-name"]
