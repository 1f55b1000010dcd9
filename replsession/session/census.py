"""
Census: how many sessions there are of each application, and how many bytes they take.

The store keeps no such counts, which would cost something at every write. They are made when
somebody asks, bucket by bucket, and mostly without unpacking anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from replsession.identity import Key
from replsession.session.packing import is_asleep_in, is_ended_in, pack
from replsession.session.record import Record


@dataclass(slots=True)
class Count:
    """What one application has."""

    live: int = 0
    """Sessions that are awake; some may be over, and asleep a moment later."""
    sleeping: int = 0
    """Sessions that are over, kept until all members have told their news."""
    ended: int = 0
    """Tombstones."""
    bytes: int = 0
    """Of all records, as they are at rest."""


def count(entries: Iterable[tuple[Key, Record | bytes]], counts: dict[str, Count]) -> None:
    """
    Add the records of some entries of a store to what was counted.

    Args:
        entries: Key, and the record as an object or packed.
        counts: By context; what members keep for themselves is left out.
    """
    for key, entry in entries:
        if key.is_internal:
            continue
        found = counts.get(key.context)
        if found is None:
            found = counts[key.context] = Count()
        packed = entry if isinstance(entry, bytes) else pack(entry, 0.0)
        found.bytes += len(packed)
        if is_ended_in(packed):
            found.ended += 1
        elif is_asleep_in(packed):
            found.sleeping += 1
        else:
            found.live += 1
