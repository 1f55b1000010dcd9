"""Refusals: 503 that says when to try again, over http and in a websocket's handshake."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from replsession.web.refusal import RETRY_AFTER_S, Headers, Message, cookies_of, refuse

COOKIE = (b"set-cookie", b"session=x; path=/")
DENIAL: dict[str, Any] = {"extensions": {"websocket.http.response": {}}}


def refused(scope: dict[str, Any], headers: Headers, why: str = "a reason") -> list[Message]:
    """Refuse a connection; return what was sent."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(refuse(scope, send, why, headers))
    return sent


@pytest.mark.parametrize(
    ("scope", "kind"),
    [
        ({"type": "http"}, "http.response"),
        ({"type": "http", **DENIAL}, "http.response"),
        ({"type": "websocket", **DENIAL}, "websocket.http.response"),
    ],
    ids=["http", "http with an extension", "a websocket that may be denied"],
)
@pytest.mark.parametrize("headers", [[], [COOKIE], [COOKIE, (b"set-cookie", b"other=1")]])
def test_it_is_a_page_that_says_when_to_try_again(
    scope: dict[str, Any], kind: str, headers: Headers
) -> None:
    start, body = refused(scope, headers, "nobody holds it")

    assert (start["type"], start["status"]) == (f"{kind}.start", 503)
    assert body == {
        "type": f"{kind}.body",
        "body": b"503 Service Unavailable: nobody holds it. Please try again.\n",
    }
    named = dict(start["headers"])
    assert named[b"retry-after"] == b"%d" % RETRY_AFTER_S
    assert named[b"content-length"] == b"%d" % len(body["body"])
    assert named[b"content-type"] == b"text/plain; charset=utf-8"
    assert named[b"cache-control"] == b"no-store"
    assert [header for header in start["headers"] if header[0] == b"set-cookie"] == headers
    assert all(name == name.lower() for name, _ in start["headers"])


@pytest.mark.parametrize(
    "scope",
    [{"type": "websocket"}, {"type": "websocket", "extensions": {"tls": {}}}],
    ids=["no extensions", "another extension"],
)
def test_a_websocket_that_can_not_be_denied_is_closed(scope: dict[str, Any]) -> None:
    assert refused(scope, [COOKIE]) == [{"type": "websocket.close", "code": 1013, "reason": ""}]


def test_a_reason_of_any_language_has_the_length_that_is_told() -> None:
    start, body = refused({"type": "http"}, [], "müßte warten – 待")

    assert dict(start["headers"])[b"content-length"] == b"%d" % len(body["body"])
    assert "müßte warten – 待" in body["body"].decode()


@pytest.mark.parametrize(
    ("headers", "cookies"),
    [
        ([], []),
        ([(b"x", b"y")], []),
        ([COOKIE], [COOKIE]),
        ([(b"x", b"y"), COOKIE, (b"vary", b"Cookie")], [COOKIE]),
        ([(b"Set-Cookie", b"a=1"), COOKIE], [(b"Set-Cookie", b"a=1"), COOKIE]),
        ([(b"cookie", b"a=1"), (b"set-cookie2", b"a=1")], []),
    ],
)
def test_of_the_headers_only_cookies_are_kept(headers: Headers, cookies: Headers) -> None:
    assert cookies_of(headers) == cookies
