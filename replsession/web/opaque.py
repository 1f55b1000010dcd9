"""
Opaque values under keys that somebody else chose: for frameworks that keep whole sessions in bytes.

1. A key is never kept: where its value lies is a keyed hash of it. So members hold nothing with
   which a client could come, and the key of another application's secret leads elsewhere.
2. A value that was ended stays ended: what is put under its key later is dropped, and said to be.
   A value that is merely over may be put anew.
3. A value is over so many seconds after it was put, whether it is read or not. The time is counted
   from the birth of its record, so that no two clocks are compared.
4. Nobody says what the client has seen: a read serves what is here.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from typing import Any, Final, NamedTuple, TypedDict, Unpack

from replsession.channel.log import MANAGER
from replsession.channel.member import Committed, StateMissing
from replsession.channel.waiting import Waiter
from replsession.cluster import Cluster
from replsession.concern import Concern
from replsession.config import is_number
from replsession.errors import ReplicationTimeout, SessionError
from replsession.identity import LOCATOR_BYTES, SECRET_BYTES, Key, hash_of_secret, public_id
from replsession.session.change import Change
from replsession.session.codec import decode, encode
from replsession.session.context import Identity, Loaded
from replsession.session.expiry import SECONDS_MAX, SessionLimits, encoded_limits
from replsession.session.record import INTERVAL, SECRET
from replsession.session.stamp import NOTHING_SEEN
from replsession.web.application import Application
from replsession.web.settings import Unset, secrets_of

ENDED_AT_ONCE_MAX = 1000
"""Values ended in one commit when all are."""
RENEWALS: Final = 10
"""A time to live is renewed when a tenth of it has passed, so that most reads send nothing."""

_VALUE, _UNTIL = "value", "until_s"
_PERSON = b"replsession.keys"


class StoreOptions(TypedDict, total=False):
    """What stores for other frameworks take; see :class:`Application`."""

    cluster: Cluster | Unset | None
    required: bool
    concern: Concern
    ack_timeout_s: float
    expected_members: int | None


class Held(NamedTuple):
    """A value, and how long it still lives."""

    value: bytes
    left_s: float | None
    """Seconds; None: for ever."""


class OpaqueStore:
    """
    Values under keys.

    Args:
        secret_key: Where a value lies depends on it; of a list, the first counts, and what lies
            where the others say is found as well.
        context: The application's name in the cluster; all values of it are ended together.
        options: ``cluster``, ``concern`` and so on, as of every front door.

    Raises:
        ConfigError: a value is not allowed.
    """

    def __init__(self, secret_key: Any, context: str, **options: Unpack[StoreOptions]) -> None:
        # A bound on the sessions of a principal, or an end at shutdown, is not meant for values.
        takes = tuple(StoreOptions.__annotations__)
        application = Application(secret_key, None, takes=takes, context=context, **options)
        self.channel = application.channel
        self._context = context
        self._manager = application.manager
        self._asked = application.policy.asked
        self._secrets = tuple(_derived(secret) for secret in secrets_of(secret_key))

    async def get(self, key: str, renew_for_s: float | None = None) -> Held | None:
        """
        Return what lies under a key.

        Args:
            key: Any text.
            renew_for_s: Let it live so many seconds from now, if its time is limited at all.

        Raises:
            SessionError: this member is still receiving the state of the others.
        """
        found = await self._find(key)
        if found is None:
            return None
        identity, held = found
        if renew_for_s is None or held.left_s is None or not _is_due(held.left_s, renew_for_s):
            return held
        self._commit(identity, self._times(identity, renew_for_s))
        return held._replace(left_s=renew_for_s)

    async def put(self, key: str, value: bytes, ttl_s: float | None) -> bool:
        """
        Put a value under a key, in place of what is there.

        Args:
            key: Any text.
            value: At most 256 KiB.
            ttl_s: Seconds until it is over; None: never.

        Returns:
            Whether it was kept: not if what lay there was ended.

        Raises:
            SessionError: it is too large, or this member has no state yet.
            ReplicationTimeout: too few members hold it. It is kept all the same.
        """
        if ttl_s is not None and (not is_number(ttl_s) or not 0 < ttl_s < SECONDS_MAX):
            raise ValueError(f"ttl_s: got {ttl_s!r}; allowed: seconds above 0, or None for ever")
        encoded = encode(_VALUE, value, self._manager.limits)
        identity, loaded = await self._look_for(key)
        writes = {_VALUE: encoded, **self._times(identity, ttl_s)}
        committed = self._commit(identity, writes, birth=loaded is None)
        if committed is None:
            self.channel.member.repeats.warn(
                MANAGER,
                logging.WARNING,
                identity.key,
                "Session %s was ended: what is put under its key is not kept",
                _named(identity),
            )
            return False
        await self._wait(committed)
        return True

    async def end(self, key: str) -> None:
        """End what lies under a key, on every member and for good; or do nothing."""
        identity, loaded = await self._look_for(key)
        if loaded is not None:
            change = Change(identity.key, {}, destroy=True)
            committed = self.channel.commit((change,), self._asked)
            if committed is not None:
                await self._wait(committed)

    async def end_all(self) -> None:
        """End everything of this application that is known to this member."""
        self.channel.ensure_started()
        member = self.channel.member
        with member.lock:
            keys = [
                record.key
                for record in member.node.store.records()
                if record.key.context == self._context and record.destroyed is None
            ]
        for at in range(0, len(keys), ENDED_AT_ONCE_MAX):
            some = keys[at : at + ENDED_AT_ONCE_MAX]
            self.channel.commit(tuple(Change(key, {}, destroy=True) for key in some))

    async def _find(self, key: str) -> tuple[Identity, Held] | None:
        identity, loaded = await self._look_for(key)
        if loaded is None:
            return None
        value, until_s = loaded.values.get(_VALUE), loaded.values.get(_UNTIL)
        if value is None:
            return None
        left_s = None
        limit = None if until_s is None else decode(until_s)
        if limit is not None:
            left_s = limit - self.channel.member.age_s(identity.key)
            if left_s <= 0:
                return None
        return identity, Held(decode(value), left_s)

    async def _look_for(self, key: str) -> tuple[Identity, Loaded | None]:
        self.channel.ensure_started()
        first = None
        for secret in self._secrets:
            identity = self._identity(secret, key)
            first = first or identity
            loaded = await self._opened(identity)
            if loaded is not None:
                return identity, loaded
        assert first is not None
        return first, None

    async def _opened(self, identity: Identity) -> Loaded | None:
        found = self.channel.open(identity, NOTHING_SEEN)
        if not isinstance(found, Waiter):
            return found
        await found.wait()
        try:
            return self.channel.opened_at_last(identity, found.lookup)
        except StateMissing:
            raise SessionError(
                "this member is still receiving the sessions of the others"
            ) from None

    def _identity(self, secret: bytes, key: str) -> Identity:
        text = key.encode("utf-8", "surrogatepass")
        size = LOCATOR_BYTES + SECRET_BYTES
        names = hashlib.blake2b(text, digest_size=size, key=secret, person=_PERSON).digest()
        place = Key(self._context, names[:LOCATOR_BYTES])
        return Identity(place, hash_of_secret(names[LOCATOR_BYTES:]), "")

    def _commit(
        self, identity: Identity, writes: dict[str, bytes | None], *, birth: bool = False
    ) -> Committed | None:
        if birth:
            writes = {**writes, SECRET: identity.secret_hash}
        return self.channel.commit((Change(identity.key, writes, birth),), self._asked)

    def _times(self, identity: Identity, ttl_s: float | None) -> dict[str, bytes | None]:
        limits = encoded_limits(SessionLimits(ttl_s, None))
        if ttl_s is None:
            return {_UNTIL: None, INTERVAL: limits}
        # A record that is merely over, and is put anew, keeps its birth.
        until_s = self.channel.member.age_s(identity.key) + ttl_s
        return {_UNTIL: encode(_UNTIL, until_s), INTERVAL: limits}

    async def _wait(self, committed: Committed) -> None:
        waiter = committed.waiter
        if waiter is not None:
            await waiter.wait()
            ticket = waiter.ticket
            if not ticket.is_met:
                raise ReplicationTimeout(
                    ticket.asked.concern, ticket.needed, ticket.acknowledged, ticket.missing
                )


def _is_due(left_s: float, renew_for_s: float) -> bool:
    return not renew_for_s * (RENEWALS - 1) / RENEWALS <= left_s <= renew_for_s


def _named(identity: Identity) -> str:
    return public_id(identity.key.locator, identity.secret_hash)[:8]


def _derived(secret: str) -> bytes:
    text = secret.encode("utf-8", "surrogatepass")
    return hmac.digest(hashlib.sha256(text).digest(), _PERSON, "sha256")
