"""Flashes: what a writer keeps, what is shown of all of it, and what is forgotten."""

from __future__ import annotations

import cbor2
import pytest

from replsession.config import Limits
from replsession.session.codec import encode
from replsession.session.delta import REGISTER, Write
from replsession.session.flashes import (
    HEAD_BYTES,
    ID_BYTES,
    PREFIX,
    Flash,
    register_of,
    shown,
    written,
)
from replsession.session.record import RESERVED_PREFIX
from replsession.session.stamp import Stamp
from tests.strategies import MEMBERS

A, B, C = MEMBERS
Attributes = dict[str, Write]


def made(text: str, category: str = "message") -> Flash:
    """Return a message that is its own id."""
    return Flash(text.encode().ljust(ID_BYTES), category, encode("", text))


def after(
    attributes: Attributes,
    hlc: int,
    writer: bytes,
    *texts: str,
    popped: tuple[str, ...] = (),
    limits: Limits | None = None,
) -> Attributes:
    """Let a writer flash and pop, and return what there is then."""
    ids = [made(text).id for text in popped]
    flashed = [made(text) for text in texts]
    found = written(attributes, Stamp(hlc, writer), flashed, ids, limits or Limits())
    return {**attributes, found.register: Write(hlc, writer, REGISTER, found.value)}


def texts(attributes: Attributes) -> list[str]:
    """The messages that wait."""
    return [flash.id.decode().strip() for flash in shown(attributes)]


def test_the_register_is_as_it_is_written_down() -> None:
    found = written({}, Stamp(7, B), [made("saved", "info")], [], Limits())
    assert (found.register, found.dropped) == ("\0!0202020202020202", 0)
    assert found.register == register_of(B) and PREFIX.startswith(RESERVED_PREFIX)
    assert found.value is not None
    assert cbor2.loads(found.value) == [
        [[b"\0" * 7 + b"\x07", b"saved   ", "info", encode("", "saved")]],
        [],
    ]


def test_they_are_shown_in_the_order_of_their_commits() -> None:
    attributes = after({}, 20, B, "third", "fourth")
    attributes = after(attributes, 10, A, "first", "second")
    attributes = after(attributes, 20, C, "fifth")
    assert texts(attributes) == ["first", "second", "third", "fourth", "fifth"]
    assert [flash.category for flash in shown(attributes)] == ["message"] * 5


def test_what_is_popped_is_gone_and_the_rest_stays() -> None:
    attributes = after(after({}, 10, A, "a", "b"), 11, B, "c", "d")
    attributes = after(attributes, 12, B, popped=("a", "d"))
    assert texts(attributes) == ["b", "c"]
    # Once more, and what was never there.
    assert texts(after(attributes, 13, C, popped=("a", "b", "x"))) == ["c"]


def test_a_message_that_comes_while_others_are_popped_stays() -> None:
    before = after({}, 10, A, "seen")
    flashed, popped = after(before, 20, A, "unseen"), after(before, 30, B, popped=("seen",))
    together = {**flashed, **popped}
    together[register_of(A)] = flashed[register_of(A)]
    assert texts(together) == ["unseen"]


def test_the_same_may_be_flashed_and_popped_in_one_commit() -> None:
    attributes = after({}, 10, A, "old")
    assert texts(after(attributes, 11, A, "new", popped=("old",))) == ["new"]


def test_nothing_is_left_of_what_was_popped() -> None:
    attributes = after(after({}, 10, A, "a"), 11, B, "b")
    attributes = after(attributes, 12, B, popped=("a", "b"))
    # Its own is gone at once; that of another one is remembered until it is gone.
    assert cbor2.loads(attributes[register_of(B)].value or b"") == [[], [made("a").id]]
    attributes = after(attributes, 13, A, "c")
    attributes = after(attributes, 14, B, popped=("c",))
    assert cbor2.loads(attributes[register_of(B)].value or b"") == [[], [made("c").id]]
    attributes = after(attributes, 15, A, popped=("c",))
    assert attributes[register_of(A)].value is None
    assert after(attributes, 16, B, popped=())[register_of(B)].value is None


def test_of_too_many_the_oldest_go_whoever_has_them() -> None:
    limits = Limits(flashes_max=3)
    attributes = after({}, 10, A, "1", "2", limits=limits)
    found = written(attributes, Stamp(11, B), [made(t) for t in "345"], [], limits)
    assert found.dropped == 2
    attributes[found.register] = Write(11, B, REGISTER, found.value)
    assert texts(attributes) == ["3", "4", "5"]
    assert texts(after(attributes, 12, B, *"abcdef", limits=limits)) == ["d", "e", "f"]


def test_one_register_has_no_more_bytes_than_a_value_may_have() -> None:
    limits = Limits(value_bytes_max=3 * (HEAD_BYTES + 16))
    attributes = after({}, 10, A, *"abc", limits=limits)
    found = written(attributes, Stamp(11, A), [made("d" * 8)], [], limits)
    attributes[found.register] = Write(11, A, REGISTER, found.value)
    assert (found.dropped, texts(attributes)) == (1, ["b", "c", "dddddddd"])
    # The newest stays, however long it is.
    tiny = Limits(value_bytes_max=1)
    assert texts(after(attributes, 12, A, "last", limits=tiny)) == ["last"]


def test_what_stands_around_a_message_is_counted() -> None:
    flash = made("x" * 8, "ä" * 10)
    value = written({}, Stamp(2**63 - 1, A), [flash, flash], [], Limits()).value
    assert value is not None
    assert flash.size == len(flash.message) + 20 + HEAD_BYTES
    assert 2 * flash.size >= len(value) - 3


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xff",
        cbor2.dumps(None),
        cbor2.dumps([[], [], []]),
        cbor2.dumps([[1, [2], [1, b"b", "c", b"d"], [b"a", b"b", "c", "d"]], [1, "a"]]),
        cbor2.dumps(["ab", b"cd"]),
        cbor2.dumps(cbor2.CBORTag(4711, [[], []])),
    ],
)
def test_a_register_that_cannot_be_read_shows_nothing_and_hurts_nobody(value: bytes) -> None:
    attributes = after({}, 10, A, "a")
    attributes[register_of(B)] = attributes["\0!"] = Write(11, B, REGISTER, value)
    assert texts(attributes) == ["a"]
    assert texts(after(attributes, 12, B, "b", popped=("a",))) == ["b"]
