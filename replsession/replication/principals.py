"""
Principals at work: ends all sessions of somebody, here, everywhere, and later.

::

    end_all("alice")    my epoch of that name ──▶ everybody; each of its sessions here ──▶ ended
    epochs come         sessions of that name here whose login has not seen them ──▶ ended
    a session comes     its login has not seen the epochs here ──▶ ended
    a request           the same, before it is served, and before it writes

An end is a tombstone like any other: it wins over whatever a slow request writes
(docs/design.md, rule 10; ``session/principals.py`` has the data).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from replsession.events import Event, SessionChanged
from replsession.identity import Key
from replsession.metrics import Metrics
from replsession.replication.outbox import HELD_ALL, Item
from replsession.replication.peers import Peers
from replsession.session import codec
from replsession.session.expiry import is_over_here, limits_of
from replsession.session.principals import (
    Login,
    covers,
    encoded_login,
    epochs_in,
    epochs_key,
    login_of,
)
from replsession.session.record import SECRET, Record
from replsession.session.stamp import Stamp
from replsession.session.store import Store


@dataclass
class Principals:
    """Judges sessions by whose they are, on one member."""

    store: Store
    peers: Peers
    metrics: Metrics
    events: list[Event]
    reported: dict[str, None]
    """Contexts whose changes are told as events."""
    sessions_max: dict[str, int] = field(default_factory=dict)
    """For each context that bounds it, how many sessions a principal may have at once."""
    stamp: Callable[[float], Stamp] = field(init=False)
    """Returns a stamp for what is done here now."""

    def login(self, record: Record, value: bytes) -> bytes:
        """
        Return what the register of a login holds.

        Args:
            record: The session.
            value: The name, as the application's member encoded it.
        """
        name: str = codec.decode(value)
        # Not `get`, here and below: what becomes warm may put *record* itself to rest.
        epochs = epochs_in(self.store.peek(epochs_key(record.key.context, name)))
        return encoded_login(Login(name, epochs))

    def has_ended(self, record: Record, now: float) -> bool:
        """Tell whether all sessions of this one's principal were ended; then end it here, too."""
        if self._is_covered(record):
            return False
        self.end(record, now)
        return True

    def came(self, record: Record, now: float) -> None:
        """
        A record has changed by news of another member: judge it, or those that it judges.

        The caller reports the end of *record* itself to listeners.
        """
        if record.key.is_internal:
            for key in self.store.principals.keys(record.key):
                other = self.store.get(key)
                assert other is not None
                self.has_ended(other, now)
        elif not self._is_covered(record):
            self._bury(record, now)

    def keys(self, context: str, name: str) -> tuple[Key, ...]:
        """Return the sessions of a principal, also such as sleep or have ended elsewhere."""
        return self.store.principals.keys(epochs_key(context, name))

    def live(self, context: str, name: str, now: float) -> list[Record]:
        """Return the sessions of a principal that a request would find here."""
        found: list[Record] = []
        for key in self.keys(context, name):
            record = self.store.peek(key)
            assert record is not None
            if self.is_live(record, now):
                found.append(record)
        return found

    def is_live(self, record: Record, now: float) -> bool:
        """Tell whether a request would find this session here."""
        return _is_open(record, now) and self._is_covered(record)

    def end_all(self, place: Key, now: float) -> int:
        """End the sessions of a principal whose epochs are kept at *place*; return how many."""
        ended = 0
        for key in self.store.principals.keys(place):
            record = self.store.get(key)
            assert record is not None
            ended += _is_open(record, now)
            self.end(record, now)
        return ended

    def end(self, record: Record, now: float) -> None:
        """End one session here and everywhere, and tell listeners."""
        was_visible = record.complete and record.destroyed is None and not record.asleep
        secret_hash = record.value(SECRET) or b""
        self._bury(record, now)
        if was_visible and record.key.context in self.reported:
            self.events.append(SessionChanged(record.key, secret_hash, False, True, ()))

    def keep_bound(self, record: Record, now: float) -> None:
        """End the least recently used sessions of a principal that has just logged in once more."""
        most = self.sessions_max.get(record.key.context)
        login = login_of(record)
        if most is None or login is None:
            return
        others = [
            other
            for other in self.live(record.key.context, login.name, now)
            if other.key != record.key
        ]
        others.sort(key=lambda other: (other.last_accessed, other.born))
        for other in others[: max(0, len(others) + 1 - most)]:
            self.metrics.principals_bounded += 1
            found = self.store.get(other.key)
            assert found is not None
            self.end(found, now)

    def _is_covered(self, record: Record) -> bool:
        if record.indexed is None:
            return True
        login = login_of(record)
        if login is None:
            return True
        epochs = self.store.peek(epochs_key(record.key.context, login.name))
        return epochs is None or covers(login, epochs_in(epochs))

    def _bury(self, record: Record, now: float) -> None:
        self.metrics.sessions_ended_with_principal += 1
        record.destroy(self.stamp(now), now)
        self.store.changed(record.key)
        for encoded in self.peers.encoded_record(record, now):
            self.peers.put_for_all(Item(record.key, encoded, mark=HELD_ALL))


def _is_open(record: Record, now: float) -> bool:
    return record.is_served and not is_over_here(record, limits_of(record), now)
