"""Tokens: what is signed comes back, what is not is None, and what is remembered is bounded."""

from __future__ import annotations

import hashlib
import hmac
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
from replsession.security.tokens import NAME_CHARACTERS, VERIFIED_MAX, WRITERS_MAX
from replsession.security.tokens import TokenSigner as AnyTokenSigner
from replsession.session.stamp import HLC_MAX, NOTHING_SEEN, Seen

LOCATOR = bytes(range(12))
SECRET = bytes(range(100, 116))
URL_SAFE = string.ascii_letters + string.digits + "-_"
A, B = bytes.fromhex("a1a2a3a4a5a6a7a8"), bytes.fromhex("b1b2b3b4b5b6b7b8")
T = 1_700_000_000_123 << 16
"""A clock value."""


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


def verified(signer: TokenSigner, token: str) -> SessionToken:
    """Return what a token that is good names."""
    found = signer.verify(token)
    assert found is not None
    return found[0]


def seen_in(signer: TokenSigner, token: str) -> Seen:
    """Return what the client of a token that is good has seen."""
    found = signer.verify(token)
    assert found is not None
    return found[1]


@given(st.binary(min_size=12, max_size=12), st.binary(min_size=16, max_size=16))
@settings(max_examples=50)
def test_a_signed_token_is_verified(locator: bytes, secret: bytes) -> None:
    signer = TokenSigner(["short"])
    token = signer.sign(locator, secret)

    read = SessionToken(locator, hash_of_secret(secret), token)
    assert signer.verify(token) == (read, NOTHING_SEEN)
    assert verified(signer, token) is verified(signer, token)


def test_the_format() -> None:
    token = TokenSigner(["s3cret"]).sign(LOCATOR, SECRET)

    assert token == (
        "AQABAgMEBQYHCAkKC2RlZmdoaWprbG1ub3BxcnM.6wjlDW4S6HIth6z-UCJ_VR2MTy0WRGoGjNDhT6i0E08"
    )
    name, signature = token.split(".")
    assert (len(name), len(signature), len(token)) == (39, 43, NAME_CHARACTERS)
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

    read = verified(both, old.sign(LOCATOR, SECRET))

    assert read.text == TokenSigner(["new"]).sign(LOCATOR, SECRET)


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
    read = verified(signer, token)

    assert token not in repr(read)
    assert "s3cret" not in repr(signer)
    with pytest.raises(FrozenInstanceError):
        read.locator = b""  # type: ignore[misc]


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
    first = verified(signer, often)

    for number, token in enumerate(issued):
        assert signer.verify(token) is not None
        if number % 1000 == 0:
            assert verified(signer, often) is first
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
            found = signer.verify(token)
            if found is None or found[0].locator != (number % 64).to_bytes(12):
                wrong.append(found)

    threads = [threading.Thread(target=verify_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


# What the client has seen.


def by_hand(secret: str, name: str, body: bytes) -> str:
    """The token as the format describes it."""
    key = hmac.digest(
        hashlib.sha256(secret.encode()).digest(), b"replsession.session-token.seen", "sha256"
    )
    tag = hashlib.blake2b(
        name.encode() + body, digest_size=12, key=key, person=b"replsession.seen"
    ).digest()
    return f"{name}.{urlsafe_b64encode(body + tag).rstrip(b'=').decode()}"


def pair(member: bytes, clock: int) -> bytes:
    return member + clock.to_bytes(8, "big")


def test_the_format_of_what_was_seen() -> None:
    signer = TokenSigner(["s3cret"])
    name = signer.sign(LOCATOR, SECRET)

    token = signer.token(name, Seen({A: T, B: T + 5}, T + 5))

    assert token == (
        "AQABAgMEBQYHCAkKC2RlZmdoaWprbG1ub3BxcnM.6wjlDW4S6HIth6z-UCJ_VR2MTy0WRGoGjNDhT6i0E08"
        ".oaKjpKWmp6gBi8_laHsAALGys7S1tre4AYvP5Wh7AAUwzpdzZzblm2Hnoz4"
    )
    assert token == by_hand("s3cret", name, pair(A, T) + pair(B, T + 5))
    assert token.startswith(f"{name}.")
    assert set(token) <= set(URL_SAFE + ".")


@pytest.mark.parametrize(
    ("seen", "body", "characters"),
    [
        (NOTHING_SEEN, b"", 16),
        (Seen({A: T}, T), pair(A, T), 38),
        (Seen({A: T}, 0), pair(A, T), 38),
        (Seen({A: T, B: 1}, T), pair(A, T) + pair(B, 1), 59),
        (Seen({A: T}, T + 1), pair(A, T) + (T + 1).to_bytes(8, "big"), 48),
        (Seen({}, 7), (7).to_bytes(8, "big"), 27),
    ],
    ids=["nothing", "one", "one, clock below", "two", "one and a clock", "a clock alone"],
)
def test_how_long_it_is(seen: Seen, body: bytes, characters: int) -> None:
    signer = TokenSigner(["s3cret"])
    name = signer.sign(LOCATOR, SECRET)
    token = signer.token(name, seen)

    assert token == by_hand("s3cret", name, body)
    assert len(token) == NAME_CHARACTERS + 1 + characters
    read = seen_in(signer, token)
    assert (read.version, read.clock) == (seen.version, max(seen.clock, *seen.version.values(), 0))


@given(
    st.dictionaries(st.binary(min_size=8, max_size=8), st.integers(1, HLC_MAX - 1), max_size=12),
    st.integers(0, HLC_MAX - 1),
)
@settings(max_examples=60)
def test_what_was_seen_comes_back(version: dict[bytes, int], clock: int) -> None:
    signer = TokenSigner(["s3cret"])
    token = signer.token(signer.sign(LOCATOR, SECRET), Seen(version, clock))

    read = seen_in(signer, token)

    assert read.clock == max(clock, *version.values(), 0)
    assert read.version.items() <= version.items()
    assert len(read.version) == min(len(version), WRITERS_MAX)
    left_out = [hlc for member, hlc in version.items() if member not in read.version]
    assert max(left_out, default=0) <= min(read.version.values(), default=HLC_MAX)
    assert len(token) <= NAME_CHARACTERS + 1 + 198


def test_a_name_alone_is_good_and_says_nothing() -> None:
    signer = TokenSigner(["s3cret"])

    assert seen_in(signer, signer.sign(LOCATOR, SECRET)) == NOTHING_SEEN


def test_every_other_character_in_what_was_seen_is_none() -> None:
    signer = TokenSigner(["s3cret"])
    token = signer.token(signer.sign(LOCATOR, SECRET), Seen({A: T}, T))
    assert signer.verify(token) is not None

    for position, other in itertools.product(
        range(NAME_CHARACTERS, len(token)), URL_SAFE + "+/=. é\0"
    ):
        changed = token[:position] + other + token[position + 1 :]
        assert changed == token or signer.verify(changed) is None, (position, other)


def test_every_other_length_is_none() -> None:
    signer = TokenSigner(["s3cret"])
    token = signer.token(signer.sign(LOCATOR, SECRET), Seen({A: T, B: T}, T))

    for end in range(NAME_CHARACTERS + 1, len(token)):
        assert signer.verify(token[:end]) is None
    for more in ("A", "AA", "AAAA", "=", "==", ".", " ", "A" * 1000):
        assert signer.verify(token + more) is None


def test_what_another_secret_says_was_seen_is_refused() -> None:
    signer, other = TokenSigner(["s3cret"]), TokenSigner(["other"])
    name = signer.sign(LOCATOR, SECRET)

    assert signer.verify(other.token(name, Seen({A: T}, T))) is None
    assert signer.verify(by_hand("other", name, pair(A, T))) is None


@pytest.mark.parametrize(
    "other", [(LOCATOR[::-1], SECRET), (LOCATOR, SECRET[::-1])], ids=["session", "id"]
)
def test_what_was_seen_of_another_session_is_refused(other: tuple[bytes, bytes]) -> None:
    signer = TokenSigner(["s3cret"])
    mine, theirs = signer.sign(LOCATOR, SECRET), signer.sign(*other)
    token = signer.token(theirs, Seen({A: T}, T))

    assert signer.verify(token) is not None
    assert signer.verify(mine + token[NAME_CHARACTERS:]) is None


def test_what_was_seen_is_good_under_every_secret() -> None:
    old, both = TokenSigner(["old"]), TokenSigner(["new", "old"])
    name = old.sign(LOCATOR, SECRET)

    assert seen_in(both, old.token(name, Seen({A: T}, T))) == Seen({A: T}, T)
    # What goes back has both parts from the first secret.
    read = verified(both, name)
    assert seen_in(TokenSigner(["new"]), both.token(read.text, Seen({A: T}, T))).clock == T
    assert old.verify(both.token(read.text, Seen({A: T}, T))) is None


@pytest.mark.parametrize(
    "body",
    [
        b"x",
        pair(A, T)[:-1],
        pair(A, T) + b"\0" * 7,
        pair(A, T) + b"\0" * 9,
        b"".join(pair(bytes([n]) * 8, T) for n in range(9)),
        pair(A, HLC_MAX),
        pair(A, T) + HLC_MAX.to_bytes(8, "big"),
        HLC_MAX.to_bytes(8, "big"),
        b"\xff" * 8,
    ],
    ids=[
        "1 byte",
        "15 bytes",
        "23 bytes",
        "25 bytes",
        "nine writers",
        "a clock too great",
        "a greatest clock too great",
        "that alone",
        "the end of 64 bits",
    ],
)
def test_what_is_sealed_and_of_another_version_is_none(body: bytes) -> None:
    signer = TokenSigner(["s3cret"])
    name = signer.sign(LOCATOR, SECRET)
    assert signer.verify(by_hand("s3cret", name, pair(A, T))) is not None

    assert signer.verify(by_hand("s3cret", name, body)) is None


def test_the_greatest_clock_value_is_taken() -> None:
    signer = TokenSigner(["s3cret"])
    token = signer.token(signer.sign(LOCATOR, SECRET), Seen({A: HLC_MAX - 1}, 0))

    assert seen_in(signer, token) == Seen({A: HLC_MAX - 1}, HLC_MAX - 1)


@given(st.text() | st.text(URL_SAFE + ".=", max_size=220))
@settings(max_examples=60)
def test_no_text_behind_a_name_raises(text: str) -> None:
    signer = TokenSigner(["s3cret"])
    name = signer.sign(LOCATOR, SECRET)

    assert text == "" or signer.verify(name + text) is None
