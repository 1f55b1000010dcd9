"""A change: what one request did to one session, before it has a stamp."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from replsession.identity import Key
from replsession.session.flashes import Flash

NO_INCREMENTS: Mapping[str, int] = MappingProxyType({})


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
    increments: Mapping[str, int] = NO_INCREMENTS
    """What was counted, by the visible name of the counter; none of them is in ``writes``."""
    flashed: tuple[Flash, ...] = ()
    """Messages for a page to come."""
    popped: tuple[bytes, ...] = ()
    """Ids of messages that were taken away."""
