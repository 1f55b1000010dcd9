"""A world for sessions under test: it gives ids, keeps what is committed, and does no I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from replsession.concern import Concern
from replsession.config import Limits
from replsession.identity import Key, hash_of_secret
from replsession.session.change import Change
from replsession.session.codec import encode
from replsession.session.context import Identity, Loaded
from replsession.session.counter import sum_of
from replsession.session.expiry import SessionLimits
from replsession.session.flashes import Flash
from replsession.session.record import RESERVED_PREFIX, Values
from replsession.session.session import Session

LIMITS = SessionLimits(1800, None)
BORN_AT = 1_700_000_000.0
NOW = BORN_AT + 60
Act = Callable[[Session], object]


def assign(**values: Any) -> Act:
    """Return what sets these attributes."""
    return lambda session: session.update(values)


def both(*acts: Act) -> Act:
    """Return what does one after another."""
    return lambda session: [act(session) for act in acts]


@dataclass
class World:
    """
    The context of sessions, and the records behind them.

    ``records`` maps the key of each living session to the bytes of its attributes; ``ended`` has
    the keys of those that were destroyed.
    """

    limits: Limits = field(default_factory=Limits)
    is_started: bool = False
    records: dict[Key, dict[str, bytes]] = field(default_factory=dict)
    reserved: dict[Key, dict[str, bytes | None]] = field(default_factory=dict)
    """What was committed under names that records keep for themselves."""
    flashes: dict[Key, dict[bytes, Flash]] = field(default_factory=dict)
    ended: list[Key] = field(default_factory=list)
    to_load: Loaded | None = None
    loads: int = 0
    is_stale: bool = False
    waited: list[tuple[str, Concern | None]] = field(default_factory=list)
    """How sessions asked to be committed by themselves, and with which write concern."""
    printed: list[Identity] = field(default_factory=list)
    """Names for which a token was asked for, to be printed."""
    undecodables: list[tuple[str | None, str]] = field(default_factory=list)
    _secrets: int = 0

    def load(self) -> Loaded | None:
        """Return what a lazy session finds."""
        self.loads += 1
        return self.to_load

    def new_identity(self) -> Identity:
        """Return names that were not there before."""
        return self._identity(Key("/", self._secrets.to_bytes(12, "big")))

    def new_secret(self, identity: Identity) -> Identity:
        """Return another secret part for the same session."""
        return self._identity(identity.key)

    def unique(self) -> bytes:
        """Return what was never returned before."""
        self._secrets += 1
        return self._secrets.to_bytes(8, "big")

    def default_limits(self) -> SessionLimits:
        """Return the limits of a new session."""
        return LIMITS

    def wall_time(self) -> float:
        """Return the time, which stands still."""
        return NOW

    def printed_token(self, identity: Identity) -> str:
        """Return a token that can be told from the bare one."""
        self.printed.append(identity)
        return f"{identity.token}.seen"

    def encode_url(self, url: str, identity: Identity) -> str:
        """Put such a token behind paths alone."""
        if not url.startswith("/"):
            return url
        return f"{url};jsessionid={self.printed_token(identity)}"

    async def commit(self, session: Session, concern: Concern | None) -> None:
        """Apply what changed; nobody is waited for."""
        self.waited.append(("commit", concern))
        self.apply(session)

    def commit_blocking(self, session: Session, concern: Concern | None) -> None:
        """The same for a thread."""
        self.waited.append(("commit_blocking", concern))
        self.apply(session)

    def undecodable(self, session_id: str | None, name: str, error: Exception) -> None:
        """Take note."""
        self.undecodables.append((session_id, name))

    def found(self, **values: object) -> Loaded:
        """Return what a request finds of a session that has these attributes."""
        return self.found_bytes({name: encode(name, value) for name, value in values.items()})

    def found_bytes(self, values: dict[str, bytes]) -> Loaded:
        """Return what a request finds of a session with such bytes."""
        identity = self.new_identity()
        self.records[identity.key] = dict(values)
        return Loaded(identity, Values(values), BORN_AT, BORN_AT + 30, LIMITS)

    def session(self, **values: object) -> Session:
        """Return the session of a request that found one with these attributes."""
        return Session.attached(self, self.found(**values))

    def new_session(self) -> Session:
        """Return the session of a request that found none."""
        return Session.attached(self, None)

    def lazy_session(self, **values: object) -> Session:
        """Return the session of a filtered request, which would find these attributes."""
        self.to_load = self.found(**values)
        return Session.lazy(self)

    def apply(self, session: Session) -> tuple[Change, ...]:
        """Seal a session and apply what changed, as a manager does."""
        changes = session.seal()
        for change in changes:
            self._apply(change)
        if changes:
            session.committed()
        return changes

    def _identity(self, key: Key) -> Identity:
        self._secrets += 1
        return Identity(key, hash_of_secret(bytes([self._secrets % 256])), f"t{self._secrets}")

    def _apply(self, change: Change) -> None:
        if change.destroy:
            assert not change.writes and not change.birth
            del self.records[change.key]
            self.ended.append(change.key)
            return
        assert change.birth is (change.key not in self.records)
        record = self.records.setdefault(change.key, {})
        for name, value in change.writes.items():
            if name.startswith(RESERVED_PREFIX):
                self.reserved.setdefault(change.key, {})[name] = value
            elif value is None:
                del record[name]
            else:
                record[name] = value
        for name, amount in change.increments.items():
            counted = sum_of(record.get(name), amount)
            assert counted is not None
            record[name] = counted
        flashes = self.flashes.setdefault(change.key, {})
        for gone in change.popped:
            del flashes[gone]
        flashes.update({flash.id: flash for flash in change.flashed})
