"""What differs between two members, and how it leaves chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replsession.identity import Key
from replsession.replication.exchange import (
    Giver,
    differing,
    leaf_of,
    unequal,
    unequal_leaves,
)
from replsession.session.store import BUCKETS
from tests.harness import some_key
from tests.strategies import bucket_digests, digests, keys

KEYS = [some_key(number) for number in range(6)]
tables = st.dictionaries(st.sampled_from(KEYS), digests, max_size=6)
leaf_tables = st.dictionaries(st.integers(0, 255), st.integers(1, 2**64 - 1), max_size=6)


def pieces_of(**sizes: list[int]) -> dict[Key, list[bytes]]:
    """Return records by key, each of pieces of these sizes."""
    return {
        Key(name, bytes(12)): [bytes([number]) * size for number, size in enumerate(parts)]
        for name, parts in sizes.items()
    }


def chunks_of(giver: Giver, records: dict[Key, list[bytes]], size_max: int) -> list[list[bytes]]:
    """Return all chunks of a giver."""
    chunks: list[list[bytes]] = []
    while chunk := giver.next_items(lambda key: records.get(key, []), size_max):
        chunks.append(chunk)
    return chunks


@given(st.integers(0, 2**32), st.lists(st.integers(0, BUCKETS - 1), max_size=5, unique=True))
def test_unequal_buckets_are_those_that_differ(seed: int, changed: list[int]) -> None:
    mine = list(bucket_digests(seed))
    theirs = list(mine)
    for bucket in changed:
        theirs[bucket] ^= 1

    assert unequal(mine, tuple(theirs)) == tuple(sorted(changed))


@given(leaf_tables, st.lists(st.integers(0, 255), unique=True, max_size=3))
def test_unequal_leaves_are_those_that_differ(mine: dict[int, int], changed: list[int]) -> None:
    theirs = dict(reversed(mine.items()))
    for leaf in changed:
        theirs[leaf] = mine.get(leaf, 0) ^ 1

    assert unequal_leaves(mine, theirs) == unequal_leaves(theirs, mine) == sorted(changed)


def test_a_leaf_has_the_first_two_bytes_of_the_locator() -> None:
    assert leaf_of(Key("/shop", bytes([3, 7]) + bytes(10))) == 3 * 256 + 7


@given(tables, tables)
def test_what_differs_goes_both_ways_and_nothing_else_goes(
    mine: dict[Key, int], theirs: dict[Key, int]
) -> None:
    wanted, offered = differing(mine, theirs)
    unlike = [key for key in {**mine, **theirs} if mine.get(key) != theirs.get(key)]

    assert wanted == sorted(key for key in unlike if key in theirs)
    assert offered == sorted(key for key in unlike if key in mine)
    assert differing(theirs, mine) == (offered, wanted)


@given(st.dictionaries(keys, digests, max_size=5))
def test_equal_tables_have_nothing_to_exchange(table: dict[Key, int]) -> None:
    assert differing(table, dict(reversed(table.items()))) == ([], [])


@given(
    st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=4), max_size=6), st.integers(1, 120)
)
def test_everything_is_given_once_in_its_order_in_chunks(
    sizes: list[list[int]], size_max: int
) -> None:
    records = pieces_of(**{f"{number:02}": parts for number, parts in enumerate(sizes)})
    giver = Giver()
    giver.want(records)
    chunks = chunks_of(giver, records, size_max)

    assert [item for chunk in chunks for item in chunk] == [
        piece for parts in records.values() for piece in parts
    ]
    assert all(sum(map(len, chunk[:-1])) < size_max for chunk in chunks)
    assert giver.is_done and giver.left == []


def test_what_did_not_fit_is_left_and_a_record_in_pieces_is_until_its_last_one() -> None:
    records = pieces_of(a=[10, 10, 10], b=[10])
    a, b = records
    giver = Giver()
    giver.want([a, b])
    left = []
    while giver.next_items(records.__getitem__, 10):
        left.append(giver.left)

    assert left == [[a, b], [a, b], [b], []]


def test_a_record_is_kept_as_it_was_before_its_first_piece() -> None:
    records = pieces_of(a=[10, 10])
    (a,) = records
    giver = Giver()
    giver.want([a])
    first = giver.next_items(records.__getitem__, 1)
    second = [*records[a]]
    records[a] = [b"newer"] * 3
    giver.want(giver.left)

    assert first + giver.next_items(records.__getitem__, 1) == second
    assert giver.is_done


def test_a_record_that_is_not_wanted_any_more_begins_anew_when_it_is_wanted_again() -> None:
    records = pieces_of(a=[10, 10], b=[10])
    a, b = records
    giver = Giver()
    giver.want([a])
    giver.next_items(records.__getitem__, 1)
    giver.want([b])
    assert giver.left == [b]
    giver.next_items(records.__getitem__, 1)
    giver.want([a])

    assert chunks_of(giver, records, 100) == [records[a]]


@pytest.mark.parametrize("wanted", [[], ["gone"], ["gone", "gone"]])
def test_what_is_not_here_is_not_left(wanted: list[str]) -> None:
    def nothing(key: Key) -> Iterator[bytes]:
        return iter(())

    giver = Giver()
    giver.want([Key(name, bytes(12)) for name in wanted])

    assert giver.next_items(nothing, 10) == []
    assert giver.is_done
