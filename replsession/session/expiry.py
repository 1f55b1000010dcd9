"""
Expiry: when a session is over, as functions of numbers.

Idle time is judged at the request by the member that serves it, by its own estimate of the last
access. A session that nobody asks for is put to sleep by the member that served it last, which says
so; everybody else waits a grace longer, since announcements of accesses are coarse. What is over
here only *sleeps*: it is hidden, and wakes when a fresher access arrives (docs/design.md, rules 3
and 4).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache
from math import ceil
from typing import Any

import cbor2

from replsession.config import (
    INTERNAL_RECORDS_S,
    MAX_INACTIVE_INTERVAL_S,
    Timing,
    is_number,
)
from replsession.errors import WireError
from replsession.identity import MemberId
from replsession.session.codec import decode
from replsession.session.delta import Delta
from replsession.session.record import (
    COOKIE_AS_SESSION,
    COOKIE_OF_APPLICATION,
    COOKIE_UNTIL_CLOSED,
    INTERVAL,
    Record,
)
from replsession.session.record import SessionLimits as SessionLimits  # offered from here

ANNOUNCEMENTS_PER_INTERVAL = 10
SECONDS_MAX = 2**63
"""A limit below it can be added to any time of the clock."""
COOKIE_AGE_MAX_S = 400 * 86_400
"""Browsers keep no cookie for longer. Source: RFC 6265bis, section 5.5."""


DEFAULT_LIMITS = SessionLimits(MAX_INACTIVE_INTERVAL_S, None)
INTERNAL_LIMITS = SessionLimits(INTERNAL_RECORDS_S, None)


def encoded_limits(limits: SessionLimits) -> bytes:
    """Return the limits as the value of the register that holds them."""
    if limits.cookie == COOKIE_OF_APPLICATION:
        return cbor2.dumps(limits[:2])
    return cbor2.dumps(list(limits))


@lru_cache(maxsize=256)
def decoded_limits(value: bytes) -> SessionLimits:
    """Return what :func:`encoded_limits` has encoded; of what can't be read, the defaults."""
    # Another member wrote it: whatever it is, it must neither raise nor end a session early.
    try:
        fields = decode(value)
    except WireError:
        return DEFAULT_LIMITS
    match fields:
        case [idle_s, lifetime_s] if _is_limit(idle_s) and _is_limit(lifetime_s):
            return SessionLimits(idle_s, lifetime_s)
        case [idle_s, lifetime_s, (1 | 2) as cookie] if _is_limit(idle_s) and _is_limit(lifetime_s):
            return SessionLimits(idle_s, lifetime_s, cookie)
        case _:
            return DEFAULT_LIMITS


def _is_limit(value: Any) -> bool:
    return value is None or (is_number(value) and 0 <= value < SECONDS_MAX)


def limits_from(
    value: float | timedelta | datetime | None, defaults: SessionLimits, born_at: float
) -> SessionLimits:
    """
    Return the limits of a session that is given its own expiry.

    Args:
        value: Seconds without a request, or a ``timedelta``; a moment at which it ends, whatever is
            used meanwhile; 0: as by default, and the browser forgets it when it is closed; None: as
            by default. A moment without a time zone is one of this machine's local time.
        defaults: Of the application.
        born_at: When the session was born, in Unix seconds.

    Raises:
        ValueError: it is none of these.

    Source of the forms: Django's ``SessionBase.set_expiry``.
    """
    if value is None:
        return defaults
    if isinstance(value, datetime):
        lifetime_s = max(value.timestamp() - born_at, 0.0)
        return SessionLimits(None, lifetime_s, COOKIE_AS_SESSION)
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if not is_number(seconds) or not 0 <= seconds < SECONDS_MAX:
        raise ValueError(
            f"set_expiry: got {value!r}; allowed: seconds from 0 on, a timedelta, a datetime, None"
        )
    if seconds == 0:
        return defaults._replace(cookie=COOKIE_UNTIL_CLOSED)
    return defaults._replace(idle_s=seconds, cookie=COOKIE_AS_SESSION)


def ends_at(limits: SessionLimits, born_at: float, now: float) -> float | None:
    """Return when a session ends that is accessed now and never again; None: never."""
    ends: list[float] = []
    if limits.idle_s is not None:
        ends.append(now + limits.idle_s)
    if limits.lifetime_s is not None:
        ends.append(born_at + limits.lifetime_s)
    return min(ends, default=None)


def cookie_age(limits: SessionLimits, born_at: float, now: float) -> int | None:
    """
    Return for how many seconds from now a browser shall keep the cookie of a session.

    Only where the session says so itself. None: as long as the browser runs.
    """
    if limits.cookie == COOKIE_UNTIL_CLOSED:
        return None
    end = ends_at(limits, born_at, now)
    # Rounded up: the session ends at the server, never earlier in the browser.
    return COOKIE_AGE_MAX_S if end is None else max(0, min(ceil(end - now), COOKIE_AGE_MAX_S))


def limits_of(record: Record) -> SessionLimits:
    """Return the limits that the session carries; they are the same on every member."""
    limits = record.limits
    if limits is None:
        value = record.value(INTERVAL)
        fallback = INTERNAL_LIMITS if record.key.is_internal else DEFAULT_LIMITS
        limits = record.limits = fallback if value is None else decoded_limits(value)
    return limits


def announce_every(limits: SessionLimits, timing: Timing) -> float:
    """Return how often the access of such a session is announced: a tenth of its interval."""
    if limits.idle_s is None:
        return timing.access_interval_s
    return min(limits.idle_s / ANNOUNCEMENTS_PER_INTERVAL, timing.access_interval_s)


def over_at(record: Record, timing: Timing, *, grace: bool) -> float | None:
    """
    Return the local time at which the session is over, or None for never.

    Args:
        grace: True where the session was perhaps served by others meanwhile.
    """
    limits = limits_of(record)
    ends: list[float] = []
    if limits.idle_s is not None:
        wait = timing.expiry_grace_s + announce_every(limits, timing) if grace else 0.0
        ends.append(record.last_accessed + limits.idle_s + wait)
    if limits.lifetime_s is not None:
        ends.append(record.created + limits.lifetime_s)
    return min(ends) if ends else None


def is_over(record: Record, now: float, timing: Timing, *, grace: bool) -> bool:
    """Tell whether the session was idle for too long, or lived for too long."""
    end = over_at(record, timing, grace=grace)
    return end is not None and now >= end


def needs_grace(record: Record, writer: MemberId) -> bool:
    """
    Tell whether other members may have served the session later than it is known here.

    Not if the last access that is known is that of this member, *writer*, nor if the member that
    served it last has called the session over.
    """
    return record.access.member != writer and not record.released


def is_too_old(delta: Delta) -> bool:
    """
    Tell whether a session is over by what its news themselves say: nobody should begin with it.

    Only what is in one delta is looked at; a first delta says nothing but its age.
    """
    write = delta.attributes.get(INTERVAL)
    limits = DEFAULT_LIMITS
    if write is not None and write.value is not None:
        limits = decoded_limits(write.value)
    idle_s, lifetime_s = limits.idle_s, limits.lifetime_s
    return (idle_s is not None and delta.idle_s >= idle_s) or (
        lifetime_s is not None and delta.age_s >= lifetime_s
    )


def lived_too_long(record: Record, now: float) -> bool:
    """Tell whether the session's lifetime is over: then no access makes it live on."""
    lifetime_s = limits_of(record).lifetime_s
    return lifetime_s is not None and now - record.created >= lifetime_s


def is_over_here(record: Record, limits: SessionLimits, now: float) -> bool:
    """As :func:`is_over` without grace, for the request path: *limits* are the record's."""
    idle_s, lifetime_s = limits.idle_s, limits.lifetime_s
    return (
        idle_s is not None
        and now - record.accessed >= idle_s
        and now - record.accessed_else >= idle_s
    ) or (lifetime_s is not None and now - record.created >= lifetime_s)


def tombstone_counts(age_s: float, timing: Timing) -> bool:
    """Tell whether a tombstone of this age is young enough to be compared with others."""
    return age_s < timing.tombstone_retention_s - timing.tombstone_margin_s


def look_at(record: Record, timing: Timing) -> float:
    """Return the local time before which a sweep need not look at the record."""
    if record.destroyed is not None:
        return record.ended_at + timing.tombstone_retention_s - timing.tombstone_margin_s
    if record.asleep:
        return record.ended_at
    # Whether there is a grace may change while the record rests.
    end = over_at(record, timing, grace=False)
    return float("inf") if end is None else end
