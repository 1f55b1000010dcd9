"""What macOS prints: the form of recorded output, shortened and with addresses of our own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from replsession.cli.doctor import macos
from replsession.cli.doctor.diagnosis import diagnosed
from replsession.cli.doctor.facts import Facts, Failure, Interface
from tests.cli.doctor.situations import WELL

IFCONFIG = """\
lo0: flags=8049<UP,LOOPBACK,RUNNING,MULTICAST> mtu 16384
\tinet 127.0.0.1 netmask 0xff000000\x20
\tinet6 ::1 prefixlen 128\x20
stf0: flags=0<> mtu 1280
en0: flags=8863<UP,BROADCAST,SMART,RUNNING,SIMPLEX,MULTICAST> mtu 1500
\tether 02:00:00:00:00:01\x20
\tinet 10.0.0.1 netmask 0xffffff00 broadcast 10.0.0.255
\tinet 10.0.0.9 netmask 0xffffffff broadcast 10.0.0.9
\tmedia: autoselect
\tstatus: active
en1: flags=8822<BROADCAST,SMART,SIMPLEX,MULTICAST> mtu 1500
\tinet 10.1.0.1 netmask 0xffff0000 broadcast 10.1.255.255
\tmedia: autoselect <full-duplex>
\tstatus: inactive
bridge0: flags=8863<UP,BROADCAST,SMART,RUNNING,SIMPLEX,MULTICAST> mtu 1500
\tmember: en1 flags=3<LEARNING,DISCOVER>
\tstatus: inactive
utun0: flags=8051<UP,POINTOPOINT,RUNNING,MULTICAST> mtu 1380
\tinet 10.8.0.2 --> 10.8.0.1 netmask 0xffffffff
"""


def mac(**changes: object) -> Facts:
    facts = replace(WELL, platform="darwin", interfaces=macos.interfaces_in(IFCONFIG), joined=None)
    return replace(facts, **changes)  # type: ignore[arg-type]


def test_interfaces_are_read() -> None:
    assert macos.interfaces_in(IFCONFIG) == (
        Interface("lo0", ("127.0.0.1/8",), is_loopback=True),
        Interface("stf0", is_up=False, has_multicast=False),
        Interface("en0", ("10.0.0.1/24", "10.0.0.9/32")),
        Interface("en1", ("10.1.0.1/16",), is_up=False, has_carrier=False),
        Interface("bridge0", has_carrier=False),
        Interface("utun0", ("10.8.0.2/32",), is_tunnel=True),
    )
    assert macos.interfaces_in("") == ()


def test_without_the_command_they_are_not_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(macos, "COMMAND", (str(tmp_path / "ifconfig"), "-a"))
    assert macos.interfaces() == ()


def test_the_command_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    recorded = tmp_path / "recorded"
    recorded.write_text(IFCONFIG)
    monkeypatch.setattr(macos, "COMMAND", ("cat", str(recorded)))
    assert macos.interfaces() == macos.interfaces_in(IFCONFIG)


def test_where_all_is_well_nothing_is_found() -> None:
    assert diagnosed(mac()) == ()


def test_a_route_is_made_with_its_own_command() -> None:
    (finding,) = diagnosed(mac(towards_group=None))
    assert finding.cause == "no-multicast-route"
    assert finding.mend[0] == "sudo route -nv add -net 228.0.0.4 -interface en0"
    assert finding.undo == ("sudo route -nv delete -net 228.0.0.4 -interface en0",)


def test_an_interface_is_set_up_with_its_own_command() -> None:
    facts = mac(address=None, no_address="why not", asked=replace(WELL.asked, bind="en1"))
    (finding,) = diagnosed(facts)
    assert (finding.cause, finding.mend) == ("interface-down", ("sudo ifconfig en1 up",))
    assert finding.undo == ("sudo ifconfig en1 down",)


def test_the_firewall_is_its_own() -> None:
    (finding,) = diagnosed(mac(heard_itself=0))
    assert finding.cause == "firewall-in"
    assert "socketfilterfw --add" in finding.mend[0]
    assert "socketfilterfw --remove" in finding.undo[0]
    (finding,) = diagnosed(mac(send_failed=Failure("EPERM", "not permitted")))
    assert (finding.cause, finding.mend) == ("firewall-out", ("sudo pfctl -s rules",))
