"""
The exchange of records in repair: which of them differ, and how they leave chunk by chunk.

What is compared is in the shape of a tree: 256 buckets by the first byte of the locator, in each of
them 256 leaves by the second one, in each leaf the records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from replsession.identity import Key


def unequal(mine: list[int], theirs: tuple[int, ...]) -> tuple[int, ...]:
    """Return the numbers of the buckets whose digests differ."""
    pairs = enumerate(zip(mine, theirs, strict=True))
    return tuple(number for number, (here, there) in pairs if here != there)


def unequal_leaves(mine: dict[int, int], theirs: dict[int, int]) -> list[int]:
    """Return the leaves of one bucket whose digests differ, in their order."""
    return sorted(leaf for leaf in {**mine, **theirs} if mine.get(leaf, 0) != theirs.get(leaf, 0))


def differing(mine: dict[Key, int], theirs: dict[Key, int]) -> tuple[list[Key], list[Key]]:
    """
    Return what to ask for, and what to send: each record that differs goes both ways.

    Both are in the order of the keys, so that a run is the same for the same seed.
    """
    wanted = [key for key, digest in theirs.items() if mine.get(key) != digest]
    offered = [key for key, digest in mine.items() if theirs.get(key) != digest]
    return sorted(wanted), sorted(offered)


def leaf_of(key: Key) -> int:
    """Return the leaf that a record is in, as a number of 0 to 65535, its bucket included."""
    return key.locator[0] << 8 | key.locator[1]


@dataclass(slots=True)
class Giver:
    """
    Records on their way to one member in one repair round, a chunk at a time.

    A record that is longer than a chunk is kept here between its pieces as it was before the first
    one, with the version of that moment: the receiver believes it when all pieces came, whatever
    was written meanwhile (docs/design.md, rule 6).
    """

    round: int = 0
    step: int = 0
    """The latest step in which it gave."""
    keys: list[Key] = field(default_factory=list)
    """What is to be given, the next one last."""
    under_way: Key | None = None
    """The record of which some pieces are given."""
    rest: list[bytes] = field(default_factory=list)
    """The pieces of it that are left, the next one last."""

    @property
    def left(self) -> list[Key]:
        """What is not, or not wholly, given yet, in its order."""
        keys = self.keys[::-1]
        return keys if self.under_way is None else [self.under_way, *keys]

    @property
    def is_done(self) -> bool:
        """Whether everything is given."""
        return self.under_way is None and not self.keys

    def want(self, keys: Iterable[Key]) -> None:
        """Give these, in this order; one of which some pieces are given goes on."""
        ordered = dict.fromkeys(keys)
        if self.under_way in ordered:
            del ordered[self.under_way]
        else:
            self.under_way = None
        self.keys = list(ordered)[::-1]

    def next_items(self, encoded: Callable[[Key], Iterable[bytes]], size_max: int) -> list[bytes]:
        """
        Return the items of the next chunk; none: everything is given.

        Args:
            encoded: Returns the pieces of a record, encoded; none if it is not here any more.
            size_max: Bytes; the item with which the chunk is as long as this is its last one.
        """
        items: list[bytes] = []
        size = 0
        while size < size_max and not self.is_done:
            if self.under_way is None:
                self.under_way = self.keys.pop()
                self.rest = list(encoded(self.under_way))[::-1]
            if self.rest:
                items.append(self.rest.pop())
                size += len(items[-1])
            if not self.rest:
                self.under_way = None
        return items
