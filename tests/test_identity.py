"""Names of members and sessions: which part is secret, which stays, and which may be printed."""

from __future__ import annotations

import hashlib
import string
from base64 import urlsafe_b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replsession.identity import (
    LOCATOR_BYTES,
    MEMBER_ID_BYTES,
    SECRET_BYTES,
    SECRET_HASH_BYTES,
    Address,
    Key,
    hash_of_secret,
    public_id,
    short,
)

PRINTABLE = string.ascii_letters + string.digits + "-_"
locators = st.binary(min_size=LOCATOR_BYTES, max_size=LOCATOR_BYTES)
secrets = st.binary(min_size=SECRET_BYTES, max_size=SECRET_BYTES)


def test_the_lengths_are_those_of_the_format() -> None:
    assert (LOCATOR_BYTES, SECRET_BYTES, SECRET_HASH_BYTES, MEMBER_ID_BYTES) == (12, 16, 16, 8)


@given(secrets)
def test_members_keep_a_hash_and_not_the_secret(secret: bytes) -> None:
    kept = hash_of_secret(secret)

    assert kept == hashlib.sha256(secret).digest()[:16]
    assert secret not in kept


@given(locators, secrets)
def test_the_public_id_may_be_printed_and_gives_nothing_away(locator: bytes, secret: bytes) -> None:
    name = public_id(locator, hash_of_secret(secret))

    assert len(name) == 24
    assert not set(name) - set(PRINTABLE)
    assert urlsafe_b64decode(name) == locator + hash_of_secret(secret)[:6]
    assert short(name) == name[:8]


@given(locators, secrets, secrets)
def test_rotation_changes_the_end_of_the_public_id(locator: bytes, old: bytes, new: bytes) -> None:
    before = public_id(locator, hash_of_secret(old))
    after = public_id(locator, hash_of_secret(new))

    assert before[:16] == after[:16]
    assert (before == after) == (old == new)


@pytest.mark.parametrize(
    ("address", "text"),
    [(Address("10.0.0.1", 4000), "10.0.0.1:4000"), (Address("shop-1", 80), "shop-1:80")],
)
def test_an_address_is_written_as_everywhere(address: Address, text: str) -> None:
    assert str(address) == text


def test_one_locator_in_two_contexts_is_two_sessions() -> None:
    locator = bytes(LOCATOR_BYTES)

    assert Key("/shop", locator) != Key("/forum", locator)
    assert len({Key("/shop", locator), Key("/forum", locator), Key("/shop", locator)}) == 2
