"""
Refusals: 503 for a request that must not be answered now, over http and in a websocket's handshake.

Source: RFC 9110, section 15.6.4; the ASGI specification's "Websocket Denial Response".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

STATUS = 503
RETRY_AFTER_S = 1
_TRY_AGAIN_LATER = 1013
"""Close code of a websocket. Source: the IANA registry of WebSocket close codes."""

NOT_STARTED = "this process cannot join its cluster, and may not serve without it"
"""For clients, with ``required=True``; the reason is in the log and in the cluster's state."""

Headers = list[tuple[bytes, bytes]]
Message = MutableMapping[str, Any]


def cookies_of(headers: Sequence[tuple[bytes, bytes]]) -> Headers:
    """Return the cookies in a response's headers: what was committed stays, so its id must too."""
    return [header for header in headers if header[0].lower() == b"set-cookie"]


def refusal(why: str, headers: Headers) -> tuple[Headers, bytes]:
    """
    Return the headers and the body of a 503 with ``Retry-After``.

    Args:
        why: The page, as plain text.
        headers: Further headers, for example cookies.
    """
    body = f"503 Service Unavailable: {why}. Please try again.\n".encode()
    ours = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"retry-after", b"%d" % RETRY_AFTER_S),
        (b"cache-control", b"no-store"),
    ]
    return [*ours, *headers], body


async def refuse(
    scope: MutableMapping[str, Any],
    send: Callable[[Message], Awaitable[None]],
    why: str,
    headers: Headers,
) -> None:
    """
    Answer 503 with ``Retry-After``; a websocket is denied before it is accepted.

    Args:
        scope: Of the connection.
        send: Of the connection; nothing was sent on it yet.
        why: The page, as plain text.
        headers: Further headers, for example cookies.
    """
    ours, body = refusal(why, headers)
    start = {"status": STATUS, "headers": ours}
    kind = "http"
    if scope["type"] == "websocket":
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": _TRY_AGAIN_LATER, "reason": ""})
            return
        kind = "websocket.http"
    await send({"type": f"{kind}.response.start", **start})
    await send({"type": f"{kind}.response.body", "body": body})
