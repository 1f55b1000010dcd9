"""
A shop for ASGI servers, as a server loads it: ``shop:app``.

::

    POST /count     count in the session        GET /  what the session has counted to
    GET /member     who answers, and whom it knows
    GET /readyz     200 when this member has the state of the others, 503 with the reason before
    POST /control/  the control URL

``SHOP_SECRET`` is the secret. ``SHOP_PORT``: the only port to try; ``SHOP_BIND``: the address, in a
cluster of several hosts; ``SHOP_REQUIRED``: without the cluster nothing is served;
``SHOP_CONCERN``: the write concern. Each line of the log begins with the process that wrote it.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from replsession import Cluster, SessionMiddleware
from replsession.control import AsgiControl

logging.basicConfig(level=logging.INFO, format="%(process)d %(levelname)s %(message)s")

# One line for each request would hide what members say.
logging.getLogger("uvicorn.access").setLevel(logging.WARNING)


def made_cluster() -> Cluster:
    """Return the cluster that the environment describes."""
    bind, port = os.environ.get("SHOP_BIND"), os.environ.get("SHOP_PORT")
    if bind is not None:
        return Cluster.lan("shop", bind=bind)
    return Cluster.local() if port is None else Cluster.local(port=int(port), auto_bind=1)


def options() -> dict[str, Any]:
    """Return what any of the shops gives to its front door."""
    return {
        "secret_key": os.environ["SHOP_SECRET"],
        "cluster": cluster,
        "required": "SHOP_REQUIRED" in os.environ,
        "concern": os.environ.get("SHOP_CONCERN", "async"),
    }


def told_of_member() -> tuple[int, dict[str, Any]]:
    """Return the status and the content of an answer that says who answers."""
    told = {
        "pid": os.getpid(),
        "name": cluster.member_name,
        "others": len(cluster.members),
        "ready": cluster.is_ready,
        "state": cluster.state,
    }
    return (200 if cluster.is_ready else 503), told


async def count(request: Request) -> JSONResponse:
    """Count one more."""
    request.session["n"] = request.session.get("n", 0) + 1
    return await shown(request)


async def shown(request: Request) -> JSONResponse:
    """Answer with what was counted."""
    return JSONResponse({"pid": os.getpid(), "n": request.session.get("n", 0)})


async def member(request: Request) -> JSONResponse:
    """Say who answers."""
    return JSONResponse(told_of_member()[1])


async def readyz(request: Request) -> JSONResponse:
    """Say whether this member may be given traffic."""
    status, told = told_of_member()
    return JSONResponse(told, status)


cluster = made_cluster()
app = Starlette(
    routes=[
        Route("/count", count, methods=["POST"]),
        Route("/", shown),
        Route("/member", member),
        Route("/readyz", readyz),
        Mount("/control", AsgiControl(cluster)),
    ],
    middleware=[Middleware(SessionMiddleware, **options())],
)
