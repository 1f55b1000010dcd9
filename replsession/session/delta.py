"""
Deltas: what travels. The writes of one request on one session, or a whole record.

Both are one type, because both end in one call, :meth:`Record.merge`; they differ in ``since``:

* A *stream delta* has the stamp before it by the same writer, so that a receiver sees a gap.
* A *whole record* has ``since = None`` and carries its holder's ``version``. One that is too long
  for a frame is cut into pieces, each a whole record with some of the attributes and the version
  that was taken before the first piece. It counts only when all pieces came (docs/design.md,
  rule 6).
"""

from __future__ import annotations

from typing import NamedTuple

from replsession.identity import Key, MemberId
from replsession.session.stamp import Stamp

REGISTER = 0
"""Kind of an attribute whose newest write wins. The kind is on the wire, so that further mergeable
kinds need no new format."""
COUNTER = 1
"""Kind of a register in which one writer counts (``counter.py``); its newest write wins, too."""


class Write(NamedTuple):
    """The newest write of one attribute; ``value`` is one CBOR item, or None when removed."""

    hlc: int
    member: MemberId
    kind: int
    value: bytes | None


class Piece(NamedTuple):
    """Which part of a whole record this is: ``number`` 0 to ``pieces`` - 1 of one ``transfer``."""

    transfer: int
    number: int
    pieces: int


class Delta(NamedTuple):
    """
    Writes on one session, as they travel.

    Ages are seconds at the moment of sending; the receiver turns them into its own monotonic times,
    so that nobody compares two machines' clocks. They take no part in the order of writes.
    """

    key: Key
    born: Stamp
    since: int | None
    """The writer's previous hlc for this session, 0 for its first write; None: a whole record."""
    version: dict[MemberId, int]
    """What a receiver without a gap may claim afterwards: the writer's hlc, or a whole version."""
    attributes: dict[str, Write]
    age_s: float
    access: Stamp
    idle_s: float
    complete: bool = True
    """Only for whole records: its holder had all of the session."""
    piece: Piece | None = None
    destroyed: Stamp | None = None
    destroyed_age_s: float = 0.0
    asleep_s: float | None = None
    """Only for whole records: for how long its holder has had it asleep; None: it is awake."""

    @property
    def writer(self) -> Stamp:
        """The stamp of a stream delta: its writer and the hlc of the commit."""
        for member, hlc in self.version.items():
            return Stamp(hlc, member)
        raise AssertionError("a stream delta names its writer")


def may_join(first: Delta, second: Delta) -> bool:
    """Tell whether two deltas of one session are of one writer: else they must stay two."""
    if first.destroyed or second.destroyed:
        return True
    return first.writer.member == second.writer.member


def joined(first: Delta, second: Delta) -> Delta:
    """
    Return one stream delta that stands for two of the same writer and session, in their order.

    It keeps the first ``since``: a receiver that missed what came before the first must still see
    the gap (docs/design.md, rule 12). Each attribute keeps the stamp of its own write: a younger
    one would beat what others wrote between the two. A tombstone stands for all before and after.
    """
    assert first.key == second.key
    if first.destroyed or second.destroyed:
        return second if second.destroyed else first
    assert first.since is not None and second.since is not None
    return second._replace(since=first.since, attributes=first.attributes | second.attributes)
