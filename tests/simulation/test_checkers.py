"""Each checker by itself: what it takes, and what it finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest

from replsession.config import Limits, NodeConfig
from replsession.events import Member, SessionChanged
from replsession.identity import Address, Key
from replsession.messages import RecordDigests
from replsession.node import Node
from replsession.session.delta import REGISTER, Delta, Write
from replsession.session.record import Record
from replsession.session.stamp import Stamp
from tests.simulation import checkers
from tests.simulation.checkers import NAMES, Copy, Failure
from tests.simulation.oracle import Oracle, Written, greatest_in

KEY = Key("/", b"k" * 12)
ME, OTHER = b"m" * 8, b"o" * 8
BORN = Stamp(10, ME)


def record_with(*writes: tuple[str, int, bytes], complete: bool = True) -> Record:
    """Return a record with writes of one member."""
    record = Record(KEY, BORN, 0.0, BORN, 0.0)
    record.complete = complete
    record.attributes = {name: Write(hlc, ME, REGISTER, value) for name, hlc, value in writes}
    return record


def ended() -> Record:
    """Return the tombstone of the session."""
    record = record_with()
    record.destroy(Stamp(99, ME), 0.0)
    return record


def oracle_of(*writes: tuple[str, int, bytes]) -> Oracle:
    """Return an oracle that knows a session, born with ``a``, and further writes to it."""
    oracle = Oracle()
    oracle.born(KEY, BORN, {"a": b"0"})
    for name, hlc, value in writes:
        oracle.wrote(KEY, Stamp(hlc, ME), {name: value}, read=0)
    return oracle


def node(*, ready: bool = True) -> Node:
    """Return a node that is alone."""
    me = Member(ME, "m", 1, Address("127.0.0.1", 4000))
    return Node(NodeConfig(), me, Random(1), 0.0, 0.0, alone=ready)


def copy_of(*records: Record, name: str = "m") -> Copy:
    """Return what a member holds."""
    return Copy(name, node(), {record.key: record for record in records})


def fails(checker: str, call: Callable[[], Any]) -> None:
    """Assert that this checker finds something."""
    with pytest.raises(Failure) as caught:
        call()
    assert caught.value.checker == checker
    assert checker in NAMES


def test_real() -> None:
    oracle = oracle_of(("a", 20, b"1"))
    checkers.real(oracle, "m", record_with(("a", 20, b"1")))
    fails("REAL", lambda: checkers.real(oracle, "m", record_with(("a", 21, b"1"))))
    fails("REAL", lambda: checkers.real(oracle, "m", record_with(("a", 20, b"2"))))
    fails("REAL", lambda: checkers.real(oracle, "m", record_with(("b", 20, b"1"))))
    fails("REAL", lambda: checkers.real(Oracle(), "m", record_with()))


def test_honest() -> None:
    oracle = oracle_of(("a", 20, b"1"))
    record = record_with(("a", 10, b"0"))
    record.version = {ME: 19}
    checkers.honest(oracle, "m", record)
    record.version = {ME: 20}
    fails("HONEST", lambda: checkers.honest(oracle, "m", record))
    record.attributes["a"] = Write(30, OTHER, REGISTER, b"2")
    checkers.honest(oracle, "m", record)


def test_partial() -> None:
    oracle = oracle_of(("b", 20, b"1"))
    without_birth = record_with(("b", 20, b"1"))
    fails("PARTIAL", lambda: checkers.partial(oracle, "m", without_birth))
    checkers.partial(oracle, "m", record_with(("b", 20, b"1"), complete=False))
    checkers.partial(oracle, "m", record_with(("a", 10, b"0")))


def test_resurrect() -> None:
    oracle = oracle_of()
    alive = record_with(("a", 10, b"0"))
    checkers.resurrect(oracle, "m", node(), alive)
    oracle.saw(ME, ended())
    fails("RESURRECT", lambda: checkers.resurrect(oracle, "m", node(), alive))
    checkers.resurrect(oracle, "m", node(ready=False), alive)
    fails("RESURRECT", lambda: checkers.stay_dead([copy_of(alive)], [KEY]))
    checkers.stay_dead([copy_of(ended())], [KEY])


def test_an_end_that_nobody_asked_for_is_a_burial() -> None:
    oracle = oracle_of()
    oracle.saw(ME, ended())
    assert oracle.stories[KEY].buried
    oracle = oracle_of()
    oracle.ended(KEY, Stamp(99, ME))
    oracle.saw(ME, ended())
    assert not oracle.stories[KEY].buried


def test_bounds() -> None:
    some = node()
    checkers.bounds("m", some)
    some.intake.stale.append(ended())
    fails("BOUNDS", lambda: checkers.bounds("m", some))
    checkers.awake("m", 100, 10.0)
    fails("BOUNDS", lambda: checkers.awake("m", 1000, 10.0))


def test_bounds_of_what_one_message_of_repair_tells() -> None:
    limits = Limits(repair_digests_max=1)
    other = Key("/shop", KEY.locator)
    few = RecordDigests(1, 1, None, (1, 2), {KEY: 5})
    one_leaf = RecordDigests(1, 1, None, (1,), {KEY: 5, other: 6})
    checkers.few_digests("m", few, limits)
    checkers.few_digests("m", one_leaf, limits)
    many = replace(one_leaf, leaves=(1, 2))
    fails("BOUNDS", lambda: checkers.few_digests("m", many, limits))


def test_acks() -> None:
    applier = node()
    delta = Delta(KEY, BORN, 0, {ME: 10}, {"a": Write(10, ME, REGISTER, b"0")}, 0.0, BORN, 0.0)
    batch = [delta]
    oracle = oracle_of()
    fails("ACKS", lambda: checkers.acknowledged(oracle, "o", applier, batch, 60.0))
    record = record_with(("a", 9, b"0"))
    applier.store.add(record)
    fails("ACKS", lambda: checkers.acknowledged(oracle, "o", applier, batch, 60.0))
    record.merge(delta, 0.0)
    checkers.acknowledged(oracle, "o", applier, batch, 60.0)
    end = delta._replace(since=None, destroyed=Stamp(99, ME))
    fails("ACKS", lambda: checkers.acknowledged(oracle, "o", applier, [end], 60.0))
    old = end._replace(destroyed_age_s=60.0)
    checkers.acknowledged(oracle, "o", applier, [old], 60.0)


def test_causal() -> None:
    checkers.causal("m", KEY, Written(Stamp(21, ME), {}, 20))
    fails("CAUSAL", lambda: checkers.causal("m", KEY, Written(Stamp(20, ME), {}, 20)))
    record = record_with(("a", 20, b"1"))
    record.version = {OTHER: 30}
    assert greatest_in(record) == 30


def test_heard() -> None:
    def event(*, created: bool = False, destroyed: bool = False) -> SessionChanged:
        return SessionChanged(KEY, b"", created, destroyed, ())

    def hears(*events: SessionChanged) -> None:
        before: dict[Any, list[str]] = {}
        for heard in events:
            checkers.heard(before, "m", ME, heard)

    hears(event(created=True), event(), event(destroyed=True))
    hears(event(), event(destroyed=True))
    fails("HEARD", lambda: hears(event(created=True), event(created=True)))
    fails("HEARD", lambda: hears(event(destroyed=True), event(destroyed=True)))


def test_ready() -> None:
    checkers.ready([copy_of()])
    waiting = Copy("m", node(ready=False), {})
    fails("READY", lambda: checkers.ready([waiting]))
    fails("READY", lambda: checkers.ready([copy_of(), copy_of(name="n")]))


def test_agree() -> None:
    one, other = record_with(("a", 10, b"0")), record_with(("a", 20, b"1"))
    checkers.agree([copy_of(one), copy_of(one), copy_of(one)])
    fails("AGREE", lambda: checkers.agree([copy_of(one), copy_of(one), copy_of(other)]))
    fails("AGREE", lambda: checkers.agree([copy_of(one), copy_of()]))
    fails("AGREE", lambda: checkers.agree([copy_of(ended()), copy_of(one)]))
    checkers.agree([copy_of(ended()), copy_of()])


def test_newest() -> None:
    due = {KEY: {"a": Stamp(20, ME)}}
    checkers.newest([copy_of(record_with(("a", 20, b"1")))], due)
    checkers.newest([copy_of(record_with(("a", 21, b"1")))], due)
    fails("NEWEST", lambda: checkers.newest([copy_of(record_with(("a", 19, b"1")))], due))
    fails("NEWEST", lambda: checkers.newest([copy_of(record_with())], due))


def test_newest_is_of_writers_that_live_and_of_copies_that_are_held() -> None:
    oracle = oracle_of(("a", 20, b"1"))
    held = record_with(("a", 10, b"0"))
    assert oracle.newest(KEY, {ME: None}, [held]) == {"a": Stamp(20, ME)}
    assert oracle.newest(KEY, {OTHER: None}, [held]) == {"a": Stamp(10, ME)}
    assert oracle.newest(KEY, {OTHER: None}, []) == {}


def test_lost() -> None:
    due: dict[Key, dict[str, Stamp]] = {KEY: {}}
    oracle = oracle_of()
    checkers.lost([copy_of(record_with())], due, oracle)
    fails("LOST", lambda: checkers.lost([copy_of()], due, oracle))
    oracle.ended(KEY, Stamp(99, ME))
    checkers.lost([copy_of()], due, oracle)


@pytest.mark.parametrize(
    ("member", "hlc", "may_bury"), [(ME, 11, True), (ME, 9, False), (OTHER, 11, False)]
)
def test_burying(member: bytes, hlc: int, may_bury: bool) -> None:
    oracle = oracle_of()
    checkers.buried(oracle, is_long=False)
    oracle.saw(ME, ended())
    other = Key("/", b"x" * 12)
    oracle.born(other, Stamp(hlc, member), {})
    fails("LOST", lambda: checkers.buried(oracle, is_long=True))
    oracle.ended(other, Stamp(99, ME))
    fails("LOST", lambda: checkers.buried(oracle, is_long=False))
    if may_bury:
        checkers.buried(oracle, is_long=True)
    else:
        fails("LOST", lambda: checkers.buried(oracle, is_long=True))


def test_leak() -> None:
    checkers.leak([copy_of(record_with())])
    fails("LEAK", lambda: checkers.leak([copy_of(record_with(), ended())]))


def test_quiet() -> None:
    some = node()
    before = checkers.stillness(some)
    checkers.quiet("m", before, checkers.stillness(some))
    some.metrics.deltas_sent += 1
    fails("QUIET", lambda: checkers.quiet("m", before, checkers.stillness(some)))


def test_gaps() -> None:
    copy = copy_of()
    checkers.gaps([copy])
    copy.node.metrics.gaps += 1
    fails("GAPS", lambda: checkers.gaps([copy]))


def test_served_is_what_a_request_would_find() -> None:
    assert checkers.is_served(record_with())
    assert not checkers.is_served(record_with(complete=False))
    assert not checkers.is_served(ended())
    asleep = cast(Record, SimpleNamespace(complete=True, destroyed=None, asleep=True))
    assert not checkers.is_served(asleep)


def test_who_is_seen_through_others_only_is_not_met_again() -> None:
    one, other = copy_of(), Copy("o", node(), {})
    other.node.me = Member(OTHER, "o", 2, Address("127.0.0.1", 4001), True)
    for here, there in ((one, other), (other, one)):
        me = there.node.me
        here.node.membership.view.put(Member(me.id, me.name, me.incarnation, me.address, True))
    checkers.ready([one, other])
    one.node.membership.view.set_unreachable(OTHER, b"t" * 8)
    fails("READY", lambda: checkers.ready([one, other]))


def test_suspicion_ends() -> None:
    here = node()
    part = here.membership
    part.view.put(Member(OTHER, "o", 2, Address("127.0.0.1", 4001)))
    part.suspicions.doubt(OTHER, "connection reset", 0.0)
    here._now = here.timing.suspect_s + 0.2
    checkers.members("m", here)
    here._now = here.timing.suspect_s + 0.3
    fails("BOUNDS", lambda: checkers.members("m", here))


def test_who_said_goodbye_stays_away() -> None:
    here = node()
    part = here.membership
    part.departed[OTHER] = None
    checkers.members("m", here)
    part.view.put(Member(OTHER, "o", 2, Address("127.0.0.1", 4001)))
    fails("GONE", lambda: checkers.members("m", here))
    part.view.remove(OTHER)
    part.dialling.up(OTHER, Address("127.0.0.1", 4001), 0.0)
    fails("GONE", lambda: checkers.members("m", here))


def test_what_neighbours_say_is_kept_of_those_in_view_only() -> None:
    here = node()
    here.membership.linked_with[OTHER] = {}
    fails("BOUNDS", lambda: checkers.members("m", here))
