"""``uvicorn --workers 4`` with the five lines of the README: the workers share every session."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest

from tests.cluster.processes import WAIT_S, Processes, Server, free_ports, random_secret

pytestmark = pytest.mark.cluster

WORKERS = 4
READS = 200
EXAMPLE = """
import os

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Route

from replsession import SessionMiddleware

SECRET = os.environ["SHOP_SECRET"]


def shown(request):
    return JSONResponse({"pid": os.getpid(), "counter": request.session.get("counter", 0)})


def count(request):
    request.session["counter"] = request.session.get("counter", 0) + 1
    return shown(request)


app = Starlette(
    routes=[Route("/count", count, methods=["POST"]), Route("/", shown)],
    middleware=[Middleware(SessionMiddleware, secret_key=SECRET)],
)
"""


def new_connections(server: Server) -> httpx.Client:
    """Return a client that keeps cookies, but no connection: any worker may answer."""
    return httpx.Client(
        base_url=server.url(""),
        limits=httpx.Limits(max_keepalive_connections=0),
        headers={"Connection": "close"},
        trust_env=False,
        verify=False,
    )


def asked(client: httpx.Client) -> tuple[int, int]:
    """Ask once; return which worker answered, and the counter."""
    answer = client.get("/").raise_for_status().json()
    return answer["pid"], answer["counter"]


def seen_by_all(client: httpx.Client, counter: int) -> dict[int, float]:
    """Ask until every worker has answered with this counter; return when each first did."""
    started = time.monotonic()
    seen: dict[int, float] = {}
    while len(seen) < WORKERS:
        took_s = time.monotonic() - started
        assert took_s < WAIT_S, f"only {len(seen)} workers have it"
        pid, found = asked(client)
        if found == counter:
            seen.setdefault(pid, took_s)
    return seen


@pytest.mark.parametrize("lifespan", ["auto", "off"])
def test_workers_share_every_session(tmp_path: Path, lifespan: str) -> None:
    (tmp_path / "shop.py").write_text(EXAMPLE)
    (port,) = free_ports(1)
    with Processes() as processes:
        server = processes.uvicorn(
            "shop:app",
            "--workers",
            str(WORKERS),
            port=port,
            lifespan=lifespan,
            app_dir=tmp_path,
            environment={"SHOP_SECRET": random_secret()},
        )
        server.wait_answering("/")
        with new_connections(server) as client:
            for counter in (1, 2):
                written = client.post("/count").raise_for_status().json()
                seen = seen_by_all(client, counter)
                answers = [asked(client) for _ in range(READS)]

                print(f"write {counter} seen after {sorted(round(s, 3) for s in seen.values())} s")
                assert written["counter"] == counter
                assert {found for _, found in answers} == {counter}
                assert {pid for pid, _ in answers} <= set(seen)
        assert server.pid not in seen
        assert server.stop() == 0
