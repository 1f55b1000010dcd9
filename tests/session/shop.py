"""The types of an application under test, registered as applications do, and how to compare."""

from __future__ import annotations

import collections
import dataclasses
import enum
import math
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from replsession import register


@register("shop.colour")
class Colour(enum.StrEnum):
    """A str as well; it has an alias."""

    RED = "red"
    BLUE = "blue"
    ROUGE = "red"


@register("shop.level")
class Level(enum.IntEnum):
    """An int as well: equal to 1 and to True."""

    LOW = 1
    HIGH = 2


@register("shop.permission")
class Permission(enum.Flag):
    """Several together are a member, too."""

    READ = 1
    WRITE = 2
    OWN = 4


@register("shop.line")
@dataclass
class Line:
    """Changes in place."""

    sku: str
    n: int = 1
    price: Decimal = Decimal("0.00")


@register("shop.cart")
@dataclass(slots=True)
class Cart:
    """Holds others; one field is computed and kept."""

    lines: list[Line] = field(default_factory=list)
    colours: set[Colour] = field(default_factory=set)
    notes: Any = None
    lines_at_start: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.lines_at_start = len(self.lines)


@register("shop.price")
@dataclass(frozen=True)
class Price:
    """Can't change where what is in it can't, and may stand in sets."""

    amount: Any
    currency: str = "EUR"


class Slug(str):
    """A str that is not only a str."""

    __slots__ = ()


class Point(collections.namedtuple("Point", "x y")):
    """A tuple that is not only a tuple."""

    __slots__ = ()


@dataclass
class Boxed:
    """Its plain form needs a tag of its own."""

    held: Any


register("shop.boxed", Boxed, to_plain=lambda it: (it.held,), from_plain=lambda it: Boxed(*it))
register("shop.slug", Slug, to_plain=str, from_plain=Slug, immutable=True)
register("shop.point", Point, to_plain=list, from_plain=Point._make)


@register("shop.tag")
class Tag:
    """A class with methods of its own for its plain form; two with one text are two in a set."""

    def __init__(self, text: str) -> None:
        self.text = text

    def to_plain(self) -> list[str]:
        """Return the plain form."""
        return [self.text]

    @classmethod
    def from_plain(cls, plain: list[str]) -> Tag:
        """Return the object of a plain form."""
        return cls(*plain)


def described(value: Any) -> str:
    """Return a text that is the same exactly for values of the same types and content."""
    kind = type(value)
    head = kind.__name__
    if kind in (list, tuple):
        return f"{head}[{', '.join(map(described, value))}]"
    if kind in (set, frozenset):
        return f"{head}[{', '.join(sorted(map(described, value)))}]"
    if kind is dict:
        return f"{{{', '.join(f'{key!r}: {described(item)}' for key, item in value.items())}}}"
    if kind in (datetime, time):
        naive = value.replace(tzinfo=None, fold=0).isoformat()
        return f"{head} {naive} fold {value.fold} {zone_described(value.tzinfo)}"
    if dataclasses.is_dataclass(value):
        fields = [getattr(value, each.name) for each in dataclasses.fields(value)]
        return f"{head}({', '.join(map(described, fields))})"
    if isinstance(value, enum.Enum):
        return f"{head}.{value.name}"
    if kind is Tag:
        return f"Tag {value.text}"
    assert kind in (*PLAIN, date, timedelta, Decimal, UUID, Slug, Point), kind
    return f"{head} {value!r}"


PLAIN = (type(None), bool, int, float, str, bytes)


def zone_described(zone: Any) -> str:
    """Return what makes a zone the same one."""
    if isinstance(zone, timezone):
        return f"timezone {zone.utcoffset(None)} {zone.tzname(None)}"
    return f"ZoneInfo {zone.key}" if isinstance(zone, ZoneInfo) else str(zone)


def same(left: Any, right: Any) -> bool:
    """Equal in value, types and order of dicts; nan is nan, and -0.0 is not 0.0."""
    return described(left) == described(right)


def is_itself(value: Any) -> bool:
    """Tell whether a value is equal to what is the same: nan is not, nor is a Tag."""
    match value:
        case float() | Decimal():
            return not math.isnan(value)
        case Tag():
            return False
        case dict():
            return all(map(is_itself, value.values()))
        case Price():
            return is_itself(value.amount)
        case Cart():
            return is_itself(value.notes) and all(map(is_itself, value.lines))
        case Line():
            return is_itself(value.price)
        case str() | bytes():
            return True
        case list() | tuple() | set() | frozenset():
            return all(map(is_itself, value))
    return True
