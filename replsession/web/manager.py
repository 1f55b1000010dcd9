"""
The manager: one application's sessions. Source of the word: Tomcat's ``Manager``.

It knows how ids are signed, how long sessions live and who listens; the records are the channel's.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Sequence
from typing import NamedTuple

from replsession.channel.channel import Channel
from replsession.channel.log import MANAGER
from replsession.channel.member import Committed
from replsession.channel.repeats import Repeats
from replsession.channel.waiting import Waiter
from replsession.concern import NOTHING_ASKED, Asked
from replsession.config import Limits
from replsession.errors import SessionTooLarge, UnserializableAttribute
from replsession.events import SessionChanged, SessionExpired
from replsession.identity import (
    LOCATOR_BYTES,
    SECRET_BYTES,
    Key,
    hash_of_secret,
    short,
)
from replsession.metrics import Metrics
from replsession.security.tokens import TokenSigner
from replsession.session.change import Change
from replsession.session.context import Identity, Loaded
from replsession.session.expiry import SessionLimits
from replsession.session.flashes import ID_BYTES
from replsession.session.session import Session
from replsession.session.stamp import Seen
from replsession.web.cookies import values_in
from replsession.web.listeners import Listeners

REMEMBERED_MAX = 4096
"""Cookie headers whose id is remembered."""
REMEMBERED_BYTES_MAX = 1024
"""A longer header is scanned each time: what clients send must not fill the memory."""


class Pending(NamedTuple):
    """A session for which a request has to wait."""

    waiter: Waiter
    identity: Identity
    rest: Sequence[str]
    """Further tokens of the request, if this one comes to nothing."""
    was_here: bool | None = None
    """As of :class:`Loaded`, before the wait."""


class Manager:
    """
    Sessions of one application.

    Args:
        channel: Where records are kept and replicated.
        context: The application's name in the cluster.
        secrets: Sign and verify ids: the first signs, all verify.
        session_limits: How long sessions live.
        listeners: Who is told.
        notify_on_replication: Whether listeners hear of what other members did.
        expire_on_stop: Whether a graceful stop ends the sessions that were served last here.
        sessions_max: How many sessions a principal may have; None: any number.
    """

    def __init__(
        self,
        channel: Channel,
        context: str,
        secrets: Sequence[str],
        session_limits: SessionLimits,
        listeners: Listeners,
        *,
        notify_on_replication: bool = True,
        expire_on_stop: bool = False,
        sessions_max: int | None = None,
    ) -> None:
        self.channel = channel
        self.context = context
        self.session_limits = session_limits
        self.limits = Limits()
        self.tells_primary = False
        """Whether it is looked up for each request if this member had served its session last."""
        self._signer = TokenSigner(secrets, self._read)
        self._listeners = listeners
        self._is_heard = bool(listeners)
        self._remembered: dict[bytes, tuple[Identity, Seen]] = {}
        notify = bool(listeners) and notify_on_replication
        receiver = self._replicated if notify else None
        channel.register(
            context, receiver, expire_on_stop=expire_on_stop, sessions_max=sessions_max
        )

    @property
    def metrics(self) -> Metrics:
        """Counters of this process's member."""
        return self.channel.metrics

    @property
    def repeats(self) -> Repeats:
        """What this process's member has warned of lately."""
        return self.channel.member.repeats

    def _replicated(self, event: SessionChanged | SessionExpired) -> None:
        self._listeners.replicated(event, self.metrics, self.repeats)

    def find(self, texts: Sequence[str]) -> Loaded | Pending | None:
        """
        Return the session of the first text that verifies and is known, or None.

        A text that was not signed by us costs nothing and asks nobody. Pending: whether the first
        is known here is worth a wait; then see :meth:`found_at_last`.
        """
        for number, text in enumerate(texts):
            verified = self._signer.verify(text)
            if verified is None:
                continue
            found = self._open(*verified, texts[number + 1 :])
            if found is not None:
                return found
        return None

    def find_in_cookies(self, line: bytes, name: bytes) -> Loaded | Pending | None:
        """
        Return the session that a request's cookie header names, as :meth:`find` does.

        A browser sends the same header again and again: which id is in it is remembered once it has
        verified. Whether that id is known is asked each time.
        """
        verified = self._remembered.get(line)
        if verified is None:
            texts = values_in(line, name)
            if not texts:
                return None
            if len(texts) > 1:
                self.metrics.cookies_ambiguous += 1
                return self.find(texts)
            verified = self._signer.verify(texts[0])
            if verified is None:
                return None
            if len(line) <= REMEMBERED_BYTES_MAX:
                if len(self._remembered) >= REMEMBERED_MAX:
                    self._remembered = {}
                self._remembered[line] = verified
        return self._open(*verified, ())

    def _open(self, identity: Identity, seen: Seen, rest: Sequence[str]) -> Loaded | Pending | None:
        # Before it is opened, which makes this member the last one.
        was_here = self.channel.served_last(identity.key) if self.tells_primary else None
        loaded = self.channel.open(identity, seen)
        if isinstance(loaded, Waiter):
            return Pending(loaded, identity, rest, was_here)
        if loaded is None:
            self.metrics.tokens_unknown += 1
        elif was_here is not None:
            return loaded._replace(was_here=was_here)
        return loaded

    def found_at_last(self, pending: Pending) -> Loaded | Pending | None:
        """
        Return what there is when the wait is over, or go on with the next text.

        Raises:
            StateMissing: this member has no state yet, so it cannot say what there is.
        """
        loaded = self.channel.opened_at_last(pending.identity, pending.waiter.lookup)
        if loaded is not None:
            return loaded._replace(was_here=pending.was_here)
        self.metrics.tokens_unknown += 1
        return self.find(pending.rest)

    def identity(self, text: str) -> Identity | None:
        """Return the names that a text of ours stands for; whether they are known is not asked."""
        verified = self._signer.verify(text)
        return None if verified is None else verified[0]

    def token(self, identity: Identity, seen: Seen) -> str:
        """Return what the client shall hold: the signed id, and what it has seen."""
        return self._signer.token(identity.token, seen)

    def printed_token(self, identity: Identity) -> str:
        """Return a token that covers the commit to come of the request that prints it."""
        return self.token(identity, self.channel.reserve(identity.key))

    def is_current(self, identity: Identity) -> bool:
        """Tell whether an id is still that of a session that lives; this is no access."""
        return self.channel.is_current(identity)

    def _read(self, locator: bytes, secret_hash: bytes, token: str) -> Identity:
        return Identity(Key(self.context, locator), secret_hash, token)

    def new_identity(self) -> Identity:
        """Return the names of a session to be born."""
        return self._identity(Key(self.context, secrets.token_bytes(LOCATOR_BYTES)))

    def new_secret(self, identity: Identity) -> Identity:
        """Return the same session with another secret part."""
        return self._identity(identity.key)

    def unique(self) -> bytes:
        """Return 8 bytes that were never returned before, to anybody."""
        return secrets.token_bytes(ID_BYTES)

    def _identity(self, key: Key) -> Identity:
        secret = secrets.token_bytes(SECRET_BYTES)
        return Identity(key, hash_of_secret(secret), self._signer.sign(key.locator, secret))

    def commit(
        self, session: Session, asked: Asked = NOTHING_ASKED, *, is_printed: bool = False
    ) -> Committed | None:
        """
        Seal a session and commit what changed.

        Args:
            session: Of a request.
            asked: Who must hold it before the request goes on.
            is_printed: A token was printed that promises a commit: make one if nothing changed.

        Returns:
            What became of it; None if nothing was committed.

        Raises:
            UnserializableAttribute: a value that may not be stored; nothing was committed.
            SessionTooLarge: a bound was passed; nothing was committed.
        """
        try:
            changes = session.seal()
        except UnserializableAttribute as error:
            self.repeats.warn(
                MANAGER,
                logging.ERROR,
                error.path,
                "Unable to serialize attribute %r (%s) of session %s",
                error.path,
                error.problem,
                short(error.session_id) if error.session_id else "(new)",
            )
            raise
        except SessionTooLarge as error:
            self.repeats.warn(MANAGER, logging.ERROR, "", "Unable to store a session: %s", error)
            raise
        if not changes:
            session.keep_local()
        if not changes and is_printed and session.committed_identity is not None:
            # No write, but a stamp: whoever gets the token asks for it.
            return self.channel.commit((Change(session.committed_identity.key, {}),), asked)
        if not changes:
            return None
        told = self._described(session, changes) if self._is_heard else ()
        committed = self.channel.commit(changes, asked)
        if committed is None:
            session.lost()
            return None
        session.committed()
        if told:
            self._listeners.local(told, self.metrics, self.repeats)
        return committed

    def _described(
        self, session: Session, changes: tuple[Change, ...]
    ) -> list[tuple[Change, str, dict[str, bytes]]]:
        described: list[tuple[Change, str, dict[str, bytes]]] = []
        before, session_id = session.found()
        for change in changes:
            if change.destroy:
                described.append((change, session_id or "", before))
                before = {}
            else:
                described.append((change, session.id or "", before))
        return described

    def undecodable(self, session_id: str | None, name: str, error: Exception) -> None:
        """Log and count an attribute whose bytes can't be read; the rest of the session lives."""
        self.metrics.values_undecodable += 1
        shown = short(session_id or "?")
        self.repeats.warn(
            MANAGER,
            logging.ERROR,
            (name, shown),
            "Unable to decode attribute %r of session %s: %s",
            name,
            shown,
            error,
        )

    def wall_time(self) -> float:
        """Return Unix seconds."""
        return time.time()
