"""
The fixed numbers of the format: what a value may be in every member, and the tags of its types.

None of them is a setting. A value that one member takes is taken by all, so a change of any of them
is another wire version. The table of the format is in ``codec.py``.
"""

from __future__ import annotations

from types import NoneType
from typing import Final

DEPTH_MAX: Final = 32
"""Containers inside one another, at most. Python and ``cbor2`` take about ten times as many."""
ITEMS_MAX: Final = 10_000
"""Items of all containers of a value together, at most; an entry of a dict is one item."""
INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**63 - 1
NAME_BYTES_MAX: Final = 256
"""Name of an attribute, in bytes of UTF-8."""
ZONE_BYTES_MAX: Final = 256
"""Key of a zone, or name of a fixed offset, in bytes of UTF-8; the longest key known has 32."""
TYPE_NAME_CHARACTERS_MAX: Final = 64
"""Name under which a type is registered; it travels with every value of that type."""
VERSION_MAX: Final = 2**31
"""Version of a registered type."""

SCALARS: Final = frozenset({NoneType, bool, int, float, str, bytes})
"""What CBOR has of its own, and what is no container."""
ALWAYS_FINE: Final = frozenset({NoneType, bool, float})
"""Those of them of which every value may be stored."""

# Two bytes behind the head d9. No value leaves the cluster, so nobody else need know them; they are
# none of those that ``cbor2`` gives a meaning.
TUPLE: Final = 0xC001
SET: Final = 0xC002
FROZENSET: Final = 0xC003
MIXED_DICT: Final = 0xC004
DATETIME: Final = 0xC005
DATE: Final = 0xC006
TIME: Final = 0xC007
TIMEDELTA: Final = 0xC008
DECIMAL: Final = 0xC009
UUID: Final = 0xC00A
REGISTERED: Final = 0xC00B
TAGS: Final = range(TUPLE, REGISTERED + 1)
