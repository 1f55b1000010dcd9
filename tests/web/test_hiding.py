"""Hiding: no id stays in a text, in whatever spelling, and what stays says which session it was."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replsession.identity import hash_of_secret, public_id, short
from replsession.security.tokens import TokenSigner
from replsession.session.stamp import Seen
from replsession.web.hiding import MASK, Hiding, hidden, hiding

LOCATOR, SECRET_PART = bytes(range(100, 112)), bytes(range(200, 216))
SIGNER = TokenSigner(["short"], lambda locator, secret_hash, token: token)
NAME = SIGNER.sign(LOCATOR, SECRET_PART)
TOKEN = SIGNER.token(NAME, Seen({bytes(8): 7}, 7))
SHOWN = short(public_id(LOCATOR, hash_of_secret(SECRET_PART))) + MASK
ENCODED = quote(f";jsessionid={TOKEN}", safe="")
TWICE = quote(ENCODED, safe="")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"GET /cart;jsessionid={TOKEN} HTTP/1.1", f"GET /cart;jsessionid={SHOWN} HTTP/1.1"),
        (f"/cart;jsessionid={TOKEN}?page=2#top", f"/cart;jsessionid={SHOWN}?page=2#top"),
        (f"/a;jsessionid={NAME};v=1/b", f"/a;jsessionid={SHOWN};v=1/b"),
        (
            f"/a;JSESSIONID={TOKEN}/b;jSessionId={TOKEN}",
            f"/a;JSESSIONID={SHOWN}/b;jSessionId={SHOWN}",
        ),
        (f"/cart{ENCODED}", f"/cart%3Bjsessionid%3D{SHOWN}"),
        (f"/?next=%2Fcart{TWICE}", f"/?next=%2Fcart%253Bjsessionid%253D{SHOWN}"),
        (f"/cart%3bjsessionid={TOKEN}", f"/cart%3bjsessionid={SHOWN}"),
        (f"/cart;%6Asessioni%44={TOKEN}", f"/cart;%6Asessioni%44={SHOWN}"),
        (f"/cart?jsessionid={TOKEN}&a=1", f"/cart?jsessionid={SHOWN}&a=1"),
        (f"http://shop/;jsessionid={TOKEN}", f"http://shop/;jsessionid={SHOWN}"),
        (f"theme=dark; session={TOKEN}; a=1", f"theme=dark; session={SHOWN}; a=1"),
        (f"session={TOKEN}; HttpOnly; Path=/", f"session={SHOWN}; HttpOnly; Path=/"),
        (f'{{"cookie": "session=\\"{TOKEN}\\""}}', f'{{"cookie": "session=\\"{SHOWN}\\""}}'),
        (f"an id without a name: {TOKEN}", f"an id without a name: {SHOWN}"),
        (f"/x/{TOKEN.replace('.', '%2E')}", f"/x/{SHOWN}"),
        # A member's own short name of the session is no id.
        (
            f"Manager [/]: received session [{SHOWN[:8]}]",
            f"Manager [/]: received session [{SHOWN[:8]}]",
        ),
        ("/;jsessionid=", "/;jsessionid="),
        ("/;jsessionid", "/;jsessionid"),
        ("mysession=1; sessions=2; x-session-y=3", "mysession=1; sessions=2; x-session-y=3"),
        ("GET /cart?page=2 HTTP/1.1", "GET /cart?page=2 HTTP/1.1"),
        ("", ""),
    ],
)
def test_what_is_left(text: str, left: str) -> None:
    assert hidden(text) == left


def test_an_id_of_somebody_else_leaves_a_few_digits_of_a_hash() -> None:
    text = hidden("/;jsessionid=9AB3F2C1D4E5F60718293A4B5C6D7E8F.node1")
    name, _, value = text.partition("=")

    assert name == "/;jsessionid"
    assert len(value) == 8 + len(MASK)
    assert "9AB3" not in value
    assert hidden("/;jsessionid=9AB3F2C1D4E5F60718293A4B5C6D7E8F.node1") == text
    assert hidden("/;jsessionid=other") != text


def test_hiding_again_changes_nothing() -> None:
    once = hidden(f"/;jsessionid={TOKEN};jsessionid=foreign and session={TOKEN}")

    assert hidden(once) == once


def test_other_names_may_be_hidden() -> None:
    hide = hiding(("sid", "shop.cookie"))

    assert hide(f"/;sid={TOKEN} shop.cookie=abc shopXcookie=abc") == (
        f"/;sid={SHOWN} shop.cookie=ba7816bf{MASK} shopXcookie=abc"
    )
    assert hiding(("sid", "shop.cookie")) is hide


@given(
    before=st.text(alphabet="/;%3bB =&ajsesionid2D5", max_size=30),
    depth=st.integers(0, 3),
    capital=st.booleans(),
    after=st.sampled_from(["", " HTTP/1.1", "?a=1", ";v=2", "/b", '"', "&x", "%20", "%3Bv"]),
)
def test_no_surroundings_let_it_through(before: str, depth: int, capital: bool, after: str) -> None:
    parameter = f";{'JSESSIONID' if capital else 'jsessionid'}={TOKEN}"
    for _ in range(depth):
        parameter = quote(parameter, safe="")

    left = hidden(before + parameter + after)

    assert TOKEN[17:] not in left
    assert NAME[17:38] not in left


@pytest.mark.parametrize(
    "piece", ["%25", "jsessionid", "A", "AQ", "%253b", "session%25", ";jsessionid=", "="]
)
def test_a_long_text_is_no_burden(piece: str) -> None:
    text = piece * (200_000 // len(piece))

    # Whatever comes out: a pattern that goes back and forth would not come to an end.
    assert isinstance(Hiding(("jsessionid", "session"))(text), str)
