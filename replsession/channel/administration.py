"""
Administration: what an administrator may know of sessions, and end.

Nothing here is a credential: a session's id is its public one, and values are not shown.
"""

from __future__ import annotations

import binascii
import time
from base64 import b64decode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from replsession.channel.member import LocalMember
from replsession.identity import LOCATOR_BYTES, Key, public_id
from replsession.session.expiry import limits_of
from replsession.session.principals import login_of
from replsession.session.record import SECRET, Record
from replsession.session.store import BUCKETS

_ID_CHARACTERS = 24


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """
    One session, as this process's member knows it.

    Times are Unix seconds. Accesses on other members are told in batches, so ``last_accessed_at``
    may lag behind.
    """

    id: str
    context: str
    principal: str | None
    created_at: float
    last_accessed_at: float
    expires_at: float | None
    """When it is over unless it is used before; None: never."""
    attributes: tuple[str, ...]
    """Names of its attributes, in no certain order."""
    bytes: int
    """Encoded values of all attributes together."""


def contexts(member: LocalMember) -> list[str]:
    """Return the applications of which there are sessions here."""
    with member.lock:
        sizes = member.node.store.sizes
        return sorted(
            name for name, size in sizes.items() if size and not Key(name, b"").is_internal
        )


def named(member: LocalMember, used: Iterable[str], context: str | None) -> list[str]:
    """Return the one application that is meant, or all: those *used* here, and those known."""
    return sorted({*used, *contexts(member)}) if context is None else [context]


def sessions(member: LocalMember, context: str | None) -> Iterator[SessionInfo]:
    """
    Yield the sessions of one application, or of all, that a request would find here.

    In 256 steps, so that requests are held up by none of them for long; what changes meanwhile is
    seen or not.
    """
    for bucket in range(BUCKETS):
        now = time.monotonic()
        with member.lock:
            node = member.node
            found: list[SessionInfo] = []
            for key in node.store.keys(bucket):
                if key.is_internal or (context is not None and key.context != context):
                    continue
                record = node.store.peek(key)
                if record is not None and node.principals.is_live(record, now):
                    found.append(info_of(record, node.wall_offset_s))
        yield from found


def sessions_of(member: LocalMember, names: Iterable[str], principal: str) -> list[SessionInfo]:
    """Return the sessions of a principal in some applications, the last used first."""
    now = time.monotonic()
    with member.lock:
        node = member.node
        records = [r for name in names for r in node.principals.live(name, principal, now)]
        records.sort(key=lambda record: -record.last_accessed)
        return [info_of(record, node.wall_offset_s) for record in records]


def end(member: LocalMember, context: str, session_id: str) -> bool:
    """End one session on all members; return whether it was there under this id."""
    locator = _locator(session_id)
    if locator is None:
        return False
    now = time.monotonic()
    with member.lock:
        node = member.node
        record = node.store.get(Key(context, locator))
        if record is None or not record.is_served or id_of(record) != session_id:
            return False
        node.principals.end(record, now)
    member.wake()
    return True


def end_all(member: LocalMember, names: Iterable[str], principal: str) -> int:
    """End all sessions of a principal in some applications; return how many were live here."""
    now = time.monotonic()
    with member.lock:
        ended = sum(member.node.requests.end_all(name, principal, now) for name in names)
    member.wake()
    return ended


def _locator(session_id: str) -> bytes | None:
    if len(session_id) != _ID_CHARACTERS:
        return None
    try:
        return b64decode(session_id, altchars=b"-_", validate=True)[:LOCATOR_BYTES]
    except (binascii.Error, ValueError):
        return None


def id_of(record: Record) -> str:
    """Return the public id of a session."""
    return public_id(record.key.locator, record.value(SECRET) or b"")


def info_of(record: Record, offset_s: float) -> SessionInfo:
    """Return what is told of a session; *offset_s* makes Unix seconds of its times."""
    login, limits, values = login_of(record), limits_of(record), record.values()
    ends = [
        start + length
        for start, length in (
            (record.last_accessed, limits.idle_s),
            (record.created, limits.lifetime_s),
        )
        if length is not None
    ]
    return SessionInfo(
        id_of(record),
        record.key.context,
        None if login is None else login.name,
        record.created + offset_s,
        record.last_accessed + offset_s,
        min(ends) + offset_s if ends else None,
        tuple(values),
        sum(map(len, values.values())),
    )
