"""
The registry: classes of an application whose objects may be stored, each under a name.

1. What is stored of an object is the name, the version and the *plain form*: any value that may be
   stored. Nothing is looked up by the path of a class, and nothing is called but what was
   registered here.
2. There is one registry for the process. Classes are registered while modules are imported; a
   request only looks them up, each time one entry of a dict, so no lock is needed.
3. What was registered may be registered again by a class of the same module and qualified name, as
   reloading a module does. Objects of the class before can still be stored, and come back as
   objects of the new one.
4. ``to_plain``, ``from_plain`` and ``upgrade`` are the application's, and may raise anything: that
   is an error of this one attribute.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, Flag
from typing import Any, Final, TypeVar, overload

from replsession.errors import ConfigError, WireError
from replsession.session.faults import type_name
from replsession.session.format import SCALARS, TYPE_NAME_CHARACTERS_MAX, VERSION_MAX
from replsession.session.leaves import LOWER

ToPlain = Callable[[Any], Any]
FromPlain = Callable[[Any], Any]
Upgrade = Callable[[Any, int], Any]
_Class = TypeVar("_Class", bound=type)

_NAME = re.compile(rf"[A-Za-z0-9_.:/+-]{{1,{TYPE_NAME_CHARACTERS_MAX}}}")
_NEVER: Final = (*SCALARS, list, tuple, dict, set, frozenset, *LOWER, object, type)
_WITH_CONTENT: Final = (
    *(str, bytes, bytearray, int, float, complex, list, tuple, dict, set, frozenset),
    *LOWER,
)
"""Beside its fields, an object of a class with such a base has a content of its own."""


@dataclass(frozen=True, slots=True)
class Registered:
    """One registered class, with what is needed to store and to restore its objects."""

    name: str
    cls: type
    version: int
    to_plain: ToPlain
    from_plain: FromPlain
    upgrade: Upgrade | None
    immutable: bool
    """Its objects never change."""
    frozen_fields: tuple[str, ...] | None = None
    """Its objects change only where one of these fields holds something that does."""


by_class: Final[dict[type, Registered]] = {}
by_name: Final[dict[str, Registered]] = {}


@overload
def register(
    name: str,
    cls: None = None,
    *,
    version: int = 1,
    upgrade: Upgrade | None = None,
    to_plain: ToPlain | None = None,
    from_plain: FromPlain | None = None,
    immutable: bool = False,
) -> Callable[[_Class], _Class]: ...


@overload
def register(
    name: str,
    cls: _Class,
    *,
    version: int = 1,
    upgrade: Upgrade | None = None,
    to_plain: ToPlain | None = None,
    from_plain: FromPlain | None = None,
    immutable: bool = False,
) -> _Class: ...


def register(
    name: str,
    cls: _Class | None = None,
    *,
    version: int = 1,
    upgrade: Upgrade | None = None,
    to_plain: ToPlain | None = None,
    from_plain: FromPlain | None = None,
    immutable: bool = False,
) -> Any:
    """
    Let objects of a class be stored in sessions, and come back as objects of that class.

    As a decorator, ``@register("cart")``, above ``@dataclass``; or as a call, for a class of
    somebody else: ``register("money", Money, to_plain=…, from_plain=…)``. Every member must do it,
    and before the first request. Subclasses must be registered by themselves.

    Args:
        name: What stands for the class in what is stored: 1 to 64 letters, digits and ``_.:/+-``.
            It stays when the class moves or gets another name.
        cls: The class; None: what is returned is a decorator.
        version: Of the plain form, 1 to 2**31. Raise it when the plain form changes.
        upgrade: Given a plain form and its version, older than this one, returns the plain form of
            this one. It must return the same each time. None: older objects can't be read.
        to_plain: Given an object, returns its plain form, anything that may be stored. None: the
            method of that name; else dataclasses give their fields, Enum members their name, and
            those of a ``Flag`` their number.
        from_plain: Given a plain form, returns the object. None: the class method of that name, or
            the way back from what is given by itself.
        immutable: Its objects never change, so a request that only read one does not look again
            whether it changed. Known of Enum members and of frozen dataclasses.

    Returns:
        The class as it is, or the decorator.

    Raises:
        ConfigError: The name is another class's, the class has another name, or an argument is out
            of bounds.
    """
    if type(name) is not str or not _NAME.fullmatch(name):
        allowed = f"1 to {TYPE_NAME_CHARACTERS_MAX} letters, digits and any of _.:/+-"
        raise ConfigError("register: name", name, allowed)
    if type(version) is not int or not 1 <= version <= VERSION_MAX:
        raise ConfigError("register: version", version, f"a whole number of 1 to {VERSION_MAX}")
    functions = {"upgrade": upgrade, "to_plain": to_plain, "from_plain": from_plain}
    for argument, function in functions.items():
        if function is not None and not callable(function):
            raise ConfigError(f"register: {argument}", function, "a function, or None")

    def registering(it: _Class) -> _Class:
        _check_class(name, it)
        ways = _ways(it, to_plain, from_plain)
        frozen = _frozen_fields(it) if to_plain is None and not _has_methods(it) else None
        is_immutable = immutable or issubclass(it, Enum)
        entry = Registered(name, it, version, *ways, upgrade, is_immutable, frozen)
        by_name[name] = by_class[it] = entry
        return it

    return registering if cls is None else registering(cls)


def restored(name: str, version: int, plain: Any) -> Any:
    """
    Return the object that was stored under a name.

    Raises:
        WireError: The name or the version is not known here, or the application's functions fail.
    """
    entry = by_name.get(name)
    if entry is None:
        raise WireError(f"{name!r} is not the name of a registered type")
    if version > entry.version:
        raise WireError(f"{name!r} has version {version}, known here is {entry.version}")
    try:
        if version < entry.version:
            if entry.upgrade is None:
                raise WireError(f"{name!r} has version {version}, and no upgrade function")
            plain = entry.upgrade(plain, version)
        value = entry.from_plain(plain)
    except WireError:
        raise
    except Exception as error:
        raise WireError(f"{name!r} of version {version} fails: {type(error).__name__}") from error
    if type(value) is not entry.cls:
        raise WireError(f"from_plain of {name!r} returned {type_name(type(value))}")
    return value


def _check_class(name: str, cls: object) -> None:
    field = f"register({name!r})"
    if not isinstance(cls, type):
        raise ConfigError(field, cls, "a class")
    if cls in _NEVER:
        raise ConfigError(field, cls, "a class of your own: this one is stored anyway, or never")
    if inspect.isabstract(cls):
        raise ConfigError(field, cls, "a class that has objects of its own: this one is abstract")
    before = by_name.get(name)
    if before is not None and _origin(before.cls) != _origin(cls):
        raise ConfigError(field, cls, f"another name: this one is that of {type_name(before.cls)}")
    known = by_class.get(cls)
    if known is not None and known.name != name:
        raise ConfigError(field, cls, f"only the name that it has already, {known.name!r}")


def _origin(cls: type) -> tuple[str, str]:
    return cls.__module__, cls.__qualname__


def _ways(
    cls: type, to_plain: ToPlain | None, from_plain: FromPlain | None
) -> tuple[ToPlain, FromPlain]:
    if to_plain is None and from_plain is None:
        if not _has_methods(cls):
            return _own_ways(cls)
    to_plain = to_plain or getattr(cls, "to_plain", None)
    from_plain = from_plain or getattr(cls, "from_plain", None)
    if to_plain is None or from_plain is None:
        missing = "to_plain" if to_plain is None else "from_plain"
        raise ConfigError(f"register: {missing}", None, f"a function: {cls!r} has no such method")
    return to_plain, from_plain


def _has_methods(cls: type) -> bool:
    return hasattr(cls, "to_plain") or hasattr(cls, "from_plain")


def _own_ways(cls: type) -> tuple[ToPlain, FromPlain]:
    if issubclass(cls, Flag):
        # Several members together are a member, too, and have no name to be found by.
        return (lambda member: member._value_), cls
    if issubclass(cls, Enum):
        return (lambda member: member._name_), lambda name: cls[name]
    if "__dataclass_fields__" not in vars(cls) or issubclass(cls, _WITH_CONTENT):
        allowed = "to_plain and from_plain, or a dataclass (then @register stands above @dataclass)"
        raise ConfigError("register", cls, allowed)
    return _ways_of_dataclass(cls)


def _ways_of_dataclass(cls: Any) -> tuple[ToPlain, FromPlain]:
    fields = {field.name: field.init for field in dataclasses.fields(cls)}
    for parameter in inspect.signature(cls).parameters.values():
        given = parameter.default is not parameter.empty or parameter.name in fields
        if not given and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            allowed = f"to_plain and from_plain: it can't be made without {parameter.name!r}"
            raise ConfigError("register", cls, allowed)

    # What __post_init__ makes of the fields it may have made before they were stored.
    is_set_again = hasattr(cls, "__post_init__") or not all(fields.values())

    def to_plain(value: Any) -> dict[str, Any]:
        return {name: getattr(value, name) for name in fields}

    def from_plain(plain: dict[str, Any]) -> Any:
        if not is_set_again:
            return cls(**plain)
        value = cls(**{name: item for name, item in plain.items() if fields.get(name, True)})
        for name, item in plain.items():
            object.__setattr__(value, name, item)
        return value

    return to_plain, from_plain


def _frozen_fields(cls: Any) -> tuple[str, ...] | None:
    settings = vars(cls).get("__dataclass_params__")
    if settings is None or not settings.frozen:
        return None
    return tuple(field.name for field in dataclasses.fields(cls))
