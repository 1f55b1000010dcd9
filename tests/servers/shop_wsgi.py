"""The same shop for WSGI servers, without any framework: ``shop_wsgi:app``."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from shop import cluster, options, told_of_member

from replsession.wsgi import SessionMiddleware

if TYPE_CHECKING:
    from wsgiref.types import StartResponse

__all__ = ["app", "cluster"]

REASONS = {200: "OK", 404: "Not Found", 503: "Service Unavailable"}


def pages(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """Serve one request."""
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
    if path == "/count":
        session["n"] = session.get("n", 0) + 1
    elif path != "/":
        return 404, {}
    return 200, {"pid": os.getpid(), "n": session.get("n", 0)}


app = SessionMiddleware(pages, **options())
