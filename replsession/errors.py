"""
The errors of the package, sorted by whose doing they are.

::

    ReplsessionError
    ├── ConfigError (ValueError)            you configured it wrong           at construction
    ├── SessionError                        you used a session wrongly        at call or commit
    │   ├── UnserializableAttribute (TypeError)   names session, path and type
    │   └── SessionTooLarge (ValueError)
    ├── ReplicationTimeout (TimeoutError)   too few members hold a write      the write stays
    ├── ClusterStartError                   the cluster could not start       if ``required``
    └── WireError                           a member sent something wrong     never leaves the node

A :class:`WireError` becomes an event and a closed link, never an exception of the application.
A broken invariant of our own is an ``AssertionError``.
"""

from __future__ import annotations


class ReplsessionError(Exception):
    """Base of every error that this package raises on purpose."""


class ConfigError(ReplsessionError, ValueError):
    """
    A setting has a value that is not allowed.

    Args:
        field: Name of the setting, as the user wrote it.
        given: What the user gave; its ``repr`` stands in the message. Never pass a secret.
        allowed: What is allowed, as the end of the sentence "allowed: …".
    """

    def __init__(self, field: str, given: object, allowed: str) -> None:
        super().__init__(f"{field}: got {given!r}; allowed: {allowed}")
        self.field = field
        self.given = given
        self.allowed = allowed


class SessionError(ReplsessionError):
    """A session was used in a way it does not allow."""


class UnserializableAttribute(SessionError, TypeError):
    """
    An attribute holds a value that may not be stored; nothing of the request was committed.

    Args:
        path: Where the value is, for example ``cart[3].price``.
        problem: What is wrong there: the type, or the bound that was passed.
        session_id: Public id of the session, or None for one that was not born yet.
    """

    ALLOWED = (
        "None, bool, 64-bit int, float, str, bytes, list, tuple, set, frozenset, dict with str or "
        "int keys, datetime, date, time, timedelta, Decimal, UUID, and registered types"
    )
    WAYS_OUT = "store a plain value instead, or register its type (replsession.register)"

    def __init__(self, path: str, problem: str, session_id: str | None = None) -> None:
        super().__init__(path, problem, session_id)
        self.path = path
        self.problem = problem
        self.session_id = session_id

    def __str__(self) -> str:
        where = f" of session {self.session_id[:8]}…" if self.session_id else ""
        return (
            f"unable to serialize attribute {self.path!r}{where}: {self.problem}; "
            f"what may be stored: {self.ALLOWED}; either {self.WAYS_OUT}"
        )


class SessionTooLarge(SessionError, ValueError):
    """
    A session passed one of its bounds; nothing of the request was committed.

    Args:
        what: The thing that is too large, for example ``attribute 'cart'``.
        size: What it has.
        bound: What is allowed.
        unit: ``bytes``, ``attributes`` …
    """

    def __init__(self, what: str, size: int, bound: int, unit: str) -> None:
        super().__init__(f"{what} has {size} {unit}; at most {bound} are allowed")
        self.what = what
        self.size = size
        self.bound = bound


class ReplicationTimeout(ReplsessionError, TimeoutError):
    """
    Not enough members have acknowledged a commit in time, or not enough are there to do so.

    The commit is not undone: it is applied here and on its way to everybody. Whether it survives a
    crash of this member is indefinite; committing again is safe.

    Args:
        concern: What was asked for.
        needed: How many other members had to hold the write.
        acknowledged: Names of those that do.
        missing: Names of those that were asked and have not answered.
    """

    def __init__(
        self, concern: str, needed: int, acknowledged: tuple[str, ...], missing: tuple[str, ...]
    ) -> None:
        super().__init__(concern, needed, acknowledged, missing)
        self.concern = concern
        self.needed = needed
        self.acknowledged = acknowledged
        self.missing = missing

    def __str__(self) -> str:
        missing = ", ".join(self.missing) or "no further member is up"
        return (
            f"write concern {self.concern!r}: {len(self.acknowledged)} of {self.needed} other "
            f"members hold the write, missing: {missing}; it is kept, and replicated later"
        )


class ClusterStartError(ReplsessionError):
    """The cluster could not start, and the application said ``required=True``."""


class WireError(ReplsessionError, ValueError):
    """Bytes from another member do not follow the format: the link is closed, an event says why."""
