"""Errors: whose fault each is, and what each of them says."""

from __future__ import annotations

import pytest

from replsession import errors
from replsession.errors import (
    ClusterStartError,
    ConfigError,
    ReplicationTimeout,
    ReplsessionError,
    SessionError,
    SessionTooLarge,
    UnserializableAttribute,
    WireError,
)

SESSION_ID = "0123456789abcdefRSTUVWXY"


@pytest.mark.parametrize(
    ("error", "bases"),
    [
        (ConfigError, (ReplsessionError, ValueError)),
        (SessionError, (ReplsessionError,)),
        (UnserializableAttribute, (SessionError, TypeError)),
        (SessionTooLarge, (SessionError, ValueError)),
        (ReplicationTimeout, (ReplsessionError, TimeoutError)),
        (ClusterStartError, (ReplsessionError,)),
        (WireError, (ReplsessionError, ValueError)),
    ],
)
def test_an_error_can_be_caught_as(error: type[Exception], bases: tuple[type, ...]) -> None:
    assert issubclass(error, bases)
    assert all(issubclass(error, base) for base in bases)


def test_every_error_of_the_package_has_one_base() -> None:
    found = [value for value in vars(errors).values() if isinstance(value, type)]

    assert len(found) == 8
    assert all(issubclass(error, ReplsessionError) for error in found)


@pytest.mark.parametrize("error", [SessionError, ConfigError, ClusterStartError])
def test_a_wire_error_is_no_fault_of_the_application(error: type[Exception]) -> None:
    assert not issubclass(WireError, error)


def test_a_config_error_names_field_value_and_what_is_allowed() -> None:
    error = ConfigError("port", "http", "a number of 1 to 65535")

    assert str(error) == "port: got 'http'; allowed: a number of 1 to 65535"
    assert (error.field, error.given, error.allowed) == ("port", "http", "a number of 1 to 65535")


@pytest.mark.parametrize(
    ("session_id", "where"), [(None, ""), (SESSION_ID, " of session 01234567…")]
)
def test_an_unserializable_attribute_is_named(session_id: str | None, where: str) -> None:
    error = UnserializableAttribute("cart[3].price", "shop.Money", session_id)

    assert str(error) == (
        f"unable to serialize attribute 'cart[3].price'{where}: shop.Money; what may be "
        "stored: None, bool, 64-bit int, float, str, bytes, list, tuple, set, frozenset, dict with "
        "str or int keys, datetime, date, time, timedelta, Decimal, UUID, and registered types; "
        "either store a plain value instead, or register its type (replsession.register)"
    )
    assert (error.path, error.problem) == ("cart[3].price", "shop.Money")
    assert error.session_id == session_id


def test_the_session_of_an_error_can_be_named_later() -> None:
    error = UnserializableAttribute("cart", "a set")
    error.session_id = SESSION_ID

    assert "01234567…" in str(error)
    assert SESSION_ID not in str(error)


def test_a_session_too_large_says_by_how_much() -> None:
    error = SessionTooLarge("attribute 'cart'", 300_000, 262_144, "bytes")

    assert str(error) == "attribute 'cart' has 300000 bytes; at most 262144 are allowed"
    assert (error.what, error.size, error.bound) == ("attribute 'cart'", 300_000, 262_144)


@pytest.mark.parametrize(
    ("acknowledged", "missing", "told"),
    [
        (("m2",), ("m3", "m4"), "1 of 3 other members hold the write, missing: m3, m4"),
        ((), ("m2",), "0 of 3 other members hold the write, missing: m2"),
        ((), (), "0 of 3 other members hold the write, missing: no further member is up"),
    ],
)
def test_a_replication_timeout_names_who_is_missing(
    acknowledged: tuple[str, ...], missing: tuple[str, ...], told: str
) -> None:
    error = ReplicationTimeout("all", 3, acknowledged, missing)

    assert str(error) == f"write concern 'all': {told}; it is kept, and replicated later"
    assert (error.concern, error.needed) == ("all", 3)
    assert (error.acknowledged, error.missing) == (acknowledged, missing)


def test_a_replication_timeout_is_no_fault_of_the_session() -> None:
    assert not issubclass(ReplicationTimeout, SessionError | ValueError)
