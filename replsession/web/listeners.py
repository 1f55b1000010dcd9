"""
Listeners: application code that hears what happens to sessions, here and on other members.

A listener is any object with some of the five methods of :class:`SessionListener`, as plain
functions. Local events come in the request that made them; replicated ones come in slices outside
any request. An exception in a listener is logged and goes no further.

Loading a replicated session on another member is not "created", nor is a state transfer: a member
that starts does not tell the whole cluster's history.

Source: ``HttpSessionListener`` and ``HttpSessionAttributeListener`` of Jakarta Servlet.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from replsession.channel.repeats import Repeats
from replsession.errors import ConfigError, WireError
from replsession.events import SessionChanged, SessionExpired
from replsession.identity import public_id
from replsession.metrics import Metrics
from replsession.session.change import Change
from replsession.session.codec import decode
from replsession.session.counter import sum_of
from replsession.session.record import RESERVED_PREFIX
from replsession.web.remarks import listener_failed

METHODS = (
    "session_created",
    "session_destroyed",
    "attribute_added",
    "attribute_replaced",
    "attribute_removed",
)


@dataclass(frozen=True, slots=True)
class SessionEvent:
    """
    What a listener is told.

    ``name``, ``value`` and ``old`` are those of the attribute, None for events of the session;
    ``reason`` is ``"invalidated"`` or ``"expired"`` for a destroyed session, else None.
    """

    session_id: str
    context: str
    origin: Literal["local", "replicated"]
    name: str | None = None
    value: Any = None
    old: Any = None
    reason: str | None = None


class SessionListener(Protocol):
    """All that a listener may have, as a base for those who want one; each method is optional."""

    # Each returns, because type checkers take a protocol's method without a body for abstract.

    def session_created(self, event: SessionEvent) -> None:
        """A session was born."""
        return

    def session_destroyed(self, event: SessionEvent) -> None:
        """A session has ended."""
        return

    def attribute_added(self, event: SessionEvent) -> None:
        """An attribute is new."""
        return

    def attribute_replaced(self, event: SessionEvent) -> None:
        """An attribute has another value."""
        return

    def attribute_removed(self, event: SessionEvent) -> None:
        """An attribute is gone."""
        return


class Listeners:
    """
    All listeners of one application.

    Args:
        listeners: The objects.
        context: The application's name.

    Raises:
        ConfigError: an object has none of the methods, or one that is a coroutine function.
    """

    def __init__(self, listeners: Sequence[object], context: str) -> None:
        if isinstance(listeners, str) or not isinstance(listeners, Sequence):
            raise ConfigError("listeners", listeners, "a list of listeners")
        for listener in listeners:
            _check(listener)
        self._listeners = tuple(listeners)
        self._context = context

    def __bool__(self) -> bool:
        return bool(self._listeners)

    def local(
        self,
        changes: Sequence[tuple[Change, str, dict[str, bytes]]],
        metrics: Metrics,
        repeats: Repeats | None = None,
    ) -> None:
        """Tell what a request did: each change, the id of its session, and the bytes before."""
        for change, session_id, before in changes:
            tell = _Teller(self._listeners, session_id, self._context, "local", metrics, repeats)
            if change.birth:
                tell("session_created")
            for name, value in change.writes.items():
                if not name.startswith(RESERVED_PREFIX):
                    tell.attribute(name, before.get(name), value)
            for name, amount in change.increments.items():
                tell.attribute(name, before.get(name), sum_of(before.get(name), amount))
            if change.destroy:
                tell("session_destroyed", reason="invalidated")

    def replicated(
        self,
        event: SessionChanged | SessionExpired,
        metrics: Metrics,
        repeats: Repeats | None = None,
    ) -> None:
        """Tell what another member did, or that a session is over."""
        session_id = public_id(event.key.locator, event.secret_hash)
        if isinstance(event, SessionExpired):
            tell = _Teller(self._listeners, session_id, self._context, "local", metrics, repeats)
            tell("session_destroyed", reason="expired")
            return
        tell = _Teller(self._listeners, session_id, self._context, "replicated", metrics, repeats)
        if event.created:
            tell("session_created")
        for name, old, value in event.changes:
            tell.attribute(name, old, value)
        if event.destroyed:
            tell("session_destroyed", reason="invalidated")


@dataclass(frozen=True, slots=True)
class _Teller:
    listeners: tuple[object, ...]
    session_id: str
    context: str
    origin: Literal["local", "replicated"]
    metrics: Metrics
    repeats: Repeats | None

    def attribute(self, name: str, old: bytes | None, value: bytes | None) -> None:
        """Tell what became of one attribute."""
        if value is None:
            method = "attribute_removed"
        else:
            method = "attribute_added" if old is None else "attribute_replaced"
        self(method, name=name, value=_value(value), old=_value(old))

    def __call__(self, method: str, **fields: Any) -> None:
        event = SessionEvent(self.session_id, self.context, self.origin, **fields)
        for listener in self.listeners:
            function = getattr(listener, method, None)
            if function is None:
                continue
            try:
                function(event)
            except Exception:  # noqa: BLE001 - it is the application's, and is logged
                self.metrics.listener_errors += 1
                repeats = self.repeats or Repeats(self.metrics)
                listener_failed(repeats, type(listener).__name__, method)


def _value(encoded: bytes | None) -> Any:
    if encoded is None:
        return None
    try:
        return decode(encoded)
    except WireError:
        # The application finds the attribute missing, and the log says so when it reads it.
        return None


def _check(listener: object) -> None:
    found = [method for method in METHODS if hasattr(listener, method)]
    if not found:
        raise ConfigError("listeners", listener, "objects with some of " + ", ".join(METHODS))
    for method in found:
        function = getattr(listener, method)
        if not callable(function) or inspect.iscoroutinefunction(function):
            raise ConfigError(f"listeners: {method}", function, "a plain function, not a coroutine")
        if isinstance(listener, type) and inspect.isfunction(vars(listener).get(method)):
            raise ConfigError("listeners", listener, "objects: call the class to make one")
