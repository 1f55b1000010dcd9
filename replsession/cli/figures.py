"""Figures for people: how long, how much, how often; and texts of others that must not play."""

from __future__ import annotations

from typing import Final

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")
NOTHING: Final = "-"


def duration(seconds: float | None) -> str:
    """Return how long, in the one unit that fits; a dash for None."""
    if seconds is None:
        return NOTHING
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for bound, divisor, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < bound:
            return f"{seconds / divisor:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"


def size(octets: float) -> str:
    """Return how many bytes, in a unit that leaves at most four digits."""
    for unit in _UNITS:
        if octets < 1024 or unit == _UNITS[-1]:
            break
        octets /= 1024
    return f"{octets:.0f} {unit}" if unit == "B" or octets >= 100 else f"{octets:.1f} {unit}"


def number(count: int) -> str:
    """Return a count with blanks between thousands."""
    return f"{count:,}".replace(",", " ")


def rate(per_second: float) -> str:
    """Return how often per second, with the digits that matter."""
    if per_second == 0:
        return "0"
    return f"{per_second:.2f}" if per_second < 10 else f"{per_second:.0f}"


def plain(told: object) -> str:
    """Return what a member or an application told as text that cannot play with a terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(told))
