"""
A shop for ASGI servers, as a server loads it: ``shop:app``.

::

    POST /count     count in the session        GET /  what the session has counted to
    GET /member     who answers, and whom it knows
    GET /readyz     200 when this member has the state of the others, 503 with the reason before

``REPLSESSION_…`` as in :meth:`Cluster.from_env`; ``SHOP_PORT``: the only port to try, in a cluster
of this host; ``SHOP_REQUIRED``: without the cluster nothing starts. Each line of the log begins
with the process that wrote it.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from replsession import Cluster, SessionMiddleware

logging.basicConfig(level=logging.INFO, format="%(process)d %(levelname)s %(message)s")


def made_cluster() -> Cluster | None:
    """Return the cluster that the environment describes."""
    port = os.environ.get("SHOP_PORT")
    return Cluster.from_env() if port is None else Cluster.local(port=int(port), auto_bind=1)


def options() -> dict[str, Any]:
    """Return what any of the shops gives to its front door."""
    return {
        "secret_key": os.environ["SHOP_SECRET"],
        "cluster": cluster,
        "required": "SHOP_REQUIRED" in os.environ,
    }


def told_of_member() -> tuple[int, dict[str, Any]]:
    """Return the status and the content of an answer that says who answers."""
    assert cluster is not None
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
    ],
    middleware=[Middleware(SessionMiddleware, **options())],
)
