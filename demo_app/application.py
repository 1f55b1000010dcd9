"""
The counter page's application: a page and a few JSON endpoints over ``request.session``.

``GET /`` and ``GET /session.json`` count a visit; everything else leaves the counter alone.
"""

from __future__ import annotations

import os
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
from demo_app.visits import (
    BODY_BYTES_MAX,
    CONTEXT,
    NOT_STORED,
    TOO_LONG,
    Place,
    count_visit,
    json_object,
    place,
)
from replsession import Session, SessionError, SessionMiddleware


def create_app(environment: Mapping[str, str] = os.environ) -> Starlette:
    """
    Return the application, configured by the environment.

    Args:
        environment: As for :func:`demo_app.visits.place`.

    Raises:
        ConfigError: the secret is missing, or a variable has a value that is not allowed.
    """
    here = place(environment)
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
                secret_key=here.secret,
                cluster=here.cluster,
                context=CONTEXT,
                url_tracking=True,
                valve=here.valve,
                listeners=[LoggingListener()],
            ),
        ],
        exception_handlers={HTTPException: error_json},
    )
    app.state.place = here
    return app


async def home(request: Request) -> Response:
    """Count a visit, and show the page."""
    session = count_visit(session_of(request))
    page = place_of(request).page(session, request.headers.get("host", ""))
    return HTMLResponse(page, headers=NOT_STORED)


async def session_json(request: Request) -> Response:
    """Count a visit, and answer with the session."""
    count_visit(session_of(request))
    return answer(request)


async def set_attributes(request: Request) -> Response:
    """Set the attributes that the body names; what may not be stored changes nothing."""
    session_of(request).update(await body_of(request))
    return answer(request)


async def remove_attribute(request: Request) -> Response:
    """Remove one attribute, if it is there; the last one ends the session."""
    session_of(request).pop(request.path_params["name"], None)
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
    return JSONResponse(*place_of(request).state)


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


def place_of(request: Request) -> Place:
    """Return where the application runs."""
    here: Place = request.app.state.place
    return here


def answer(request: Request) -> Response:
    """Return the session as JSON."""
    return JSONResponse(place_of(request).told(session_of(request)), headers=NOT_STORED)


async def body_of(request: Request) -> dict[str, Any]:
    """
    Return the JSON object in the body.

    Raises:
        HTTPException: 400 for anything else, 413 for a body that is too long.
    """
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise HTTPException(413, TOO_LONG)
    try:
        return json_object(body)
    except ValueError as error:
        raise HTTPException(400, str(error)) from error
