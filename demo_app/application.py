"""
The counter page's application: a page and a few JSON endpoints over ``request.session``.

``GET /`` and ``GET /session.json`` count a visit; everything else leaves the counter alone.
"""

from __future__ import annotations

import json
import math
import os
import socket
from collections.abc import Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from demo_app.listener import LoggingListener
from demo_app.page import Neighbour, Page, neighbours
from replsession import Cluster, ConfigError, Session, SessionError, SessionMiddleware

CONTEXT = "/examples"
FILTER = r".*\.gif;.*\.js;.*\.jpg;.*\.png;.*\.css;.*\.txt;/readyz"
BODY_BYTES_MAX = 2 * 1024 * 1024
"""More than a whole session may have; a longer body is not read."""
NOT_STORED = {"Cache-Control": "no-store"}
"""Answers show the session's token, so nobody shall keep one."""


def create_app(environment: Mapping[str, str] = os.environ) -> Starlette:
    """
    Return the application, configured by the environment.

    Args:
        environment: ``REPLSESSION_…`` as in :meth:`Cluster.from_env`, of which the secret must be
            there, and ``DEMO_MEMBERS``: ``NAME=URL`` of all members, with blanks between them.

    Raises:
        ConfigError: the secret is missing, or a variable has a value that is not allowed.
    """
    secret = environment.get("REPLSESSION_SECRET")
    if not secret:
        raise ConfigError(
            "REPLSESSION_SECRET",
            secret,
            "32 random characters or more, the same for every member; make them with: "
            'python -c "import secrets; print(secrets.token_urlsafe(32))"',
        )
    cluster = Cluster.from_env(environment)
    app = Starlette(
        routes=[
            Route("/", home),
            Route("/session.json", session_json),
            Route("/attributes", set_attributes, methods=["POST"]),
            Route("/attributes/{name:path}", remove_attribute, methods=["DELETE"]),
            Route("/logout", logout, methods=["POST"]),
            Route("/rotate", rotate, methods=["POST"]),
            Route("/readyz", readyz),
        ],
        middleware=[
            Middleware(RefusedWrites),
            Middleware(
                SessionMiddleware,
                secret_key=secret,
                cluster=cluster,
                context=CONTEXT,
                url_tracking=True,
                valve=FILTER,
                listeners=[LoggingListener()],
            ),
        ],
        exception_handlers={HTTPException: error_json},
    )
    app.state.cluster = cluster
    app.state.name = environment.get("REPLSESSION_MEMBER_NAME") or socket.gethostname()
    app.state.neighbours = neighbours(environment.get("DEMO_MEMBERS", ""))
    return app


async def home(request: Request) -> Response:
    """Count a visit, and show the page."""
    session = count_visit(request)
    cluster: Cluster | None = request.app.state.cluster
    known: tuple[Neighbour, ...] = request.app.state.neighbours
    assert session.id is not None and session.url_token is not None
    page = Page(
        member=member_name(request),
        process=os.getpid(),
        members=() if cluster is None else cluster.members,
        neighbours=known,
        host=request.headers.get("host", ""),
        counter=counter_of(session),
        session_id=session.id,
        url_token=session.url_token,
        is_new=session.is_new,
        attributes=session,
        encode_url=session.encode_url,
    )
    return HTMLResponse(page.html(), headers=NOT_STORED)


async def session_json(request: Request) -> Response:
    """Count a visit, and answer with the session."""
    count_visit(request)
    return answer(request)


async def set_attributes(request: Request) -> Response:
    """Set the attributes that the body names; what may not be stored changes nothing."""
    session_of(request).update(await json_object(request))
    return answer(request)


async def remove_attribute(request: Request) -> Response:
    """Remove one attribute, if it is there; the last one ends the session."""
    session = session_of(request)
    name = request.path_params["name"]
    if name in session:
        del session[name]
    return answer(request)


async def logout(request: Request) -> Response:
    """End the session, on every member."""
    session_of(request).invalidate()
    return answer(request)


async def rotate(request: Request) -> Response:
    """Give the session another id, as after a login."""
    session_of(request).rotate_id()
    return answer(request)


async def readyz(request: Request) -> Response:
    """Say whether this member may be given traffic."""
    cluster: Cluster | None = request.app.state.cluster
    ready = cluster is None or cluster.is_ready
    state = "ready" if cluster is None else cluster.state
    return JSONResponse({"ready": ready, "state": state}, 200 if ready else 503)


async def error_json(request: Request, error: Exception) -> Response:
    """Answer with what is wrong, as JSON like everything else."""
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


class RefusedWrites:
    """
    Answers 400 when a session refuses what was put into it.

    A session is committed when the response starts, so its refusal comes out of the middleware of
    the sessions, with nothing sent yet; this one stands around it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        try:
            await self.app(scope, receive, send)
        except SessionError as error:
            await JSONResponse({"error": str(error)}, 400)(scope, receive, send)


def session_of(request: Request) -> Session:
    """Return ``request.session`` as what it is: Starlette calls it a dict."""
    session = request.session
    assert isinstance(session, Session)
    return session


def member_name(request: Request) -> str:
    """Return the name of the member that answers."""
    cluster: Cluster | None = request.app.state.cluster
    return cluster.member_name if cluster is not None else str(request.app.state.name)


def counter_of(session: Session) -> int:
    """Return the visits so far; whatever else was put under that name counts as none."""
    counter = session.get("counter")
    return counter if isinstance(counter, int) and not isinstance(counter, bool) else 0


def count_visit(request: Request) -> Session:
    """Count one visit, and return the session."""
    session = session_of(request)
    session["counter"] = counter_of(session) + 1
    return session


def answer(request: Request) -> Response:
    """Return the session as JSON; without one there is no id, and there are no attributes."""
    session = session_of(request)
    # An empty session ends with its request.
    exists = bool(session)
    told = {
        "member": member_name(request),
        "session_id": session.id if exists else None,
        "url_token": session.url_token if exists else None,
        "is_new": exists and session.is_new,
        "counter": counter_of(session),
        "attributes": dict(session),
    }
    return JSONResponse(told, headers=NOT_STORED)


async def json_object(request: Request) -> dict[str, Any]:
    """
    Return the JSON object in the body.

    Raises:
        HTTPException: 400 for anything else, 413 for a body that is too long.
    """
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise HTTPException(413, f"the body has more than {BODY_BYTES_MAX} bytes")
    try:
        found = json.loads(body, parse_float=_finite, parse_constant=_finite)
        # Half a surrogate pair can be written as an escape, and is nothing that can be answered.
        json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"the body is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise HTTPException(400, 'the body must be a JSON object, as {"name": "value"}')
    return found


def _finite(text: str) -> float:
    # NaN and numbers beyond the range of a float can be read, but JSON has no way to answer them.
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number in JSON, or too large for one")
    return number
