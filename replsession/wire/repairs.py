"""
The messages of repair as bytes. The table is in ``wire/encoding.py``.

Digests travel packed, since there are many of them: 8 bytes for a bucket, 9 for a leaf.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from struct import Struct
from typing import Any

from replsession import messages as m
from replsession.errors import WireError
from replsession.identity import Key
from replsession.session.delta import Delta
from replsession.wire import items
from replsession.wire.checks import array, below, count, item_of, key_at, octets, rows

BUCKETS = LEAVES = 256
_DIGESTS = Struct(f">{BUCKETS}Q")
_LEAF = Struct(">BQ")
_LEAF_NUMBER = Struct(">H")


def flat_keys(keys: Iterable[Key]) -> list[Any]:
    """Return keys as one flat list."""
    return [part for key in keys for part in key]


def read_keys(flat: Any) -> tuple[Key, ...]:
    """Return the keys in a flat list."""
    return tuple(key_at(row) for row in rows(flat, 2))


def offer(message: m.RepairOffer) -> Sequence[Any]:
    """Return a RepairOffer as what CBOR is made of; so do the functions below, for theirs."""
    return (message.round, _DIGESTS.pack(*message.digests))


def read_offer(body: list[Any]) -> m.RepairOffer:
    """Return the message in a body; so do the functions below, for theirs."""
    round_, digests = array(body, 2)
    return m.RepairOffer(count(round_), _DIGESTS.unpack(octets(digests, exactly=_DIGESTS.size)))


def answer(message: m.RepairAnswer) -> Sequence[Any]:
    """RepairAnswer."""
    return (message.round, bytes(message.buckets))


def read_answer(body: list[Any]) -> m.RepairAnswer:
    """RepairAnswer."""
    round_, buckets = array(body, 2)
    return m.RepairAnswer(count(round_), tuple(octets(buckets, most=BUCKETS)))


def leaf_digests(message: m.LeafDigests) -> Sequence[Any]:
    """LeafDigests."""
    flat: list[Any] = []
    for bucket, leaves in message.leaves.items():
        flat += (bucket, b"".join(_LEAF.pack(*leaf) for leaf in leaves.items()))
    return (message.round, message.step, message.first, flat)


def read_leaf_digests(body: list[Any]) -> m.LeafDigests:
    """LeafDigests; no bucket is compared twice."""
    round_, step, first, flat = array(body, 4)
    leaves: dict[int, dict[int, int]] = {}
    for bucket, packed in rows(flat, 2):
        if below(bucket, BUCKETS) in leaves:
            raise WireError("a bucket came twice")
        leaves[bucket] = dict(_unpacked(_LEAF, packed, LEAVES))
    return m.LeafDigests(count(round_), count(step), below(first, LEAVES), leaves)


def record_digests(message: m.RecordDigests) -> Sequence[Any]:
    """RecordDigests."""
    leaves = b"".join(map(_LEAF_NUMBER.pack, message.leaves))
    flat = [part for key, digest in message.digests.items() for part in (*key, digest)]
    return (message.round, message.step, message.next, leaves, flat)


def read_record_digests(body: list[Any]) -> m.RecordDigests:
    """RecordDigests."""
    round_, step, next_, leaves, flat = array(body, 5)
    return m.RecordDigests(
        count(round_),
        count(step),
        None if next_ is None else below(next_, BUCKETS * LEAVES),
        tuple(leaf for (leaf,) in _unpacked(_LEAF_NUMBER, leaves, BUCKETS * LEAVES)),
        {key_at(row): count(row[2]) for row in rows(flat, 3)},
    )


def request(message: m.RepairRequest) -> Sequence[Any]:
    """RepairRequest."""
    return (message.round, message.step, flat_keys(message.wanted), *_items(message.records))


def read_request(body: list[Any]) -> m.RepairRequest:
    """RepairRequest."""
    return m.RepairRequest(*_exchange(body))


def records(message: m.RepairRecords) -> Sequence[Any]:
    """RepairRecords."""
    return (message.round, message.step, flat_keys(message.left), *_items(message.records))


def read_records(body: list[Any]) -> m.RepairRecords:
    """RepairRecords."""
    return m.RepairRecords(*_exchange(body))


def _items(deltas: Iterable[Delta]) -> Iterable[Any]:
    return map(items.item, deltas)


def _exchange(body: list[Any]) -> tuple[int, int, tuple[Key, ...], tuple[Delta, ...]]:
    keys = read_keys(item_of(body, 2))
    return count(body[0]), count(body[1]), keys, tuple(map(items.delta_of, body[3:]))


def _unpacked(form: Struct, packed: Any, most: int) -> Iterable[tuple[Any, ...]]:
    if len(octets(packed, most=most * form.size)) % form.size:
        raise WireError(f"rows of {form.size} bytes were expected")
    return form.iter_unpack(packed)
