"""The sleeping: how many bytes they take, and who has slept longest."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from replsession.identity import Key
from replsession.session.sleeping import TIDY_FROM, Sleepers
from tests.strategies import rngs


def key(number: int) -> Key:
    """The key of a session."""
    return Key("/", bytes([number]) * 12)


def test_nobody_sleeps_at_first() -> None:
    sleepers = Sleepers(10)

    assert (len(sleepers), sleepers.bytes, sleepers.are_too_many) == (0, 0, False)
    assert key(1) not in sleepers
    sleepers.discard(key(1))


def test_all_together_may_have_so_many_bytes() -> None:
    sleepers = Sleepers(10)
    sleepers.put(key(1), 5.0, 6)
    sleepers.put(key(2), 4.0, 4)
    assert not sleepers.are_too_many

    sleepers.put(key(1), 5.0, 7)
    assert (sleepers.bytes, sleepers.are_too_many) == (11, True)
    assert sleepers.longest_asleep() == key(2)
    sleepers.discard(key(2))
    assert (sleepers.bytes, sleepers.are_too_many) == (7, False)


def test_who_fell_asleep_again_has_not_slept_long() -> None:
    sleepers = Sleepers(1)
    sleepers.put(key(1), 1.0, 1)
    sleepers.put(key(2), 2.0, 1)
    sleepers.discard(key(1))
    sleepers.put(key(1), 3.0, 1)

    assert sleepers.longest_asleep() == key(2)
    assert sleepers.since == {key(1): 3.0, key(2): 2.0}


@given(rngs, st.integers(0, 300))
def test_the_longest_asleep_is_found_whatever_happened(rng: Random, steps: int) -> None:
    sleepers = Sleepers(0)
    expected: dict[Key, tuple[float, int]] = {}
    for _ in range(steps):
        at = key(rng.randrange(12))
        if rng.random() < 0.4:
            sleepers.discard(at)
            expected.pop(at, None)
        else:
            expected[at] = (float(rng.randrange(50)), rng.randrange(9))
            sleepers.put(at, *expected[at])
    assert sleepers.since == {at: since for at, (since, _) in expected.items()}
    assert sleepers.bytes == sum(size for _, size in expected.values())
    assert len(sleepers._heap) <= max(TIDY_FROM, 2 * len(expected)) + 12
    if expected:
        least = min(since for since, _ in expected.values())
        assert expected[sleepers.longest_asleep()][0] == least
