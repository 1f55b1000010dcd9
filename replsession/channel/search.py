"""
Search: sessions in pages, and one by the beginning of its id, for an administrator's tools.

A million sessions are no problem: a page has a bound, and so has the time for which one holds the
member's lock. Pages go by locator, so what is there all the time is seen exactly once.
"""

from __future__ import annotations

import time
from base64 import urlsafe_b64encode
from collections.abc import Generator, Iterable, Iterator
from typing import Final, NamedTuple

from replsession.channel.administration import SessionInfo, id_of, info_of
from replsession.channel.member import LocalMember
from replsession.config import CONTROL_PAGE_RECORDS, CONTROL_VALUE_CHARACTERS
from replsession.identity import LOCATOR_BYTES, Key
from replsession.session import codec
from replsession.session.principals import login_of
from replsession.session.record import Record
from replsession.session.store import BUCKETS

RECORDS_AT_ONCE: Final = 50
"""Records looked at while the lock is held, about a millisecond."""
FOUND_MAX: Final = 10
"""Sessions told of where the beginning of an id fits several."""
_ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_LOCATOR_CHARACTERS: Final = LOCATOR_BYTES * 4 // 3


class Page(NamedTuple):
    """Some sessions, and where the next page begins; None: there is none."""

    sessions: list[SessionInfo]
    after: str | None


class Found(NamedTuple):
    """A session with what it holds; values are text for people."""

    info: SessionInfo
    sizes: dict[str, int]
    values: dict[str, str]


def page_steps(
    member: LocalMember,
    contexts: list[str] | None,
    principal: str | None,
    after: str | None,
    limit: int,
) -> Generator[None, None, Page]:
    """
    Look for the sessions of a page, in steps; the page is the value at their end.

    Args:
        member: This process's member.
        contexts: Of these applications; None: of all. With a principal they must be given.
        principal: Whose; None: everybody's.
        after: What the page before said; None: from the beginning.
        limit: How many sessions at most.

    Raises:
        ValueError: *after* is not what a page said.
    """
    start = _place_of(after)
    found: list[SessionInfo] = []
    looked_at = 0
    for keys in _keys(member, contexts, principal, start):
        for at in range(0, len(keys), RECORDS_AT_ONCE):
            some = keys[at : at + RECORDS_AT_ONCE]
            for key, info in _live(member, some, principal):
                found.append(info)
                if len(found) >= limit:
                    return Page(found, _text_of(key))
            looked_at += len(some)
            if looked_at >= CONTROL_PAGE_RECORDS:
                return Page(found, _text_of(some[-1]))
            yield
        yield
    return Page(found, None)


def find_steps(
    member: LocalMember, prefix: str, context: str | None, *, shows_values: bool
) -> Generator[None, None, list[Found]]:
    """
    Look for the sessions of which the id begins so, in steps; at most ``FOUND_MAX`` of them.

    Args:
        member: This process's member.
        prefix: One character of an id, or more; what no id has finds nothing.
        context: Of this application only; None: of all.
        shows_values: Whether values are among what is found.
    """
    found: list[Found] = []
    for bucket in _buckets(prefix):
        now = time.monotonic()
        with member.lock:
            node = member.node
            for key in node.store.keys(bucket):
                if key.is_internal or context not in (None, key.context):
                    continue
                if not _begins(key.locator, prefix):
                    continue
                record = node.store.peek(key)
                if record is None or not node.principals.is_live(record, now):
                    continue
                if id_of(record).startswith(prefix) and len(found) < FOUND_MAX:
                    found.append(_found(record, node.wall_offset_s, shows_values))
        yield
    return found


def _keys(
    member: LocalMember,
    contexts: list[str] | None,
    principal: str | None,
    start: tuple[bytes, str],
) -> Iterator[list[Key]]:
    if principal is not None:
        with member.lock:
            of = member.node.principals.keys
            keys = [key for name in contexts or () for key in of(name, principal)]
        yield _later(keys, None, start)
        return
    for bucket in range(start[0][0] if start[0] else 0, BUCKETS):
        with member.lock:
            keys = member.node.store.keys(bucket)
        yield _later(keys, contexts, start)


def _later(keys: Iterable[Key], contexts: list[str] | None, start: tuple[bytes, str]) -> list[Key]:
    wanted = [
        key
        for key in keys
        if not key.is_internal
        and (contexts is None or key.context in contexts)
        and (key.locator, key.context) > start
    ]
    return sorted(wanted, key=lambda key: (key.locator, key.context))


def _live(
    member: LocalMember, keys: list[Key], principal: str | None
) -> list[tuple[Key, SessionInfo]]:
    now = time.monotonic()
    with member.lock:
        node = member.node
        live: list[tuple[Key, SessionInfo]] = []
        for key in keys:
            record = node.store.peek(key)
            if record is None or not node.principals.is_live(record, now):
                continue
            login = None if principal is None else login_of(record)
            if principal is None or (login is not None and login.name == principal):
                live.append((key, info_of(record, node.wall_offset_s)))
        return live


def _place_of(after: str | None) -> tuple[bytes, str]:
    if after is None:
        return b"", ""
    locator, _, context = after.partition(":")
    place = bytes.fromhex(locator)
    if len(place) != LOCATOR_BYTES:
        raise ValueError("no place of a session")
    return place, context


def _text_of(key: Key) -> str:
    return f"{key.locator.hex()}:{key.context}"


def _buckets(prefix: str) -> range:
    """Return the buckets in which ids that begin so may be: one, or four for one character."""
    bits = [_ALPHABET.find(character) for character in prefix]
    if not bits or -1 in bits:
        return range(0)
    if len(bits) == 1:
        return range(bits[0] << 2, (bits[0] + 1) << 2)
    bucket = bits[0] << 2 | bits[1] >> 4
    return range(bucket, bucket + 1)


def _begins(locator: bytes, prefix: str) -> bool:
    return urlsafe_b64encode(locator).decode().startswith(prefix[:_LOCATOR_CHARACTERS])


def _found(record: Record, offset_s: float, shows_values: bool) -> Found:
    values = record.values()
    sizes = {name: len(value) for name, value in values.items()}
    shown = {name: _shown(value) for name, value in values.items()} if shows_values else {}
    return Found(info_of(record, offset_s), sizes, shown)


def _shown(value: bytes) -> str:
    try:
        text = repr(codec.decode(value))
    except Exception as error:  # noqa: BLE001 - a class of the application's, with its own repr
        return f"<cannot be shown: {type(error).__name__}>"
    if len(text) > CONTROL_VALUE_CHARACTERS:
        return text[:CONTROL_VALUE_CHARACTERS] + "…"
    return text
