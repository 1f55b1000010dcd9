"""
Values: what an attribute may hold, and what its name may be.

1. A value is None, bool, a 64-bit int, float, str, bytes, or a list, or a dict with str keys, of
   such values.
2. The types are meant exactly. A tuple would come back as a list, a ``StrEnum`` as a str, an
   ``OrderedDict`` as a dict: what another member reads would differ from what was written here, so
   it is refused where it was written.
3. Depth and items are bounded by the format, the same in every member: settings may lower the two
   bounds and never raise them, so a value that one member takes is taken by all.
4. The check walks level by level and never recurses. Nothing may be encoded before it was checked:
   ``cbor2`` recurses on the native stack, and a deep value would kill the process.
"""

from __future__ import annotations

import json
from types import NoneType
from typing import Any, TypeAlias

from replsession.config import Limits
from replsession.errors import SessionTooLarge, UnserializableAttribute

DEPTH_MAX = 32
"""Containers inside one another, at most. Python and ``cbor2`` take about ten times as many."""
ITEMS_MAX = 10_000
"""Items of all containers of a value together, at most; an entry of a dict is one item."""
INT_MIN, INT_MAX = -(2**63), 2**63 - 1
NAME_BYTES_MAX = 256
SHOWN_CHARACTERS_MAX = 40

SCALARS = frozenset({NoneType, bool, int, float, str, bytes})
CONTAINERS = frozenset({list, dict})
_ALWAYS_FINE = frozenset({NoneType, bool, float})
_COMES_BACK_AS = (str, bytes, int, float, tuple, list, dict)
_LIMITS = Limits()

_Container: TypeAlias = "list[Any] | dict[Any, Any]"
_Entry: TypeAlias = "tuple[_Container, _Entry | None]"


def mutable(value: object) -> bool:
    """Tell whether *value* can change in place, so that it must be compared when a request ends."""
    return type(value) in CONTAINERS


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
        raise UnserializableAttribute("?", f"a name of type {_type_name(type(name))}")
    plain = str.__str__(name)
    problem = _problem_of_name(plain)
    if problem:
        raise UnserializableAttribute(_shortened(plain), problem)
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
    if type(value) in _ALWAYS_FINE:
        return
    if type(value) is list or type(value) is dict:
        _check_tree(name, value, limits)
        return
    problem = _problem_of_scalar(value)
    if problem:
        raise UnserializableAttribute(name, problem)
    if type(value) is str or type(value) is bytes:
        _check_text_size(name, len(value), limits)


def _check_tree(name: str, value: _Container, limits: Limits) -> None:
    # The hot path of every list and dict: one loop, no call for an item that is fine.
    depth_max = limits.value_depth_max if limits.value_depth_max < DEPTH_MAX else DEPTH_MAX
    items_max = limits.value_items_max if limits.value_items_max < ITEMS_MAX else ITEMS_MAX
    items = text_size = 0
    level: list[_Entry] = [(value, None)]
    for _ in range(depth_max):
        inner: list[_Entry] = []
        for entry in level:
            container: Any = entry[0]
            items += len(container)
            if items > items_max:
                raise UnserializableAttribute(name, f"more than {items_max} items")
            if type(container) is dict:
                for key in container:
                    if type(key) is not str or not key.isascii():
                        _check_key(name, entry, key)
                    text_size += len(key)
                container = container.values()
            for item in container:
                kind = type(item)
                if kind is str:
                    text_size += len(item)
                    if item.isascii():
                        continue
                elif kind is int:
                    if INT_MIN <= item <= INT_MAX:
                        continue
                elif kind in _ALWAYS_FINE:
                    continue
                elif kind in CONTAINERS:
                    inner.append((item, entry))
                    continue
                elif kind is bytes:
                    text_size += len(item)
                    continue
                problem = _problem_of_scalar(item)
                if problem:
                    raise UnserializableAttribute(_path(name, entry, item), problem)
            if text_size > limits.value_bytes_max:
                _check_text_size(name, text_size, limits)
        if not inner:
            return
        level = inner
    raise UnserializableAttribute(
        _path(name, level[0][1], level[0][0]), f"nested deeper than {depth_max} levels"
    )


def _check_key(name: str, entry: _Entry, key: object) -> None:
    if type(key) is not str:
        problem = f"a key of type {_type_name(type(key))}"
    elif not _encodable(key):
        problem = "a key with a lone surrogate"
    else:
        return
    raise UnserializableAttribute(_path(name, entry[1], entry[0]), problem)


def _problem_of_scalar(value: object) -> str | None:
    if type(value) is int:
        return None if INT_MIN <= value <= INT_MAX else "int of more than 64 bits"
    if type(value) is str:
        return None if _encodable(value) else "str with a lone surrogate"
    if type(value) in SCALARS:
        return None
    kind = type(value)
    for base in _COMES_BACK_AS:
        if issubclass(kind, base):
            plain = "list" if base is tuple else base.__name__
            return f"{_type_name(kind)} (it would come back as {plain})"
    return _type_name(kind)


def _problem_of_name(name: str) -> str | None:
    if name[:1] == "\0":
        return "a name that begins with NUL"
    if not _encodable(name):
        return "a name with a lone surrogate"
    if len(name.encode()) > NAME_BYTES_MAX:
        return f"a name of more than {NAME_BYTES_MAX} bytes"
    return None


def _check_text_size(name: str, size: int, limits: Limits) -> None:
    if size > limits.value_bytes_max:
        what = f"the text of attribute {name!r}"
        raise SessionTooLarge(what, size, limits.value_bytes_max, "bytes or more")


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _type_name(kind: type) -> str:
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def _path(name: str, entry: _Entry | None, item: object) -> str:
    """Write the way to *item* in the container of *entry*; ``_path(name, None, …)`` is the name."""
    steps: list[str] = []
    while entry:
        container, parent = entry
        steps.append(_step(container, item))
        item, entry = container, parent
    return name + "".join(reversed(steps))


def _step(container: _Container, item: object) -> str:
    # By identity, since equal values may stand before it; what is shared is at fault in each place.
    if isinstance(container, list):
        return f"[{next(index for index, each in enumerate(container) if each is item)}]"
    key = next(key for key, each in container.items() if each is item)
    shown = _shortened(key)
    return f".{shown}" if shown.isidentifier() else f"[{json.dumps(shown)}]"


def _shortened(text: str) -> str:
    if len(text) <= SHOWN_CHARACTERS_MAX:
        return text
    return text[:SHOWN_CHARACTERS_MAX] + "…"
