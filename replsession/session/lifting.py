"""
Lifting: from the tree that ``cbor2`` made of bytes to the value that was stored.

1. First the whole tree is gone through, level by level, without a recursion; ``cbor2`` was told to
   leave tags as they are. Only when it is known to keep within the bounds is anything made of it,
   the inner things first.
2. Depth and items are counted as in lowering.py, so what was lowered there is lifted here.
3. What code of the application raises, when an object is made or a set asks for a hash, is an error
   of this value.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from cbor2 import CBORTag, frozendict

from replsession.errors import WireError
from replsession.session import format as fmt
from replsession.session.faults import problem_of, problem_of_key
from replsession.session.format import SCALARS
from replsession.session.leaves import LIFT
from replsession.session.registry import restored

_ARRAYS: Final = frozenset({list, tuple})
_MAPS: Final = frozenset({dict, frozendict})
"""Under a tag ``cbor2`` reads arrays and maps as what can't change."""
_LIST: Final = 0
_DICT: Final = 1


class _Step(NamedTuple):
    """One container or object, and the slot for what will be made of it."""

    kind: int
    """A tag, or one of the two above."""
    parts: list[Any]
    """Its items, lifted in place; of a registered object the plain form alone."""
    keys: Any
    """Of a dict its keys, of a registered object its name and version."""
    slots: list[Any]
    at: int


def lift(tree: Any) -> Any:
    """
    Return the value that a tree stands for.

    Raises:
        WireError: It stands for none, it passes a bound, or a type is not registered here.
    """
    top = [tree]
    level, steps, items = _found(top), list[_Step](), 0
    for _ in range(fmt.DEPTH_MAX):
        inner: list[_Step] = []
        # It grows meanwhile, by the plain forms of the objects in it.
        for step in level:
            found = _found(step.parts)
            if step.kind == fmt.REGISTERED:
                (inner if found and found[0].kind == fmt.REGISTERED else level).extend(found)
                continue
            inner += found
            items += len(step.parts)
            if items > fmt.ITEMS_MAX:
                raise WireError(f"a value has more than {fmt.ITEMS_MAX} items")
        steps += level
        if not inner:
            break
        level = inner
    else:
        raise WireError(f"a value is nested deeper than {fmt.DEPTH_MAX} levels")
    for step in reversed(steps):
        step.slots[step.at] = _made(step)
    return top[0]


def _found(slots: list[Any]) -> list[_Step]:
    """Return what in *slots* is to be gone through; leaves are lifted at once."""
    found: list[_Step] = []
    for at, item in enumerate(slots):
        kind = type(item)
        if kind in SCALARS:
            # ``cbor2`` makes no text that has no form in UTF-8, and no float is at fault.
            if kind is int:
                _check(problem_of(item))
        elif kind is CBORTag and item.tag in LIFT:
            slots[at] = LIFT[item.tag](item.value)
        else:
            found.append(_step(item, slots, at))
    return found


def _step(item: Any, slots: list[Any], at: int) -> _Step:
    kind = type(item)
    if kind in _ARRAYS:
        return _Step(_LIST, list(item), None, slots, at)
    if kind in _MAPS:
        for key in item:
            _check(None if type(key) is str else "a key of a map that is no text")
        return _Step(_DICT, list(item.values()), list(item), slots, at)
    if kind is not CBORTag or item.tag not in fmt.TAGS:
        raise WireError(f"a value has something of type {kind.__name__}")
    content = item.value
    if type(content) not in _ARRAYS:
        raise WireError("an array was expected under a tag")
    if item.tag == fmt.MIXED_DICT:
        return _step_of_dict(content, slots, at)
    if item.tag == fmt.REGISTERED:
        return _step_of_object(content, slots, at)
    return _Step(item.tag, list(content), None, slots, at)


def _step_of_dict(content: Any, slots: list[Any], at: int) -> _Step:
    keys = list(content[::2])
    if len(content) % 2 or all(type(key) is str for key in keys):
        raise WireError("a dict with a key that is no text was expected")
    for key in keys:
        _check(problem_of_key(key))
    if len(dict.fromkeys(keys)) != len(keys):
        raise WireError("a key stands twice in a dict")
    return _Step(fmt.MIXED_DICT, list(content[1::2]), keys, slots, at)


def _step_of_object(content: Any, slots: list[Any], at: int) -> _Step:
    if len(content) != 3:
        raise WireError("an object has a name, a version and a plain form")
    name, version, plain = content
    if type(name) is not str or len(name) > fmt.TYPE_NAME_CHARACTERS_MAX:
        raise WireError("the name of a type was expected")
    if type(version) is not int or not 1 <= version <= fmt.VERSION_MAX:
        raise WireError("the version of a type was expected")
    return _Step(fmt.REGISTERED, [plain], (name, version), slots, at)


def _made(step: _Step) -> Any:
    kind, parts = step.kind, step.parts
    if kind == _LIST:
        return parts
    if kind in (_DICT, fmt.MIXED_DICT):
        return dict(zip(step.keys, parts, strict=True))
    if kind == fmt.TUPLE:
        return tuple(parts)
    if kind == fmt.REGISTERED:
        name, version = step.keys
        return restored(name, version, parts[0])
    return _made_set(set if kind == fmt.SET else frozenset, parts)


def _made_set(kind: type[set[Any]] | type[frozenset[Any]], parts: list[Any]) -> Any:
    try:
        made = kind(parts)
    except Exception as error:
        raise WireError(f"something in a set has no hash ({type(error).__name__})") from error
    # Objects that were two where they come from may be equal here, and so may two moments in zones
    # with other rules.
    if len(made) != len(parts) and all(type(part) in SCALARS for part in parts):
        raise WireError("an item stands twice in a set")
    return made


def _check(problem: str | None) -> None:
    if problem:
        raise WireError(f"a value may not be stored: {problem}")
