"""What the facts say of themselves."""

from __future__ import annotations

from dataclasses import replace

from tests.cli.doctor.situations import ETH0, LO, OTHER, WELL, heard


def test_an_interface_knows_its_networks() -> None:
    assert (ETH0.has("10.0.0.1"), ETH0.has("10.0.0.2")) == (True, False)
    assert (ETH0.reaches("10.0.0.200"), ETH0.reaches("10.0.1.1")) == (True, False)


def test_the_interface_is_that_of_the_address() -> None:
    assert WELL.interface == ETH0
    assert replace(WELL, address="127.0.0.1").interface == LO
    assert replace(WELL, address="10.9.9.9").interface is None
    assert replace(WELL, address=None).interface is None


def test_elsewhere_is_in_no_network_of_this_host() -> None:
    assert WELL.is_elsewhere("10.9.0.2") and not WELL.is_elsewhere("10.0.0.77")
    assert not WELL.is_elsewhere("members.internal")
    # Where the system does not tell its networks, nobody is said to be elsewhere.
    assert not replace(WELL, interfaces=()).is_elsewhere("10.9.0.2")


def test_others_are_not_of_this_host() -> None:
    facts = replace(WELL, heard=(OTHER, *heard(host="10.0.0.1"), *heard(kind="tomcat")))
    assert facts.others("ours") == (OTHER,)
    assert facts.is_own("127.0.0.1") and not facts.is_own("10.0.0.2")


def test_strangers_may_be_on_this_host() -> None:
    stranger = heard(host="10.0.0.1", kind="other key")
    assert replace(WELL, heard=(OTHER, *stranger)).of_strangers() == stranger


def test_a_silence_is_as_long_as_that_of_a_dead_member() -> None:
    facts = replace(WELL, asked=replace(WELL.asked, seconds=8.0))
    assert facts.fell_silent(*heard(last_s=4.9))
    assert not facts.fell_silent(*heard(last_s=5.0))
    assert not facts.fell_silent(*heard(last_s=1.0, datagrams=2))


def test_who_sends_seldom_is_missed_late() -> None:
    facts = replace(WELL, asked=replace(WELL.asked, seconds=60.0))
    # Every ten seconds: four of them must be missing.
    assert not facts.fell_silent(*heard(first_s=0.0, last_s=20.0, datagrams=3))
    facts = replace(WELL, asked=replace(WELL.asked, seconds=61.0))
    assert facts.fell_silent(*heard(first_s=0.0, last_s=20.0, datagrams=3))
