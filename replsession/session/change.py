"""A change: what one request did to one session, before it has a stamp."""

from __future__ import annotations

from typing import NamedTuple

from replsession.identity import Key


class Change(NamedTuple):
    """
    What :meth:`Session.seal` hands to the node.

    ``writes`` maps a name to its encoded value, or to None for a removed attribute.
    """

    key: Key
    writes: dict[str, bytes | None]
    birth: bool = False
    """The session does not exist yet: this creates it."""
    destroy: bool = False
    """The session ends; ``writes`` is empty."""
