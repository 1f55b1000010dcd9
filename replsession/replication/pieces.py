"""
Whole records, in one item or in several pieces.

A record that is longer than ``piece_bytes`` is cut at attributes. Each piece carries the version
that was taken before the first one; the receiver merges content as it comes, and believes the
version only when all pieces of that transfer arrived on that link (docs/design.md, rule 6).
"""

from __future__ import annotations

from collections.abc import Iterator

from replsession.config import Limits
from replsession.identity import Key
from replsession.session.delta import Delta, Piece, Write
from replsession.session.record import INTERVAL, Record


def whole(record: Record, now: float) -> Delta:
    """Return a record as a delta that any member can merge."""
    return Delta(
        record.key,
        record.born,
        None,
        dict(record.version),
        dict(record.attributes),
        now - record.created,
        record.access,
        now - record.accessed,
        record.complete,
        None,
        record.destroyed,
        now - record.ended_at if record.destroyed is not None else 0.0,
        now - record.ended_at if record.asleep else None,
    )


def pieces(delta: Delta, transfer: int, limits: Limits) -> Iterator[Delta]:
    """
    Yield a whole record as it is, or in pieces of about ``piece_bytes``.

    Each piece has the limits of the session, so that whoever does not know the session can tell by
    each whether it is over.
    """
    groups: list[dict[str, Write]] = [{}]
    size = 0
    for name, write in delta.attributes.items():
        size += len(name) + len(write.value or b"")
        if size > limits.piece_bytes and groups[-1]:
            groups.append({})
            size = len(name) + len(write.value or b"")
        groups[-1][name] = write
    if len(groups) == 1:
        yield delta
        return
    limits_of_session = {
        name: write for name, write in delta.attributes.items() if name == INTERVAL
    }
    for number, group in enumerate(groups):
        piece = Piece(transfer, number, len(groups))
        yield delta._replace(attributes=limits_of_session | group, piece=piece)


class Assembly:
    """What came of the records in pieces on one link."""

    def __init__(self, limits: Limits) -> None:
        self._open_max = limits.pieces_open_max
        self._arrived: dict[int, dict[int, None]] = {}
        self._keys: dict[int, Key] = {}

    def arrived(self, delta: Delta) -> Delta:
        """
        Return the piece as it may be merged now.

        The last one to arrive keeps version and completeness; those before it are content only.
        """
        piece = delta.piece
        if piece is None:
            return delta
        numbers = self._arrived.setdefault(piece.transfer, {})
        self._keys[piece.transfer] = delta.key
        numbers[piece.number] = None
        if len(numbers) == piece.pieces:
            self._forget(piece.transfer)
            return delta
        while len(self._arrived) > self._open_max:
            self._forget(next(iter(self._arrived)))
        return delta._replace(complete=False, version={})

    def lost(self, key: Key) -> None:
        """Take note that what came of a record is gone: the rest of it makes nothing whole."""
        for transfer in [number for number, of in self._keys.items() if of == key]:
            self._forget(transfer)

    def _forget(self, transfer: int) -> None:
        del self._arrived[transfer], self._keys[transfer]
