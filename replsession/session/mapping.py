"""
The attributes of a session as a ``dict`` that decodes what is read and records what is changed.

Every method of ``dict`` that reads or writes is overridden. The items behind them may still be
unread, and code in C that looks past the methods finds an :class:`Unread`: pydantic, and so
FastAPI, is told what it stands for, other code fails and stores nothing wrong.
"""

from __future__ import annotations

from collections.abc import (
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    MutableMapping,
    ValuesView,
)
from functools import cache, partial
from types import MappingProxyType
from typing import Any, Final, Self, cast

from replsession.config import Limits
from replsession.errors import SessionTooLarge, WireError
from replsession.session.codec import decode, encode, is_untouched
from replsession.session.context import Local
from replsession.session.record import RESERVED_PREFIX, Values
from replsession.session.values import check_name, mutable


class Unread(partial[Any]):
    """
    Stands in the place of an attribute that nobody has read yet: calling it decodes.

    One object stands for a value as long as the record keeps it.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "<unread attribute: use dict(session)>"

    @property
    def __pydantic_serializer__(self) -> Any:
        return _pydantic_serializer()


@cache
def _pydantic_serializer() -> Any:
    # Only pydantic asks for it. Source: ``ob_type.rs`` of pydantic-core, as for its own models.
    from pydantic_core import SchemaSerializer, core_schema

    calls = core_schema.plain_serializer_function_ser_schema(lambda unread: unread())
    return SchemaSerializer(core_schema.any_schema(serialization=calls))


def _not_loaded() -> Any:
    raise TypeError("the session of a filtered path was not looked up yet: use dict(session)")


NOT_LOADED: Final = Unread(_not_loaded)
NONE_YET: Final = cast("MutableMapping[str, None]", MappingProxyType({}))
"""In the place of a dict that is only made when the session is looked up."""
_MISSING: Final = object()


class Attributes(dict[str, Any]):
    """A ``dict`` with ``accessed`` and ``modified`` as in Starlette's session."""

    accessed: bool = False
    modified: bool = False

    _behind: Mapping[str, bytes | None] = MappingProxyType({})
    """Committed writes that are not in the baseline yet."""
    _written: MutableMapping[str, None] = NONE_YET
    """Names that were assigned or removed since the last seal."""
    _watched: MutableMapping[str, None] = NONE_YET
    """Names whose decoded value can be changed in place."""
    _local: Local | None = None
    """Knows which names stay on this member, and keeps them; set in an application's subclass."""
    _lazy: bool = False
    """Not looked up yet; the first touch calls :meth:`_load`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._baseline: dict[str, bytes] = {}
        """Bytes of every attribute, as they were found."""
        self._written = dict.fromkeys(dict.keys(self))
        self._watched = {}

    @property
    def is_untouched(self) -> bool:
        """Whether the session of a filtered request was not looked up, since nobody asked."""
        return self._lazy

    def _load(self) -> None:
        raise AssertionError("only a session of a request is lazy")

    def _undecodable(self, name: str, error: Exception) -> None:
        """Take note of bytes that can't be read; the rest of the session lives."""

    def _put_unread(self, values: Values) -> None:
        unread = values.unread
        for name, stands in unread.items():
            if stands is None:
                unread[name] = Unread(decode, values[name])
        dict.update(self, unread)

    def _read(self) -> None:
        if self._lazy:
            self._load()
        self.accessed = True

    def _decoded(self, name: str) -> Any:
        """Return an attribute that was unread; one whose bytes can't be read is as if not there."""
        try:
            value = decode(self._baseline[name])
        except WireError as error:
            dict.__delitem__(self, name)
            self._undecodable(name, error)
            return _MISSING
        dict.__setitem__(self, name, value)
        if mutable(value):
            self._watched[name] = None
        return value

    def _read_all(self) -> None:
        self._read()
        for name in [name for name, value in dict.items(self) if type(value) is Unread]:
            self._decoded(name)

    def _write(self, name: str) -> None:
        self.mark_modified()
        self._written[name] = None

    def mark_accessed(self) -> None:
        """Say that the response depends on the session, so that it gets ``Vary: Cookie``."""
        # Starlette says it whenever request.session is taken, and it may go straight to pydantic.
        self._read()

    def mark_modified(self) -> None:
        """Say that the session changed, so that the cookie is sent; changes are found anyway."""
        if self._lazy:
            self._load()
        self.accessed = True
        self.modified = True

    def __getitem__(self, name: str) -> Any:
        if self._lazy:
            self._load()
        self.accessed = True
        value = dict.__getitem__(self, name)
        if type(value) is Unread:
            value = self._decoded(name)
            if value is _MISSING:
                raise KeyError(name)
        return value

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute, or *default*."""
        if self._lazy:
            self._load()
        self.accessed = True
        value = dict.get(self, name, _MISSING)
        if type(value) is Unread:
            value = self._decoded(name)
        return default if value is _MISSING else value

    def __contains__(self, name: object) -> bool:
        self._read()
        return super().__contains__(name)

    def __len__(self) -> int:
        self._read()
        return super().__len__()

    # Who is told all names will ask for the values, as dict(session) does: a name whose value can't
    # be read must be gone by then.

    def __iter__(self) -> Iterator[str]:
        self._read_all()
        return super().__iter__()

    def __reversed__(self) -> Iterator[str]:
        self._read_all()
        return super().__reversed__()

    def keys(self) -> KeysView[str]:  # type: ignore[override]
        """Return the names."""
        self._read_all()
        return super().keys()

    def values(self) -> ValuesView[Any]:  # type: ignore[override]
        """Return the values, all decoded."""
        self._read_all()
        return super().values()

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]
        """Return names and values, all decoded."""
        self._read_all()
        return super().items()

    def __eq__(self, other: object) -> bool:
        self._read_all()
        if isinstance(other, Attributes):
            other._read_all()
        return super().__eq__(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None

    def __repr__(self) -> str:
        self._read_all()
        return super().__repr__()

    def copy(self) -> dict[str, Any]:
        """Return a plain ``dict`` of the attributes."""
        self._read_all()
        return super().copy()

    __copy__ = copy

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """Copy and pickle as the plain ``dict`` of the attributes."""
        return dict, (self.copy(),)

    def __or__(self, other: Any) -> Any:
        return self.copy() | other

    def __ror__(self, other: Any) -> Any:
        return other | self.copy()

    def __setitem__(self, name: str, value: Any) -> None:
        if self._lazy:
            self._load()
        self.accessed = self.modified = True
        self._written[name] = None
        dict.__setitem__(self, name, value)

    def __delitem__(self, name: str) -> None:
        self._write(name)
        super().__delitem__(name)

    def clear(self) -> None:
        """Remove everything, which ends the session; a write after that begins a new one."""
        self.mark_modified()
        super().clear()
        self._written.clear()
        self._watched.clear()

    def pop(self, name: str, *default: Any) -> Any:
        """Remove an attribute and return it."""
        if name in self:
            value = self.get(name, _MISSING)
            if value is not _MISSING:
                self._write(name)
                return super().pop(name, *default)
        return super().pop(name, *default)

    def popitem(self) -> tuple[str, Any]:
        """Remove the last attribute and return its name and value."""
        self._read_all()
        name, value = super().popitem()
        self._write(name)
        return name, value

    def setdefault(self, name: str, default: Any = None) -> Any:
        """Return an attribute, set to *default* if it was not there."""
        value = self.get(name, _MISSING)
        if value is _MISSING:
            self[name] = value = default
        return value

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Set attributes from mappings or pairs."""
        self.mark_modified()
        for name, value in dict(*args, **kwargs).items():
            self[name] = value

    def __ior__(  # type: ignore[override,misc]
        self, other: Mapping[str, Any] | Iterable[tuple[str, Any]], /
    ) -> Self:
        self.update(other)
        return self

    def _changed(
        self, baseline: dict[str, bytes], limits: Limits, counted: Mapping[str, bytes], more: int
    ) -> dict[str, bytes | None]:
        """
        Return what differs from *baseline*: encoded values, and None for what was removed.

        Only what was assigned, removed, or can have been changed in place is encoded.

        Args:
            baseline: Bytes of every attribute, as they were found.
            limits: Of the session; that for its size also bounds *counted* and *more*.
            counted: What is shown of the counters that were counted on.
            more: Bytes of what else was put into the session.
        """
        writes: dict[str, bytes | None] = {}
        local = self._local
        for name in self._written:
            if local is not None and local.covers(name):
                continue
            if dict.__contains__(self, name):
                self._compare(name, baseline, writes, limits)
            elif name in baseline:
                writes[name] = None
        for name in self._watched:
            if local is not None and local.covers(name):
                continue
            if name not in self._written and dict.__contains__(self, name):
                self._compare(name, baseline, writes, limits)
        if writes or counted or more:
            _check_size(baseline, {**writes, **counted} if counted else writes, limits, more)
        return writes

    def _compare(
        self,
        name: str,
        baseline: dict[str, bytes],
        writes: dict[str, bytes | None],
        limits: Limits,
    ) -> None:
        before = baseline.get(name)
        if before is None:
            check_name(name)
        encoded = encode(name, dict.__getitem__(self, name), limits)
        if encoded != before and (before is None or not is_untouched(before, encoded)):
            writes[name] = encoded

    def _catch_up(self) -> None:
        """Take what was committed into the baseline; most requests never need it."""
        if self._behind:
            # A new dict: the old one is shared with the record's other readers.
            self._baseline = {
                name: value
                for name, value in {**self._baseline, **self._behind}.items()
                if value is not None and not name.startswith(RESERVED_PREFIX)
            }
            self._behind = {}


def _check_size(
    baseline: dict[str, bytes], writes: Mapping[str, bytes | None], limits: Limits, more: int
) -> None:
    if len(writes) == 1 and not more:
        for name, value in writes.items():
            if value is None or len(value) <= len(baseline.get(name, b"")):
                return
    size, count = sum(map(len, baseline.values())) + more, len(baseline)
    for name, value in writes.items():
        before = baseline.get(name)
        size += len(value or b"") - len(before or b"")
        count += (value is not None) - (before is not None)
    if count > limits.attributes_max:
        raise SessionTooLarge("the session", count, limits.attributes_max, "attributes")
    if size > limits.session_bytes_max:
        raise SessionTooLarge("the session", size, limits.session_bytes_max, "bytes")
