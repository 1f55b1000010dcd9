"""
The session that an application sees: what it may ask of it, and tell it.

What becomes of it when the request ends is in ``sealing.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, overload

from replsession.concern import Concern
from replsession.config import Limits, is_number
from replsession.errors import SessionError, WireError
from replsession.session.codec import decode, encode
from replsession.session.counter import within_64_bits
from replsession.session.expiry import (
    SECONDS_MAX,
    SessionLimits,
    encoded_limits,
    ends_at,
    limits_from,
)
from replsession.session.flashes import ID_BYTES, Flash
from replsession.session.principals import check_principal
from replsession.session.record import COOKIE_UNTIL_CLOSED, INTERVAL, PRINCIPAL, SECRET
from replsession.session.sealing import Sealable
from replsession.session.values import check_name


class Session(Sealable):
    """
    A session as a ``dict``, with ``accessed`` and ``modified`` as in Starlette.

    Values are plain and the request's own. May be stored: None, bool, int of 64 bits, float, str,
    bytes, list, tuple, set, frozenset, dict with str or int keys, datetime, date, time, timedelta,
    Decimal, UUID, and objects of classes given to :func:`replsession.register`, at most 32 levels
    deep; anything else raises :class:`UnserializableAttribute` when the request commits.
    """

    @property
    def id(self) -> str | None:
        """Public id, 24 characters; None before the first write. Safe to print, no credential."""
        return self._public_id()

    @property
    def is_new(self) -> bool:
        """Whether the client does not know this session yet."""
        return self._existing() is None or self._born

    @property
    def created_at(self) -> float | None:
        """When the session was born, in Unix seconds; None before its first write."""
        existing = self._existing()
        if existing is not None:
            return existing.created_at
        if self._context is None or self._is_empty():
            return None
        return self._context.wall_time()

    @property
    def last_accessed_at(self) -> float | None:
        """When the request before this one came, in Unix seconds; of a new session: its birth."""
        existing = self._existing()
        return self.created_at if existing is None else existing.last_accessed_at

    @property
    def max_inactive_interval(self) -> float | None:
        """Seconds without a request after which the session is over; None: never."""
        return self._session_limits().idle_s

    @max_inactive_interval.setter
    def max_inactive_interval(self, seconds: float | None) -> None:
        if seconds is not None and (not is_number(seconds) or not 0 < seconds < SECONDS_MAX):
            raise ValueError(
                f"max_inactive_interval: got {seconds!r}; "
                "allowed: seconds above 0, or None for ever"
            )
        limits = self._session_limits()._replace(idle_s=seconds)
        self._write_register(INTERVAL, encoded_limits(limits))

    def set_expiry(self, value: float | timedelta | datetime | None) -> None:
        """
        Give this session an expiry of its own, which its cookie follows.

        Args:
            value: Seconds, or a ``timedelta``, that it may be without a request. A ``datetime``: it
                ends then, whatever is used meanwhile; without a time zone it is one of this
                machine's local time. 0: as by default, and the browser forgets it when it is
                closed. None: as by default, the cookie too.

        Raises:
            ValueError: *value* is none of these.
        """
        self._read()
        if self._context is None:
            defaults, born_at = SessionLimits(None, None), 0.0
        else:
            existing = self._existing()
            defaults = self._context.default_limits()
            born_at = self._context.wall_time() if existing is None else existing.created_at
        limits = limits_from(value, defaults, born_at)
        self._write_register(INTERVAL, encoded_limits(limits))

    @property
    def expires_at(self) -> float | None:
        """When it ends if this request is its last, in Unix seconds; None: never, or no session."""
        born_at = self.created_at
        if born_at is None or self._context is None:
            return None
        return ends_at(self._session_limits(), born_at, self._context.wall_time())

    @property
    def expires_when_browser_closes(self) -> bool:
        """Whether it was told so, by ``set_expiry(0)``."""
        return self._session_limits().cookie == COOKIE_UNTIL_CLOSED

    @property
    def principal(self) -> str | None:
        """
        Whose session it is, as the application has said; None: nobody's.

        All sessions of a principal can be listed, and ended, anywhere in the cluster. Assign it at
        login, together with :meth:`rotate_id`; None takes it away and keeps the session.

        Raises:
            ValueError: a name of less than 1 or more than 256 bytes of UTF-8, or with a NUL.
            TypeError: neither a str nor None.
        """
        return self._principal()

    @principal.setter
    def principal(self, name: str | None) -> None:
        plain = None if name is None else check_principal(name)
        self.mark_modified()
        if plain != self._principal():
            encoded = None if plain is None else encode("principal", plain)
            self._write_register(PRINCIPAL, encoded)

    def increment(self, name: str, amount: int = 1) -> int:
        """
        Count: requests that count at the same time, on whatever members, all add up.

        The counter is an attribute as any other. To assign or remove it starts the count anew.

        Args:
            name: Of the attribute; one that is not there begins at 0.
            amount: To be added, of 64 bits; may be negative, not 0.

        Returns:
            The value as this request sees it.

        Raises:
            TypeError: the attribute, or *amount*, is no int.
            ValueError: *amount* is 0 or too large.
            OverflowError: the value would have more than 64 bits.
            UnserializableAttribute: *name* may not be the name of an attribute.
        """
        _check_amount(amount)
        name = check_name(name)
        value = self.get(name, 0)
        if type(value) is not int or (name in self._unreadable and name not in self._written):
            raise TypeError(f"increment: attribute {name!r} is there, and no int")
        value += amount
        if value != within_64_bits(value):
            raise OverflowError(f"increment: attribute {name!r} would have more than 64 bits")
        if name in self._written or (self._local is not None and self._local.covers(name)):
            self[name] = value
        else:
            self.mark_modified()
            # It may have been a list before: an int is compared with nothing.
            self._watched.pop(name, None)
            self._increments = {**self._increments, name: self._increments.get(name, 0) + amount}
            dict.__setitem__(self, name, value)
        return value

    def flash(
        self, message: Any, category: str = "message", *, allow_duplicate: bool = True
    ) -> None:
        """
        Keep a message for a page to come, in this request or another one.

        What other requests flash at the same time is kept, too. Of more than 100 the oldest go.
        Source of the names: Flask's ``flash`` and Pyramid's ``ISession``.

        Args:
            message: Anything that may be stored; kept as it is now.
            category: A name as attributes have.
            allow_duplicate: False: nothing if the same message waits already.

        Raises:
            UnserializableAttribute: the message may not be stored, or the name is none.
            SessionTooLarge: it has too many bytes.
        """
        limits = Limits() if self._context is None else self._context.limits
        category, encoded = check_name(category), encode("flash", message, limits)
        known = self._messages()
        if not allow_duplicate and any(
            flash.category == category and flash.message == encoded for flash in known.values()
        ):
            return
        self.mark_modified()
        if self._context is None:
            id = len(known).to_bytes(ID_BYTES, "big")
        else:
            id = self._context.unique()
        flash = Flash(id, category, encoded)
        self._flashes = {**known, id: flash}
        self._flashed = {**self._flashed, id: flash}

    @overload
    def pop_flash(self) -> list[tuple[str, Any]]: ...

    @overload
    def pop_flash(self, category: str) -> list[Any]: ...

    def pop_flash(self, category: str | None = None) -> list[Any]:
        """
        Take the messages that wait, the oldest first; what is flashed meanwhile stays.

        Args:
            category: Only its messages are returned and taken. None: all, as pairs of category and
                message.
        """
        found = self._of_category(category)
        if found:
            self.mark_modified()
            before = [flash.id for flash in found if flash.id not in self._flashed]
            self._popped = {**self._popped, **dict.fromkeys(before)}
            self._flashed = _without(self._flashed, found)
            self._flashes = _without(self._messages(), found)
        return self._decoded_flashes(found, category)

    @overload
    def peek_flash(self) -> list[tuple[str, Any]]: ...

    @overload
    def peek_flash(self, category: str) -> list[Any]: ...

    def peek_flash(self, category: str | None = None) -> list[Any]:
        """Return the messages as :meth:`pop_flash` does, and let them wait."""
        return self._decoded_flashes(self._of_category(category), category)

    def _of_category(self, category: str | None) -> list[Flash]:
        flashes = self._messages().values()
        return [flash for flash in flashes if category is None or flash.category == category]

    def _decoded_flashes(self, flashes: list[Flash], category: str | None) -> list[Any]:
        found: list[Any] = []
        for flash in flashes:
            try:
                message = decode(flash.message)
            except WireError as error:
                if self._context is not None:
                    self._context.undecodable(self.id, "flash", error)
                continue
            found.append((flash.category, message) if category is None else message)
        return found

    @property
    def stale(self) -> bool:
        """
        Whether the client has seen more of this session than is known here.

        It happens when the member that took its last write is cut off or dead, and nobody else
        has that write. What the application reads is older then; what it writes still merges.
        """
        self._read()
        return self._context is not None and self._context.is_stale

    async def commit(self, concern: Concern | None = None) -> None:
        """
        Commit what was changed so far, and wait until enough members hold it.

        Args:
            concern: ``async``, ``one``, ``majority`` or ``all``; None: the middleware's.

        Raises:
            ReplicationTimeout: not enough members have acknowledged it. It is not undone.
            UnserializableAttribute: a value that may not be stored; nothing was committed.
            SessionTooLarge: a bound was passed; nothing was committed.
        """
        if self._context is not None:
            await self._context.commit(self, concern)

    def commit_blocking(self, concern: Concern | None = None) -> None:
        """
        As :meth:`commit`, for plain functions in threads.

        Raises:
            SessionError: this thread runs a loop, which must not be blocked.
        """
        if self._context is not None:
            self._context.commit_blocking(self, concern)

    def invalidate(self) -> None:
        """
        End the session everywhere. A request that still runs with it cannot bring it back.

        What is written afterwards is a new session with a new id.
        """
        self.clear()

    def rotate_id(self) -> None:
        """
        Give the session another id, at login for example; the old one is dead once that arrived.

        Attributes stay, also those that other requests write at the same time.

        Raises:
            SessionError: the response has started, so the client could not be told.
        """
        self.mark_modified()
        if self._context is not None and self._context.is_started:
            raise SessionError("rotate_id: the response has started, so no new id can be sent")
        if self._existing() is not None and self._context is not None:
            assert self._identity is not None
            self._identity = self._context.new_secret(self._identity)
            self._write_register(SECRET, self._identity.secret_hash)

    @property
    def url_token(self) -> str | None:
        """The signed id for ``;jsessionid=``: a credential. None before the first write."""
        identity = self._names()
        if identity is None:
            return None
        self._exposed = True
        return identity.token if self._context is None else self._context.printed_token(identity)

    def encode_url(self, url: str) -> str:
        """
        Return *url* with ``;jsessionid=…`` where the client needs it, else as it is.

        Only with ``url_tracking=True``, only for URLs of this site, and not when the client sent a
        cookie. Source: ``HttpServletResponse.encodeURL``.
        """
        identity = self._names()
        if identity is None or self._context is None:
            return url
        encoded = self._context.encode_url(url, identity)
        self._exposed = self._exposed or encoded != url
        return encoded


def _check_amount(amount: object) -> None:
    if type(amount) is not int:
        raise TypeError(f"increment: got {amount!r}; allowed: an int")
    if amount == 0 or amount != within_64_bits(amount):
        raise ValueError(f"increment: got {amount}; allowed: an int of 64 bits, and not 0")


def _without(flashes: Mapping[bytes, Flash], gone: Iterable[Flash]) -> dict[bytes, Flash]:
    ids = {flash.id: None for flash in gone}
    return {id: flash for id, flash in flashes.items() if id not in ids}
