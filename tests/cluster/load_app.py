"""
The application under load: browsers append to their attribute, read, and end their sessions.

A request says which session it means. A member that does not know it answers 404 and changes
nothing, so that no new session takes the place of one that only was not here yet.

::

    POST /append {"session": id or null, "attribute": "w1", "token": "1-17"}
    POST /read {"session": id}    POST /invalidate {"session": id}
    GET /readyz
    GET /state      the member, its view, counters, outboxes, and a digest of all it holds
    GET /sessions   all it holds

``LOAD_LIMITS`` in the environment replaces limits of the product: ``{"outbox_deltas_max": 20}``.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from replsession import Cluster, Session, SessionMiddleware
from replsession.channel.member import LocalMember
from replsession.config import Limits
from replsession.identity import public_id
from replsession.node import Node
from replsession.session.codec import decode
from replsession.session.record import SECRET, Record

CONTEXT = "/load"
FILTER = "/readyz;/state;/sessions"


def create_app(environment: Mapping[str, str] = os.environ) -> Starlette:
    """Return the application; ``REPLSESSION_…`` and ``LOAD_LIMITS`` are read."""
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s.%(msecs)03d %(levelname)-7s %(message)s",
        datefmt="%H:%M:%S",
    )
    cluster = Cluster.from_env(environment)
    assert cluster is not None and cluster._settings is not None
    limits = json.loads(environment.get("LOAD_LIMITS") or "{}")
    if limits:
        # No setting for users: with the real limits it would take minutes of load to reach one.
        settings = cluster._settings
        node = replace(settings.node, limits=Limits(**limits))
        cluster = Cluster(replace(settings, node=node))
    app = Starlette(
        routes=[
            Route("/append", append, methods=["POST"]),
            Route("/read", read, methods=["POST"]),
            Route("/invalidate", invalidate, methods=["POST"]),
            Route("/readyz", readyz),
            Route("/state", state),
            Route("/sessions", sessions),
        ],
        middleware=[
            Middleware(
                SessionMiddleware,
                secret_key=environment["REPLSESSION_SECRET"],
                cluster=cluster,
                context=CONTEXT,
                valve=FILTER,
            )
        ],
    )
    app.state.cluster = cluster
    return app


async def append(request: Request) -> Response:
    """Append a token to an attribute; without a session, begin one."""
    asked = await request.json()
    session = session_of(request)
    if session.id != asked["session"]:
        return answer(request, known=False)
    session.setdefault(asked["attribute"], []).append(asked["token"])
    return answer(request)


async def read(request: Request) -> Response:
    """Answer with the session."""
    asked = await request.json()
    return answer(request, known=session_of(request).id == asked["session"])


async def invalidate(request: Request) -> Response:
    """End the session everywhere."""
    asked = await request.json()
    session = session_of(request)
    if session.id != asked["session"]:
        return answer(request, known=False)
    session.invalidate()
    told = {"session": asked["session"], "values": {}, "stale": is_stale(session)}
    return JSONResponse({"member": name_of(request), **told})


def session_of(request: Request) -> Session:
    """Return ``request.session`` as what it is: Starlette calls it a dict."""
    session = request.session
    assert isinstance(session, Session)
    return session


def name_of(request: Request) -> str:
    """Return the name of the member that answers: behind a balancer nobody else knows."""
    cluster: Cluster = request.app.state.cluster
    return cluster.member_name


def answer(request: Request, *, known: bool = True) -> Response:
    """Answer with the session as this request sees it."""
    session = session_of(request)
    told = {
        "member": name_of(request),
        "session": session.id if known else None,
        "values": dict(session) if known else {},
        "stale": is_stale(session),
    }
    return JSONResponse(told, 200 if known else 404)


def is_stale(session: Session) -> bool:
    """Return whether the session itself says that it may be behind what the browser has seen."""
    return bool(getattr(session, "stale", False))


async def readyz(request: Request) -> Response:
    """Say whether this member may be given traffic."""
    cluster: Cluster = request.app.state.cluster
    told = {"ready": cluster.is_ready, "state": cluster.state}
    return JSONResponse(told, 200 if cluster.is_ready else 503)


async def state(request: Request) -> Response:
    """Answer with what can be known of this member from inside."""
    cluster: Cluster = request.app.state.cluster
    member = member_of(cluster)
    told: dict[str, Any] = {"member": cluster.member_name, "members": cluster.members}
    with member.lock:
        node = member.node
        told |= {
            "ready": node.is_ready,
            "wall_offset_s": node.wall_offset_s,
            "metrics": node.metrics.as_dict(),
            "outboxes": outboxes(node),
            "limits": {
                "outbox_deltas_max": node.limits.outbox_deltas_max,
                "outbox_bytes_max": node.limits.outbox_bytes_max,
                "window_bytes": node.limits.window_bytes,
            },
            "partial": sum(not record.complete for record in node.store.records()),
            "digest": digest(node),
        }
    return JSONResponse(told)


async def sessions(request: Request) -> Response:
    """Answer with all sessions that this member would serve."""
    member = member_of(request.app.state.cluster)
    with member.lock:
        held = {session_id(record): held_of(record) for record in served(member.node)}
    return JSONResponse(held)


def member_of(cluster: Cluster) -> LocalMember:
    """Return the member behind a handle, which shows users less than a test wants to see."""
    assert cluster._channel is not None
    return cluster._channel.member


def outboxes(node: Node) -> dict[str, dict[str, Any]]:
    """Return what waits for each of the other members, by name."""
    names = {other.id: other.name for other in node.membership.view}
    return {
        names.get(peer.id, peer.id.hex()): {
            "deltas": len(peer.outbox),
            "bytes": peer.outbox._bytes,
            "in_flight_bytes": peer.outbox.in_flight_bytes,
        }
        for peer in node.peers
    }


def served(node: Node) -> Iterator[Record]:
    """Yield the records that a request would find."""
    for record in node.store.records():
        if record.complete and record.destroyed is None and not record.asleep:
            yield record


def session_id(record: Record) -> str:
    """Return the id that browsers know."""
    secret_hash = record.value(SECRET)
    assert secret_hash is not None
    return public_id(record.key.locator, secret_hash)


def held_of(record: Record) -> dict[str, Any]:
    """Return what a member holds of one session."""
    values = {name: decode(value) for name, value in record.values().items()}
    return {"digest": f"{record.digest():016x}", "values": values}


def digest(node: Node) -> str:
    """
    Return a short text, equal for two members that hold the same and have nothing to repair.

    It covers each record, and the digests of buckets that repair keeps.
    """
    hashed = hashlib.sha256(repr(node.store.digests(time.monotonic())).encode())
    for line in sorted(f"{session_id(record)} {record.digest()}" for record in served(node)):
        hashed.update(line.encode())
    return hashed.hexdigest()[:16]
