"""The same shop for WSGI servers, without any framework: ``shop_wsgi:app``."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from replsession.control import WsgiControl
from replsession.wsgi import SessionMiddleware
from tests.servers.shop import cluster, options, told_of_member

if TYPE_CHECKING:
    from wsgiref.types import StartResponse

__all__ = ["app", "cluster"]

REASONS = {200: "OK", 404: "Not Found", 503: "Service Unavailable"}


def pages(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """Serve one request."""
    if environ["PATH_INFO"].startswith("/control/"):
        return control(environ, start_response)
    status, told = answer(environ)
    body = json.dumps(told).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response(f"{status} {REASONS[status]}", headers)
    return [body]


def answer(environ: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Return the status and the content."""
    session, path = environ["replsession.session"], environ["PATH_INFO"]
    if path == "/member":
        return 200, told_of_member()[1]
    if path == "/readyz":
        return told_of_member()
    if path == "/loop":
        return 200, {"ran": asyncio.run(other_work())}
    if path == "/count":
        session["n"] = session.get("n", 0) + 1
    elif path != "/":
        return 404, {}
    return 200, {"pid": os.getpid(), "n": session.get("n", 0)}


async def other_work() -> bool:
    """What an application may do with asyncio: nothing of ours is in its way."""
    await asyncio.sleep(0)
    return True


control = WsgiControl(cluster)
app = SessionMiddleware(pages, **options())
