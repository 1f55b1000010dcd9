"""What is wrong with a value, and where: the words of :class:`UnserializableAttribute`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple

from replsession.config import Limits
from replsession.errors import SessionTooLarge
from replsession.session.format import INT_MAX, INT_MIN, SCALARS

SHOWN_CHARACTERS_MAX = 40
"""Of a key in a path: names of attributes are in logs, and a key may be a whole text."""
_COMES_BACK_AS = (
    *(str, bytes, int, float, tuple, list, dict, set, frozenset),
    *(datetime, date, time, timedelta, Decimal),
)


class Place(NamedTuple):
    """
    A container inside an attribute.

    ``held`` is what stands in the container of ``outer``: the container itself, or the registered
    object whose plain form it is.
    """

    container: Any
    outer: Place | None
    held: Any


def path_of(name: str, place: Place | None, item: object) -> str:
    """Return the way to *item* in the container of *place*; without a place it is the name."""
    steps: list[str] = []
    while place:
        steps.append(_step(place.container, item))
        item, place = place.held, place.outer
    return name + "".join(reversed(steps))


def _step(container: Any, item: object) -> str:
    # By identity, since equal values may stand before it; what is shared is at fault in each place.
    if isinstance(container, list | tuple):
        return f"[{next(index for index, each in enumerate(container) if each is item)}]"
    if not isinstance(container, Mapping):
        return "{…}"
    key = next(key for key, each in container.items() if each is item)
    if type(key) is not str:
        return f"[{key}]"
    shown = shortened(key)
    return f".{shown}" if shown.isidentifier() else f"[{json.dumps(shown)}]"


def shortened(text: str) -> str:
    """Return a text as it may stand in an error."""
    if len(text) <= SHOWN_CHARACTERS_MAX:
        return text
    return text[:SHOWN_CHARACTERS_MAX] + "…"


def type_name(kind: type) -> str:
    """Return the name of a type, with its module where it is not built in."""
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def problem_of(value: object) -> str | None:
    """Return why a value that is no container may not be stored, or None if it may."""
    kind = type(value)
    if type(value) is int:
        return None if INT_MIN <= value <= INT_MAX else "int of more than 64 bits"
    if type(value) is str:
        return None if encodable(value) else "str with a lone surrogate"
    if kind in SCALARS:
        return None
    if issubclass(kind, Enum):
        return f"{type_name(kind)} (an Enum that is not registered)"
    for base in _COMES_BACK_AS:
        if issubclass(kind, base):
            return f"{type_name(kind)} (it would come back as {base.__name__})"
    return type_name(kind)


def problem_of_key(key: object) -> str | None:
    """Return why a key of a dict may not be stored, or None if it may."""
    if type(key) is int:
        return None if INT_MIN <= key <= INT_MAX else "a key that is an int of more than 64 bits"
    if type(key) is str:
        return None if encodable(key) else "a key with a lone surrogate"
    return f"a key of type {type_name(type(key))}"


def encodable(text: str) -> bool:
    """Tell whether a text has a form in UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_text_size(name: str, size: int, limits: Limits) -> None:
    """
    Refuse texts that will pass the bound of a value when they are encoded.

    Raises:
        SessionTooLarge: They have more characters and bytes than a value may have bytes.
    """
    if size > limits.value_bytes_max:
        what = f"the text of attribute {name!r}"
        raise SessionTooLarge(what, size, limits.value_bytes_max, "bytes or more")
