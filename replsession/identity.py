"""
Who and what: members, addresses and sessions, as the whole package names them.

A session has three names, and only one of them is a secret:

* the *locator*, 12 random bytes: where the record is kept. It never changes.
* the *secret* part, 16 random bytes, known to the client alone. Members keep only its hash, so
  neither a memory dump nor a log of a member gives a session away. Rotating the id replaces it.
* the *public id*, made of the locator and of a piece of that hash: the same on every member,
  changes at rotation, safe to print, and of no use to a thief.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from typing import NamedTuple, TypeAlias

MEMBER_ID_BYTES = 8
LOCATOR_BYTES = 12
SECRET_BYTES = 16
SECRET_HASH_BYTES = 16
PUBLIC_HASH_BYTES = 6

MemberId: TypeAlias = bytes
"""8 random bytes, new at every start and in every forked process: one incarnation of a member."""


class Address(NamedTuple):
    """Where a member's receiver listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


INTERNAL = "\0"
"""Begins the context of records that members keep for themselves: no application has such a one."""


class Key(NamedTuple):
    """Where a record is kept: the application's name in the cluster, and the locator."""

    context: str
    locator: bytes

    @property
    def is_internal(self) -> bool:
        """Whether this is no session, but something that members keep for themselves."""
        return self.context[:1] == INTERNAL


def hash_of_secret(secret: bytes) -> bytes:
    """Return what members keep of the secret part: the first 16 bytes of its SHA-256."""
    return hashlib.sha256(secret).digest()[:SECRET_HASH_BYTES]


def public_id(locator: bytes, secret_hash: bytes) -> str:
    """
    Return the printable name of a session, 24 characters of ``A-Z a-z 0-9 - _``.

    The first 16 are the locator and stay; the last 8 change when the id is rotated.
    """
    return urlsafe_b64encode(locator + secret_hash[:PUBLIC_HASH_BYTES]).decode("ascii")


def short(session_id: str) -> str:
    """Return the first 8 characters of a session's public id, as logs show it."""
    return session_id[:8]
