"""The witness by itself: what it remembers, what it takes, and what it finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from replsession.config import NodeConfig
from replsession.events import Member, StateReceived, StateRequested
from replsession.identity import Address, Key
from replsession.node import Node
from replsession.session.delta import REGISTER, Write
from replsession.session.record import Record
from replsession.session.stamp import Stamp
from tests.simulation.checkers import Failure
from tests.simulation.oracle import Oracle
from tests.simulation.witness import Witness, held_by, in_all

ME, OTHER, THIRD = b"m" * 8, b"o" * 8, b"t" * 8
KEY, SECOND = Key("/", b"k" * 12), Key("/", b"s" * 12)
BORN = Stamp(10, ME)


def record_with(hlc: int, key: Key = KEY) -> Record:
    """Return a record with one attribute."""
    record = Record(key, BORN, 0.0, BORN, 0.0)
    record.complete = True
    record.attributes = {"a": Write(hlc, ME, REGISTER, b"1")}
    return record


def node(member: bytes, *records: Record) -> Node:
    """Return a node that is alone, and holds these."""
    me = Member(member, member[:1].decode(), 1, Address("127.0.0.1", 4000))
    made = Node(NodeConfig(), me, Random(1), 0.0, 0.0, alone=True)
    for record in records:
        made.store.add(record)
    return made


def witness(of: Node, *others: Node) -> Witness:
    """Return a witness of a node that has just started."""
    oracle = Oracle()
    oracle.born(KEY, BORN, {})
    by_id = {other.me.id: other for other in others}
    return Witness(oracle, of, "m", by_id.get, list(others))


def fails(checker: str, call: Callable[[], Any]) -> None:
    """Assert that this checker finds something."""
    with pytest.raises(Failure) as caught:
        call()
    assert caught.value.checker == checker


def received(looks: Witness, *donors: Node) -> None:
    """Tell that the state came from these donors, one after the other."""
    for donor in donors:
        looks.told(StateRequested(donor.me))
    looks.told(StateReceived(donors[-1].me, 0, 0.0, {}, {}))


def finish(looks: Witness, one: Node, other: Node, meanwhile: Callable[[], None]) -> None:
    """Begin a round between two nodes, let something happen, and say that the round is over."""
    running = one.repairer.rounds.begin(other.me.id, "o", 0.0)
    looks.look()
    meanwhile()
    one.repairer._finish(running)
    looks.look()


def nothing() -> None:
    """Let nothing happen."""


def test_what_is_over_or_asleep_is_not_held() -> None:
    asleep, ended = record_with(10, SECOND), record_with(10, Key("/x", KEY.locator))
    asleep.asleep = True
    ended.destroy(Stamp(20, ME), 0.0)

    assert held_by(node(ME, record_with(10), asleep, ended)) == {KEY: {"a": (10, ME)}}


def test_what_is_in_all_is_the_least_of_it() -> None:
    one = {KEY: {"a": (10, ME), "b": (12, ME)}, SECOND: {"a": (10, ME)}}
    other = {KEY: {"a": (9, ME), "b": (20, ME), "c": (1, ME)}}

    assert in_all([one]) == one
    assert in_all([one, other]) == {KEY: {"a": (9, ME), "b": (12, ME)}}
    assert in_all([other, one]) == {}


def test_state_is_all_that_its_donors_held() -> None:
    donor = node(OTHER, record_with(10))
    received(witness(node(ME, record_with(10)), donor), donor)
    received(witness(node(ME, record_with(11)), donor), donor)
    fails("STATE", lambda: received(witness(node(ME), donor), donor))
    fails("STATE", lambda: received(witness(node(ME, record_with(9)), donor), donor))


def test_state_of_two_donors_is_what_both_held() -> None:
    first, second = node(OTHER, record_with(10)), node(THIRD, record_with(9))
    both = (first, second)
    received(witness(node(ME, record_with(9)), *both), *both)
    fails("STATE", lambda: received(witness(node(ME), *both), *both))
    received(witness(node(ME), first, node(THIRD)), first, node(THIRD))


def test_state_of_a_donor_that_was_not_there_is_not_looked_at() -> None:
    there, later = node(OTHER, record_with(10)), node(THIRD, record_with(10))
    received(witness(node(ME), there), later)
    fails("STATE", lambda: received(witness(node(ME), later), later))


def test_what_a_donor_wrote_later_or_dropped_is_not_due() -> None:
    donor = node(OTHER, record_with(10))
    looks = witness(node(ME, record_with(10)), donor)
    donor.store.add(record_with(10, SECOND))
    received(looks, donor)
    looks = witness(node(ME, record_with(10)), donor)
    donor.store.drop(record_with(10, SECOND))
    received(looks, donor)


def test_what_the_joiner_knows_to_have_ended_is_not_due() -> None:
    donor, joiner = node(OTHER, record_with(10)), node(ME)
    looks = witness(joiner, donor)
    ended = record_with(10)
    ended.destroy(Stamp(20, ME), 0.0)
    looks.oracle.saw(ME, ended)
    received(looks, donor)
    joiner.store.add(ended)
    received(witness(joiner, donor), donor)


@pytest.mark.parametrize(
    ("mine", "theirs", "exact"),
    [(10, 10, True), (10, 9, False), (9, 10, False), (None, 10, False), (10, None, False)],
)
def test_a_round_brings_both_what_the_other_held(
    mine: int | None, theirs: int | None, exact: bool
) -> None:
    one, other = (
        node(member, *(() if hlc is None else (record_with(hlc),)))
        for member, hlc in ((ME, mine), (OTHER, theirs))
    )
    looks = witness(one, other)
    if exact:
        finish(looks, one, other, nothing)
    else:
        fails("EXACT", lambda: finish(looks, one, other, nothing))


def test_what_is_written_after_a_round_began_is_not_due() -> None:
    one, other = node(ME, record_with(10)), node(OTHER, record_with(10))
    finish(witness(one, other), one, other, lambda: one.store.add(record_with(10, SECOND)))


def test_a_round_that_was_given_up_owes_nothing() -> None:
    one, other = node(ME, record_with(10)), node(OTHER)
    looks = witness(one, other)
    one.repairer.rounds.begin(OTHER, "o", 0.0)
    looks.look()
    one.repairer.rounds.give_up(1.0)
    looks.look()
    other.store.add(record_with(10))
    finish(looks, one, other, nothing)


def test_a_partner_that_is_gone_is_not_looked_at() -> None:
    one, other = node(ME, record_with(10)), node(OTHER)
    finish(replace(witness(one, other), find=lambda member: None), one, other, nothing)


@pytest.mark.parametrize("when", ["meanwhile", "before", "never"])
@pytest.mark.parametrize("what", ["slept", "dropped"])
@pytest.mark.parametrize("who", [ME, OTHER])
def test_what_one_of_both_hid_meanwhile_is_not_due_though_it_is_back(
    who: bytes, what: str, when: str
) -> None:
    one, other = node(ME, record_with(9)), node(OTHER, record_with(10))
    looks = witness(one, other)

    def hide(at: str) -> None:
        if when == at:
            getattr(looks.oracle, what)(who, KEY)

    hide("before")
    if when == "meanwhile":
        finish(looks, one, other, lambda: hide("meanwhile"))
    else:
        fails("EXACT", lambda: finish(looks, one, other, nothing))
