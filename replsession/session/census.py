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


def packed(entries: Iterable[tuple[Key, Record | bytes]]) -> list[tuple[Key, bytes]]:
    """Return entries of a store as they are at rest, which does not change any more."""
    return [
        (key, entry if type(entry) is bytes else pack(entry, 0.0))  # type: ignore[arg-type]
        for key, entry in entries
    ]


def count(entries: Iterable[tuple[Key, bytes]], counts: dict[str, Count]) -> None:
    """
    Add some packed records to what was counted.

    Args:
        entries: Key and record.
        counts: By context; what members keep for themselves is left out.
    """
    for key, entry in entries:
        found = counts.get(key.context)
        if found is None:
            if key.is_internal:
                continue
            found = counts[key.context] = Count()
        found.bytes += len(entry)
        if is_ended_in(entry):
            found.ended += 1
        elif is_asleep_in(entry):
            found.sleeping += 1
        else:
            found.live += 1
