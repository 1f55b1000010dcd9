"""
Lowering: from values with types that CBOR has not, to a tree of what ``cbor2`` may be given.

The walk is the check: what it returns is whole, bounded and may be encoded.

1. It goes level by level and never recurses, since ``cbor2`` recurses on the native stack. A
   registered object and its plain form are on one level; a registered object that is the plain form
   of another one is on the next.
2. ``to_plain`` is called once for an object, and what it returned is what is encoded: the
   application could return something else the second time.
3. A set is an array in the order of its items' bytes. Which fault of a set is told is left to
   chance; everything else here is the same in every process.
"""

from __future__ import annotations

from typing import Any

import cbor2
from cbor2 import CBORTag

from replsession.config import Limits
from replsession.errors import UnserializableAttribute
from replsession.session import format as fmt
from replsession.session import registry
from replsession.session.faults import (
    Place,
    check_text_size,
    path_of,
    problem_of,
    problem_of_key,
    type_name,
)
from replsession.session.format import SCALARS
from replsession.session.leaves import LOWER

_TAG_OF: dict[type, int] = {tuple: fmt.TUPLE, set: fmt.SET, frozenset: fmt.FROZENSET}
_CONTAINERS = frozenset({list, dict, *_TAG_OF})
_Step = tuple[Any, Any, Place | None, Any]
"""What is to be gone through, what it is lowered into, the place where it stands, and what stands
there: itself, or the object whose plain form it is."""


def lower(name: str, value: object, limits: Limits) -> Any:
    """
    Return what stands for a value; it shares nothing with it that can change.

    Args:
        name: Name of the attribute, for the errors.
        value: Anything.
        limits: As for :func:`replsession.session.values.check`.

    Raises:
        UnserializableAttribute: With the path of the first fault, level by level.
        SessionTooLarge: Texts and byte strings alone pass ``value_bytes_max``.
    """
    return _Lowering(name, limits).run(value)


class _Lowering:
    __slots__ = ("_inner", "_items", "_items_max", "_level", "_limits", "_name", "_sets", "_text")

    def __init__(self, name: str, limits: Limits) -> None:
        self._name = name
        self._limits = limits
        self._items_max = min(limits.value_items_max, fmt.ITEMS_MAX)
        self._items = self._text = 0
        self._level: list[_Step] = []
        self._inner: list[_Step] = []
        self._sets: list[list[Any]] = []

    def run(self, value: object) -> Any:
        lowered = self._placed(value, value, None, self._inner)
        check_text_size(self._name, self._text, self._limits)
        depth_max = min(self._limits.value_depth_max, fmt.DEPTH_MAX)
        for _ in range(depth_max):
            self._level, self._inner = self._inner, []
            # It grows meanwhile, by the plain forms of the objects in it.
            for step in self._level:
                self._fill(*step)
                check_text_size(self._name, self._text, self._limits)
            if not self._inner:
                break
        else:
            _, _, place, held = self._inner[0]
            raise self._error(place, held, f"nested deeper than {depth_max} levels")
        # The inner ones first: their order is part of the outer ones' bytes.
        for content in reversed(self._sets):
            content.sort(key=cbor2.dumps)
        return lowered

    def _placed(self, item: Any, held: Any, place: Place | None, steps: list[_Step]) -> Any:
        """Return what stands for *item*; if that is to be filled, *steps* get one more."""
        kind = type(item)
        if kind in SCALARS:
            if kind is str or kind is bytes:
                self._text += len(item)
                if kind is bytes or item.isascii():
                    return item
            problem = problem_of(item)
            if problem:
                raise self._error(place, held, problem, item)
            return item
        if kind in LOWER:
            leaf = LOWER[kind](item)
            if isinstance(leaf, str):
                raise self._error(place, held, leaf, item)
            self._text += len(leaf.value) if type(leaf.value) is str else 0
            return leaf
        if kind in _CONTAINERS:
            target = self._opened(item, kind)
        else:
            entry = registry.by_class.get(kind)
            if entry is None:
                raise self._error(place, held, problem_of(item) or type_name(kind), item)
            target = CBORTag(fmt.REGISTERED, [entry.name, entry.version])
        steps.append((item, target, place, held))
        return target

    def _opened(self, container: Any, kind: type) -> Any:
        """Return what a container is lowered into, still empty."""
        self._items += len(container)
        if self._items > self._items_max:
            raise UnserializableAttribute(self._name, f"more than {self._items_max} items")
        if kind is list:
            return []
        if kind is dict:
            is_mixed = any(type(key) is not str for key in container)
            return CBORTag(fmt.MIXED_DICT, []) if is_mixed else {}
        return CBORTag(_TAG_OF[kind], [])

    def _fill(self, source: Any, target: Any, place: Place | None, held: Any) -> None:
        kind = type(source)
        if kind not in _CONTAINERS:
            self._fill_object(source, target.value, place, held)
            return
        here = Place(source, place, held)
        if kind is dict:
            self._fill_dict(source, target, here)
            return
        content = target if kind is list else target.value
        content += [self._placed(item, item, here, self._inner) for item in source]
        if kind is set or kind is frozenset:
            self._sets.append(content)

    def _fill_dict(self, source: dict[Any, Any], target: Any, here: Place) -> None:
        for key, item in source.items():
            if type(key) is str:
                self._text += len(key)
            if type(key) is not str or not key.isascii():
                problem = problem_of_key(key)
                if problem:
                    raise self._error(here.outer, here.held, problem)
            placed = self._placed(item, item, here, self._inner)
            if type(target) is dict:
                target[key] = placed
            else:
                target.value.extend((key, placed))

    def _fill_object(self, source: Any, content: list[Any], place: Place | None, held: Any) -> None:
        kind = type_name(type(source))
        try:
            plain = registry.by_class[type(source)].to_plain(source)
        except Exception as error:
            problem = f"{kind} (its to_plain raised {type(error).__name__})"
            raise self._error(place, held, problem) from error
        if plain is source:
            # As ``str`` does of a str whose class says so.
            raise self._error(place, held, f"{kind} (its to_plain returned the object itself)")
        is_object = type(plain) in registry.by_class
        steps = self._inner if is_object else self._level
        content.append(self._placed(plain, source, place, steps))

    def _error(
        self, place: Place | None, held: Any, problem: str, item: Any = None
    ) -> UnserializableAttribute:
        if item is not None and item is not held:
            problem = f"{type_name(type(held))} (its plain form holds {problem})"
        return UnserializableAttribute(path_of(self._name, place, held), problem)
