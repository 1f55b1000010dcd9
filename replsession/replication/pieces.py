"""
Whole records, in one item or in several pieces.

A record that is longer than ``piece_bytes`` is cut at attributes. Each piece carries the version
that was taken before the first one; the receiver merges content as it comes, and believes the
version only when all pieces of that transfer arrived on that link (docs/design.md, rule 6).
"""

from __future__ import annotations

from collections.abc import Iterator

from replsession.config import Limits
from replsession.session.delta import Delta, Piece, Write
from replsession.session.record import Record


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
    )


def pieces(delta: Delta, transfer: int, limits: Limits) -> Iterator[Delta]:
    """Yield a whole record as it is, or in pieces of about ``piece_bytes``."""
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
    for number, group in enumerate(groups):
        piece = Piece(transfer, number, len(groups))
        yield delta._replace(attributes=group, piece=piece)


class Assembly:
    """What came of the records in pieces on one link."""

    def __init__(self, limits: Limits) -> None:
        self._open_max = limits.pieces_open_max
        self._arrived: dict[int, dict[int, None]] = {}

    def arrived(self, delta: Delta) -> Delta:
        """
        Return the piece as it may be merged now.

        The last one to arrive keeps version and completeness; those before it are content only.
        """
        piece = delta.piece
        if piece is None:
            return delta
        numbers = self._arrived.setdefault(piece.transfer, {})
        numbers[piece.number] = None
        if len(numbers) == piece.pieces:
            del self._arrived[piece.transfer]
            return delta
        while len(self._arrived) > self._open_max:
            del self._arrived[next(iter(self._arrived))]
        return delta._replace(complete=False, version={})
