"""Deltas: who wrote one, and what two of them say together."""

from __future__ import annotations

import pytest
from hypothesis import given

from replsession.identity import Key
from replsession.session.delta import REGISTER, Delta, Write, joined, may_join
from replsession.session.record import Record
from replsession.session.stamp import Stamp
from tests.strategies import KEY, MEMBERS, Life, lives, stream_deltas

A, B, _ = MEMBERS
BORN = Stamp(10, A)


def stream(since: int, hlc: int, *names: str, member: bytes = A, value: bytes = b"\x01") -> Delta:
    """A delta of one member that writes some names."""
    written = {name: Write(hlc, member, REGISTER, value) for name in names}
    return Delta(KEY, BORN, since, {member: hlc}, written, 5.0, Stamp(hlc, member), 0.0)


def tombstone(hlc: int) -> Delta:
    """The end of the session."""
    end = Stamp(hlc, A)
    return Delta(KEY, BORN, None, {}, {}, 5.0, end, 0.0, destroyed=end)


@given(stream_deltas)
def test_the_writer_is_the_one_member_of_the_version(delta: Delta) -> None:
    assert {delta.writer.member: delta.writer.hlc} == delta.version
    assert delta.writer == delta.access


def test_a_whole_record_without_a_version_has_no_writer() -> None:
    with pytest.raises(AssertionError):
        assert tombstone(5).writer


def test_two_deltas_are_joined_into_one_with_the_first_since() -> None:
    both = joined(stream(7, 20, "a", "b"), stream(20, 30, "b", "c", value=b"\x02"))

    assert both.since == 7
    assert both.writer == Stamp(30, A)
    assert {name: write.hlc for name, write in both.attributes.items()} == {
        "a": 20,
        "b": 30,
        "c": 30,
    }
    assert both.attributes["b"].value == b"\x02"


def joinable(life: Life) -> list[tuple[Delta, Delta]]:
    """Each two deltas of one writer that follow one another."""
    streams = [delta for delta in life.travelled if delta.since is not None]
    return [
        (first, second)
        for first in streams
        for second in streams
        if first.writer.member == second.writer.member and second.since == first.writer.hlc
    ]


@given(lives(may_end=False))
def test_the_joined_delta_does_what_both_did(life: Life) -> None:
    for first, second in joinable(life):
        one_by_one = Record.from_delta(life.travelled[0], life.now)
        at_once = Record.from_delta(life.travelled[0], life.now)
        for delta in life.travelled[: life.travelled.index(first)]:
            one_by_one.merge(delta, life.now)
            at_once.merge(delta, life.now)
        one_by_one.merge(first, life.now)
        one_by_one.merge(second, life.now)
        at_once.merge(joined(first, second), life.now)

        assert at_once.attributes == one_by_one.attributes
        assert at_once.version == one_by_one.version


@pytest.mark.parametrize("first_ends", [True, False])
@pytest.mark.parametrize("second_ends", [True, False])
def test_the_end_of_a_session_stands_for_everything(first_ends: bool, second_ends: bool) -> None:
    first = tombstone(20) if first_ends else stream(7, 20, "a")
    second = tombstone(30) if second_ends else stream(20, 30, "b")
    both = joined(first, second)

    if not first_ends and not second_ends:
        assert both.destroyed is None
        return
    assert both == (second if second_ends else first)


def test_deltas_of_different_sessions_are_never_joined() -> None:
    other = stream(20, 30, "a")._replace(key=Key("/other", KEY.locator))
    with pytest.raises(AssertionError):
        joined(stream(7, 20, "a"), other)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (stream(7, 20, "a"), stream(20, 30, "b"), True),
        (stream(7, 20, "a"), stream(20, 30, "b", member=B), False),
        (stream(7, 20, "a"), tombstone(30), True),
        (tombstone(20), stream(20, 30, "b", member=B), True),
    ],
    ids=["one writer", "two writers", "its end", "after its end"],
)
def test_only_deltas_of_one_writer_are_joined(first: Delta, second: Delta, expected: bool) -> None:
    assert may_join(first, second) is expected
