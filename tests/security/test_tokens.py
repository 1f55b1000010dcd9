"""Tokens: what is signed comes back, what is not is None, and what is remembered is bounded."""

from __future__ import annotations

import hashlib
import itertools
import string
import threading
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import FrozenInstanceError, dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from itsdangerous import Signer

from replsession.errors import ConfigError
from replsession.identity import hash_of_secret
from replsession.security import tokens
from replsession.security.tokens import TOKEN_CHARACTERS, VERIFIED_MAX
from replsession.security.tokens import TokenSigner as AnyTokenSigner

LOCATOR = bytes(range(12))
SECRET = bytes(range(100, 116))
URL_SAFE = string.ascii_letters + string.digits + "-_"


@dataclass(frozen=True, slots=True)
class SessionToken:
    """What these tests read a token as."""

    locator: bytes
    secret_hash: bytes
    text: str = field(repr=False)


class TokenSigner(AnyTokenSigner[SessionToken]):
    def __init__(self, secrets: Sequence[str]) -> None:
        super().__init__(secrets, SessionToken)


def plain_signer(*oldest_first: str) -> Signer:
    """The signer as it is described in the format: itsdangerous signs with the last secret."""
    return Signer(
        list(oldest_first),
        salt="replsession.session-token",
        digest_method=hashlib.sha256,
        key_derivation="hmac",
    )


def name_of(content: bytes) -> bytes:
    return urlsafe_b64encode(content).rstrip(b"=")


@given(st.binary(min_size=12, max_size=12), st.binary(min_size=16, max_size=16))
@settings(max_examples=50)
def test_a_signed_token_is_verified(locator: bytes, secret: bytes) -> None:
    signer = TokenSigner(["short"])
    token = signer.sign(locator, secret)

    assert SessionToken(locator, hash_of_secret(secret), token) == signer.verify(token)
    assert signer.verify(token) is signer.verify(token)


def test_the_format() -> None:
    token = TokenSigner(["s3cret"]).sign(LOCATOR, SECRET)

    assert token == (
        "AQABAgMEBQYHCAkKC2RlZmdoaWprbG1ub3BxcnM.6wjlDW4S6HIth6z-UCJ_VR2MTy0WRGoGjNDhT6i0E08"
    )
    name, signature = token.split(".")
    assert (len(name), len(signature), len(token)) == (39, 43, TOKEN_CHARACTERS)
    assert set(token) <= set(URL_SAFE + ".")
    assert plain_signer("s3cret").sign(name_of(b"\x01" + LOCATOR + SECRET)).decode() == token


def test_the_first_secret_signs_and_all_verify() -> None:
    old, new = TokenSigner(["old"]), TokenSigner(["new"])
    both = TokenSigner(["new", "old"])

    assert new.sign(LOCATOR, SECRET) == both.sign(LOCATOR, SECRET)
    assert plain_signer("old", "new").sign(name_of(b"\x01" + LOCATOR + SECRET)).decode() == (
        both.sign(LOCATOR, SECRET)
    )
    assert both.verify(old.sign(LOCATOR, SECRET)) is not None
    assert both.verify(new.sign(LOCATOR, SECRET)) is not None
    assert old.verify(both.sign(LOCATOR, SECRET)) is None


def test_what_an_earlier_secret_signed_goes_back_signed_by_the_first() -> None:
    old, both = TokenSigner(["old"]), TokenSigner(["new", "old"])

    verified = both.verify(old.sign(LOCATOR, SECRET))

    assert verified is not None
    assert verified.text == TokenSigner(["new"]).sign(LOCATOR, SECRET)


def test_a_single_string_is_one_secret() -> None:
    assert TokenSigner("ab").sign(LOCATOR, SECRET) == TokenSigner(["ab"]).sign(LOCATOR, SECRET)
    assert TokenSigner("ab").verify(TokenSigner("b").sign(LOCATOR, SECRET)) is None


def test_any_text_is_a_secret() -> None:
    signer = TokenSigner(["\udcff", "ключ"])

    assert signer.verify(signer.sign(LOCATOR, SECRET)) is not None


@pytest.mark.parametrize("secrets", [[], (), "", [""], ["good", ""], [None], [b"bytes"], ["a", 7]])
def test_no_secret_is_refused(secrets: list[str]) -> None:
    with pytest.raises(ConfigError) as refused:
        TokenSigner(secrets)

    assert refused.value.field == "secret_key"
    assert "good" not in str(refused.value)
    assert "bytes'" not in str(refused.value)


def test_every_other_character_anywhere_is_none() -> None:
    signer = TokenSigner(["s3cret"])
    token = signer.sign(LOCATOR, SECRET)
    assert signer.verify(token) is not None

    for position, other in itertools.product(range(len(token)), "AB.-_=+/ é"):
        changed = token[:position] + other + token[position + 1 :]
        assert changed == token or signer.verify(changed) is None


def test_a_session_has_one_token_not_several() -> None:
    signer = TokenSigner(["s3cret"])
    token = signer.sign(LOCATOR, SECRET)
    accepted = [last for last in URL_SAFE if signer.verify(token[:-1] + last) is not None]

    # A lenient decoder ignores the last character's two spare bits: four would do there.
    assert [token[-1]] == accepted


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "a" * 82,
        "a" * 83,
        "." * 83,
        "a" * 39 + "." + "a" * 43,
        "é" * 83,
        "\udcff" * 83,
        "\0" * 83,
        "a" * 513,
        "a" * 1_000_000,
    ],
    ids=lambda text: f"{len(text)}x{text[:1]!r}",
)
def test_text_of_any_shape_is_none(text: str) -> None:
    assert TokenSigner(["s3cret"]).verify(text) is None


@given(
    st.one_of(st.text(), st.text(min_size=83, max_size=83), st.text(URL_SAFE + ".", min_size=83))
)
@settings(max_examples=40)
def test_no_text_raises(text: str) -> None:
    assert TokenSigner(["s3cret"]).verify(text) is None


@pytest.mark.parametrize(
    "name",
    [
        name_of(b"\x02" + LOCATOR + SECRET),
        name_of(b"\x00" + LOCATOR + SECRET),
        name_of(b"\x01" + LOCATOR + SECRET[:-1]),
        name_of(b"\x01" + LOCATOR + SECRET)[:35] + b"!!!!",
        b"!" * 39,
        b"A" * 37 + b"!!",
        b"." * 39,
    ],
)
def test_signed_text_of_another_version_is_none(name: bytes) -> None:
    signed = plain_signer("s3cret").sign(name).decode()
    signer = TokenSigner(["s3cret"])

    assert signer.verify(signed) is None
    assert signer.verify(signed) is None


def test_the_credential_is_not_printed() -> None:
    signer = TokenSigner(["s3cret"])
    token = signer.sign(LOCATOR, SECRET)
    verified = signer.verify(token)

    assert verified is not None
    assert token not in repr(verified)
    assert "s3cret" not in repr(signer)
    with pytest.raises(FrozenInstanceError):
        verified.locator = b""  # type: ignore[misc]


def test_a_token_is_verified_by_hmac_once(monkeypatch: pytest.MonkeyPatch) -> None:
    signer = TokenSigner(["s3cret"])
    token = signer.sign(LOCATOR, SECRET)
    forged = "A" * 39 + token[39:]
    compared: list[bytes] = []

    def counting(expected: bytes, given: bytes) -> bool:
        compared.append(given)
        return expected == given

    monkeypatch.setattr("replsession.security.tokens.hmac.compare_digest", counting)
    for _ in range(3):
        assert signer.verify(token) is not None
        assert signer.verify(forged) is None
        assert signer.verify(token + "A") is None
        assert signer.verify(token[:-1]) is None

    # The good one once, the forged one each time (a refusal is never remembered), others never.
    assert len(compared) == 1 + 3


def test_what_is_remembered_is_bounded_and_the_recent_stays() -> None:
    signer = TokenSigner(["s3cret"])
    issued = [signer.sign(number.to_bytes(12), SECRET) for number in range(VERIFIED_MAX * 2)]
    often = signer.sign(LOCATOR, SECRET)
    first = signer.verify(often)

    for number, token in enumerate(issued):
        assert signer.verify(token) is not None
        if number % 1000 == 0:
            assert signer.verify(often) is first
    assert len(signer._recent) + len(signer._earlier) <= VERIFIED_MAX
    for token in issued:
        assert signer.verify(token) is not None


def test_refused_tokens_take_no_room() -> None:
    signer = TokenSigner(["s3cret"])
    other = TokenSigner(["other"])
    for number in range(100):
        assert signer.verify(other.sign(number.to_bytes(12), SECRET)) is None

    assert len(signer._recent) + len(signer._earlier) == 0


def test_threads_may_share_a_signer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "VERIFIED_MAX", 16)
    signer = TokenSigner(["s3cret"])
    issued = [signer.sign(number.to_bytes(12), SECRET) for number in range(64)]
    wrong: list[object] = []

    def verify_all() -> None:
        for number, token in enumerate(issued * 20):
            verified = signer.verify(token)
            if verified is None or verified.locator != (number % 64).to_bytes(12):
                wrong.append(verified)

    threads = [threading.Thread(target=verify_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
