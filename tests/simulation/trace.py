"""
The trace of a run: what happened when and to whom, for people; and as a hash, to compare two runs.

The hash covers every line and every byte that travelled, also when nothing is printed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

Show = Callable[[str], None]


class Trace:
    """
    Lines of one run.

    Args:
        show: Takes each line; None: nobody reads them, and details are not even put into words.
    """

    def __init__(self, show: Show | None = None) -> None:
        self.show = show
        self._hash = hashlib.blake2b(digest_size=16)

    @property
    def is_shown(self) -> bool:
        """Whether it is worth the time to describe details."""
        return self.show is not None

    def line(self, now: float, who: str, what: str) -> None:
        """Note one thing that happened."""
        text = f"{now:10.4f}  {who:<8} {what}"
        self._hash.update(text.encode() + b"\n")
        if self.show is not None:
            self.show(text)

    def detail(self, now: float, who: str, what: str) -> None:
        """Show one thing that the hash covers as bytes already."""
        if self.show is not None:
            self.show(f"{now:10.4f}  {who:<8} {what}")

    def carried(self, now: float, data: bytes) -> None:
        """Note bytes that travel."""
        self._hash.update(b"%r " % now)
        self._hash.update(data)

    def digest(self) -> str:
        """Return the hash of everything so far."""
        return self._hash.hexdigest()
