"""Keys of a cluster, the seal on heartbeats, and which secrets are refused."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replsession.errors import ConfigError
from replsession.security.keys import (
    DOCUMENTED_SECRETS,
    HEARTBEAT_BYTES_MAX,
    PAYLOAD_BYTES_MAX,
    SEAL_BYTES,
    ClusterKeys,
    check_secret,
)

SECRET = "k2Vd9-mQx7RtY4bLw1ZpN8sHc5JfG3aU_eXo6TiBrDy"
KEYS = ClusterKeys(SECRET, "shop")


def hkdf(secret: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 for at most one block, written out to check the library's use."""
    extracted = hmac.digest(b"replsession/v1", secret, hashlib.sha256)
    return hmac.digest(extracted, info + b"\x01", hashlib.sha256)[:length]


@pytest.mark.parametrize(
    ("derived", "label"),
    [
        (KEYS.ca_seed, b"tls-ca-ed25519"),
        (KEYS.heartbeat_key, b"heartbeat-hmac"),
        (KEYS.key_id, b"key-id"),
    ],
)
def test_each_key_is_a_derivation_of_its_own(derived: bytes, label: bytes) -> None:
    assert hkdf(SECRET.encode(), label + b"\0shop", len(derived)) == derived


def test_the_documented_secret_gives_these_bytes_for_ever() -> None:
    keys = ClusterKeys("replsession-documentation-secret-do-not-use", "shop")

    assert keys.seal(b"hello").hex() == "72706c48ede27d9368656c6c6fc407bd554b162cd386ab3f3b70c2bada"


def test_lengths() -> None:
    assert (len(KEYS.ca_seed), len(KEYS.heartbeat_key), len(KEYS.key_id)) == (32, 32, 4)


@pytest.mark.parametrize(
    "other",
    [
        ClusterKeys(SECRET, "staging"),
        ClusterKeys(SECRET + "x", "shop"),
        ClusterKeys(SECRET, ""),
        ClusterKeys(SECRET, "shop\0"),
    ],
)
def test_another_name_or_secret_shares_nothing(other: ClusterKeys) -> None:
    assert KEYS.ca_seed != other.ca_seed
    assert KEYS.heartbeat_key != other.heartbeat_key
    assert KEYS.key_id != other.key_id
    assert other.opened(KEYS.seal(b"hello")) is None


def test_any_text_is_a_secret() -> None:
    bytes_that_are_not_utf8 = b"\xff\xfe".decode("utf-8", "surrogateescape")

    assert ClusterKeys(bytes_that_are_not_utf8, "shop").key_id != KEYS.key_id


def test_repr_shows_no_key() -> None:
    shown = repr(KEYS) + str(KEYS)

    assert KEYS.key_id.hex() in shown
    for hidden in (SECRET, KEYS.ca_seed.hex(), KEYS.heartbeat_key.hex(), repr(KEYS.ca_seed)):
        assert hidden not in shown


@given(st.binary(max_size=PAYLOAD_BYTES_MAX))
@settings(max_examples=50)
def test_what_was_sealed_can_be_opened(payload: bytes) -> None:
    datagram = KEYS.seal(payload)

    assert len(datagram) <= HEARTBEAT_BYTES_MAX
    assert payload == KEYS.opened(datagram)


@given(st.binary(max_size=60), st.data())
@settings(max_examples=100)
def test_one_changed_bit_anywhere_closes_it(payload: bytes, data: st.DataObject) -> None:
    datagram = bytearray(KEYS.seal(payload))
    bit = data.draw(st.integers(0, len(datagram) * 8 - 1))
    datagram[bit // 8] ^= 1 << bit % 8

    assert KEYS.opened(bytes(datagram)) is None


@given(st.binary(max_size=700))
@settings(max_examples=100)
def test_other_bytes_are_none(datagram: bytes) -> None:
    assert KEYS.opened(datagram) is None
    assert KEYS.opened(KEYS.seal(b"")[:8] + datagram) is None


def test_cut_and_prolonged_datagrams_are_none() -> None:
    datagram = KEYS.seal(b"payload")

    for length in range(len(datagram)):
        assert KEYS.opened(datagram[:length]) is None
    assert KEYS.opened(datagram + b"\0") is None


@pytest.mark.parametrize("position", [0, 3, 4, 7])
def test_another_format_or_key_id_is_none_even_with_the_right_seal(position: int) -> None:
    body = bytearray(KEYS.seal(b"payload")[:-SEAL_BYTES])
    body[position] ^= 1
    tag = hmac.digest(KEYS.heartbeat_key, bytes(body), hashlib.sha256)[:SEAL_BYTES]

    assert KEYS.opened(bytes(body) + tag) is None


def test_a_datagram_over_the_bound_is_none_even_with_the_right_seal() -> None:
    heading = KEYS.seal(b"")[:-SEAL_BYTES]
    body = heading + bytes(HEARTBEAT_BYTES_MAX - len(heading) - SEAL_BYTES + 1)
    tag = hmac.digest(KEYS.heartbeat_key, body, hashlib.sha256)[:SEAL_BYTES]

    assert len(body + tag) == HEARTBEAT_BYTES_MAX + 1
    assert KEYS.opened(body + tag) is None


def test_a_payload_over_the_bound_is_refused() -> None:
    assert len(KEYS.seal(bytes(PAYLOAD_BYTES_MAX))) == HEARTBEAT_BYTES_MAX
    with pytest.raises(ValueError, match="at most 488 fit"):
        KEYS.seal(bytes(PAYLOAD_BYTES_MAX + 1))


def test_generated_secrets_are_accepted() -> None:
    for _ in range(50):
        check_secret(secrets.token_urlsafe(32))
        check_secret(secrets.token_hex(32))
    check_secret(secrets.token_urlsafe(24)[:32])
    check_secret(secrets.token_urlsafe(32) * 2)


@pytest.mark.parametrize(
    ("secret", "description"),
    [
        ("", "a secret of 0 characters"),
        ("changeme-hunter2", "a secret of 16 characters"),
        (SECRET[:31], "a secret of 31 characters"),
        ("x" * 64, "a secret with only 1 different characters"),
        ("012345678" * 3 + "88888", "a secret with only 9 different characters"),
        (string.ascii_lowercase * 2, "a secret that repeats a pattern of 26 characters"),
        ("hunter2-pass" * 4 + "hun", "a secret that repeats a pattern of 12 characters"),
        (DOCUMENTED_SECRETS[0], "a secret from the documentation, which everybody can read"),
        (
            f" {DOCUMENTED_SECRETS[0]}\n",
            "a secret from the documentation, which everybody can read",
        ),
    ],
)
def test_secrets_that_could_be_guessed_are_refused(secret: str, description: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check_secret(secret, "REPLSESSION_SECRET")

    message = str(refused.value)
    assert message.startswith(f"REPLSESSION_SECRET: got {description}; allowed: ")
    assert 'python -c "import secrets; print(secrets.token_urlsafe(32))"' in message
    assert not secret or secret not in message
    assert not secret or secret not in repr(refused.value)
    assert secret != refused.value.given


@pytest.mark.parametrize("secret", [None, 7, SECRET.encode(), [SECRET]])
def test_a_secret_that_is_no_text_is_described_by_its_type(secret: object) -> None:
    with pytest.raises(ConfigError, match=f"a secret of type {type(secret).__name__}") as refused:
        check_secret(secret)  # type: ignore[arg-type]

    assert SECRET not in str(refused.value)
