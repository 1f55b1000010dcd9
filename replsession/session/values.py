"""
Values: what an attribute may hold, and what its name may be.

1. A value is None, bool, a 64-bit int, float, str, bytes, datetime, date, time, timedelta, Decimal,
   UUID, an object of a registered class, or a list, tuple, set, frozenset, or a dict with str and
   int keys, of such values.
2. The types are meant exactly. A ``StrEnum`` would come back as a str, an ``OrderedDict`` as a
   dict: what another member reads would differ from what was written here, so it is refused where
   it was written, unless its class is registered. ``True`` is no int key.
3. Depth and items are bounded by the format, the same in every member: settings may lower the two
   bounds and never raise them, so a value that one member takes is taken by all.
4. The check walks level by level and never recurses. Nothing may be encoded before it was checked:
   ``cbor2`` recurses on the native stack, and a deep value would kill the process.
5. What CBOR has of its own is *plain*, and goes to ``cbor2`` as it is. Only a value with something
   else in it is lowered first, which is a check, too.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from replsession.config import Limits
from replsession.errors import UnserializableAttribute
from replsession.session.faults import encodable, shortened, type_name
from replsession.session.format import (
    ALWAYS_FINE,
    DEPTH_MAX,
    INT_MAX,
    INT_MIN,
    ITEMS_MAX,
    NAME_BYTES_MAX,
    SCALARS,
)
from replsession.session.leaves import LOWER
from replsession.session.lowering import lower
from replsession.session.registry import by_class

_PLAIN_CONTAINERS = frozenset({list, dict})
_MUTABLE: dict[type, bool] = {
    **dict.fromkeys((list, dict, set), True),
    **dict.fromkeys((*sorted(SCALARS, key=repr), *LOWER), False),
}
"""Of the types whose values all can change in place, or none can."""
_LIMITS = Limits()

_Container: TypeAlias = list[Any] | dict[Any, Any]


def mutable(value: object) -> bool:
    """
    Tell whether *value* can change in place, so that it must be compared when a request ends.

    Of a registered class it can, unless its objects are said or known to be immutable.
    """
    try:
        return _MUTABLE[type(value)]
    except KeyError:
        return _may_change(value)


def _may_change(value: object) -> bool:
    left = [value]
    # What was stored has no more items; an object could have been put into itself since.
    for _ in range(ITEMS_MAX):
        if not left:
            return False
        item: Any = left.pop()
        kind = type(item)
        if kind is tuple or kind is frozenset:
            left += item
        elif kind in by_class:
            entry = by_class[kind]
            if entry.frozen_fields is not None:
                left += [getattr(item, name, None) for name in entry.frozen_fields]
            elif not entry.immutable:
                return True
        elif _MUTABLE.get(kind, True):
            return True
    return True


def check_name(name: object) -> str:
    """
    Return the name of an attribute as a plain ``str``: a member of a ``StrEnum`` is one, too.

    Raises:
        UnserializableAttribute: It is no str, has more than 256 bytes of UTF-8 or a lone surrogate,
            or begins with NUL, as the names do that records keep for themselves.
    """
    if type(name) is str and name.isascii() and len(name) <= NAME_BYTES_MAX and name[:1] != "\0":
        return name
    if not isinstance(name, str):
        raise UnserializableAttribute("?", f"a name of type {type_name(type(name))}")
    plain = str.__str__(name)
    problem = _problem_of_name(plain)
    if problem:
        raise UnserializableAttribute(shortened(plain), problem)
    return plain


def check(name: str, value: object, limits: Limits = _LIMITS) -> None:
    """
    Refuse a value that may not be stored; takes time by its items, and at most by ``ITEMS_MAX``.

    Args:
        name: Name of the attribute, for the error.
        value: Anything.
        limits: ``value_bytes_max`` bounds the texts here, so that never more than a small multiple
            of it is encoded; ``value_depth_max`` and ``value_items_max`` count where they are lower
            than the format's.

    Raises:
        UnserializableAttribute: With the path of the first fault, level by level.
        SessionTooLarge: Texts and byte strings alone pass ``value_bytes_max``.
    """
    if not is_plain(value, limits):
        lower(name, value, limits)


def is_plain(value: object, limits: Limits = _LIMITS) -> bool:
    """
    Tell whether a value may be stored, and CBOR has everything in it of its own.

    What is not plain may be stored all the same, or not: :func:`lower` tells, with what is wrong.
    """
    if type(value) in ALWAYS_FINE:
        return True
    if type(value) is list or type(value) is dict:
        return _is_plain_tree(value, limits)
    if type(value) is str:
        return len(value) <= limits.value_bytes_max and (value.isascii() or encodable(value))
    if type(value) is int:
        return INT_MIN <= value <= INT_MAX
    return type(value) is bytes and len(value) <= limits.value_bytes_max


def _is_plain_tree(value: _Container, limits: Limits) -> bool:
    # The hot path of every list and dict: one loop, no call for an item that is fine.
    depth_max = limits.value_depth_max if limits.value_depth_max < DEPTH_MAX else DEPTH_MAX
    items_max = limits.value_items_max if limits.value_items_max < ITEMS_MAX else ITEMS_MAX
    items = text_size = 0
    level = [value]
    for _ in range(depth_max):
        inner: list[_Container] = []
        for each in level:
            container: Any = each
            items += len(container)
            if items > items_max:
                return False
            if type(container) is dict:
                for key in container:
                    if type(key) is not str or not (key.isascii() or encodable(key)):
                        return False
                    text_size += len(key)
                container = container.values()
            for item in container:
                kind = type(item)
                if kind is str:
                    text_size += len(item)
                    if item.isascii() or encodable(item):
                        continue
                elif kind is int:
                    if INT_MIN <= item <= INT_MAX:
                        continue
                elif kind in ALWAYS_FINE:
                    continue
                elif kind in _PLAIN_CONTAINERS:
                    inner.append(item)
                    continue
                elif kind is bytes:
                    text_size += len(item)
                    continue
                return False
            if text_size > limits.value_bytes_max:
                return False
        if not inner:
            return True
        level = inner
    return False


def _problem_of_name(name: str) -> str | None:
    if name[:1] == "\0":
        return "a name that begins with NUL"
    if not encodable(name):
        return "a name with a lone surrogate"
    if len(name.encode()) > NAME_BYTES_MAX:
        return f"a name of more than {NAME_BYTES_MAX} bytes"
    return None
