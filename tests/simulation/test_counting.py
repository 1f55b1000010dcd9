"""The checkers of counters and flashes: what they add up, and what they find."""

from __future__ import annotations

import cbor2
import pytest

from replsession.config import Limits
from replsession.identity import Key
from replsession.session import counter, flashes
from replsession.session.change import Change
from replsession.session.delta import COUNTER, REGISTER, Write
from replsession.session.flashes import Flash
from replsession.session.record import Record
from replsession.session.stamp import Stamp
from tests.simulation.checkers import NAMES, Copy, Failure
from tests.simulation.counting import exact, expected, messages
from tests.simulation.oracle import Counted, Oracle
from tests.simulation.test_checkers import node

KEY = Key("/", b"k" * 12)
ME, OTHER = b"m" * 8, b"o" * 8
BORN = Stamp(10, ME)
NOTHING = (0, b"")
ON_IT = (20, ME)
WAITS, GONE = b"waiting!", b"popped!!"


def oracle_of(*counts: Counted) -> Oracle:
    """Return an oracle that knows what was counted."""
    oracle = Oracle()
    oracle.born(KEY, BORN, {})
    oracle.wrote(KEY, Stamp(*ON_IT), {"hits": cbor2.dumps(100)}, 0)
    oracle.counted(KEY, list(counts))
    return oracle


def record_of(
    base: int | None, *totals: tuple[bytes, int, int], carried: int | None = None
) -> Record:
    """
    Return a record with a base and registers.

    Args:
        base: Its stamp is (20, ME).
        totals: Writer, clock value and total of each register.
        carried: What the registers say that was counted on, where the base itself is missing.
    """
    record = Record(KEY, BORN, 0.0, BORN, 0.0)
    record.complete = True
    if base is not None:
        record.attributes["hits"] = Write(*ON_IT, REGISTER, cbor2.dumps(base))
    counted_on = base if carried is None else carried
    epoch = b"" if counted_on is None else (20).to_bytes(8, "big") + ME
    for writer, hlc, total in totals:
        value = counter.encoded(counter.Count(epoch, total, counted_on))
        record.attributes[counter.register_of(writer, "hits")] = Write(hlc, writer, COUNTER, value)
    return record


def check(oracle: Oracle, record: Record, *alive: bytes) -> int:
    """Look at one member that holds this."""
    copies = [Copy("m", node(), {KEY: record})]
    return exact(copies, [KEY], oracle, dict.fromkeys(alive))


COUNTS = (
    Counted(Stamp(21, ME), "hits", 5, ON_IT),
    Counted(Stamp(22, OTHER), "hits", 7, ON_IT),
    Counted(Stamp(24, OTHER), "hits", 1, ON_IT),
    Counted(Stamp(15, ME), "hits", 1000, NOTHING),
)


def test_the_sum_is_that_of_the_living_on_the_present_base() -> None:
    oracle = oracle_of(*COUNTS)
    assert check(oracle, record_of(100, (ME, 21, 5), (OTHER, 24, 8)), ME, OTHER) == 3
    assert expected(oracle.stories[KEY], record_of(None), "hits", {ME: None}) == (105, 1)
    assert expected(oracle.stories[KEY], record_of(None), "hits", {}) == (None, 0)


def test_what_was_counted_on_is_known_by_its_counts_as_well() -> None:
    held = record_of(None, (ME, 21, 5), (OTHER, 24, 8), carried=100)
    assert check(oracle_of(*COUNTS), held, ME, OTHER) == 3
    assert check(oracle_of(*COUNTS), held) == 3


def test_of_the_dead_what_is_held_counts() -> None:
    oracle = oracle_of(*COUNTS)
    assert check(oracle, record_of(100, (ME, 21, 5), (OTHER, 22, 7)), ME) == 2
    assert check(oracle, record_of(100, (ME, 21, 5)), ME) == 1
    oracle.stories[KEY].unshared[OTHER] = None
    assert check(oracle, record_of(100, (ME, 21, 5)), ME, OTHER) == 1


@pytest.mark.parametrize(
    "record",
    [
        record_of(100, (ME, 21, 5)),
        record_of(100, (ME, 21, 5), (OTHER, 22, 7)),
        record_of(100, (ME, 21, 6), (OTHER, 24, 8)),
        record_of(100, (ME, 21, 5), (OTHER, 24, 1)),
        record_of(100),
        record_of(None, (ME, 21, 5), (OTHER, 24, 8)),
        record_of(None, (ME, 21, 5), (OTHER, 24, 8), carried=99),
    ],
)
def test_another_sum_is_found(record: Record) -> None:
    with pytest.raises(Failure) as caught:
        check(oracle_of(*COUNTS), record, ME, OTHER)
    assert caught.value.checker == "COUNT"
    assert caught.value.checker in NAMES


def flashed(record: Record, *ids: bytes) -> Record:
    """Put messages of ME into a record."""
    made = [Flash(id, "info", b"\x01") for id in ids]
    found = flashes.written({}, Stamp(30, ME), made, [], Limits())
    record.attributes[found.register] = Write(30, ME, REGISTER, found.value)
    return record


def look(record: Record, *alive: bytes) -> int:
    """Look for two messages of ME, of which the second one was popped through OTHER."""
    oracle = oracle_of()
    made = tuple(Flash(id, "info", b"\x01") for id in (WAITS, GONE))
    oracle.flashed(KEY, ME, Change(KEY, {}, flashed=made))
    oracle.flashed(KEY, OTHER, Change(KEY, {}, popped=(GONE,)))
    return messages([Copy("m", node(), {KEY: record})], [KEY], oracle, dict.fromkeys(alive))


def test_messages_that_wait_are_there_and_popped_ones_are_not() -> None:
    assert look(flashed(record_of(1), WAITS), ME, OTHER) == 2
    # Of the dead nobody knows.
    assert look(flashed(record_of(1), WAITS, GONE), ME) == 1
    assert look(record_of(1)) == 0


@pytest.mark.parametrize("ids", [(), (GONE,), (WAITS, GONE)])
def test_a_message_that_is_gone_or_back_is_found(ids: tuple[bytes, ...]) -> None:
    with pytest.raises(Failure) as caught:
        look(flashed(record_of(1), *ids), ME, OTHER)
    assert caught.value.checker == "FLASH"
    assert caught.value.checker in NAMES
