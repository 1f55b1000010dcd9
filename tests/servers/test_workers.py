"""
Servers with several workers: each worker is a member, and all of them share every session.

A worker that is killed loses nothing, its replacement gets the state of the others, and a server
that is asked to stop says goodbye with every worker.
"""

from __future__ import annotations

import signal

import pytest

from tests.cluster.processes import wait_until
from tests.servers import commands
from tests.servers.served import served, visiting, visits

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

WORKERS = 4
BROWSERS = 6
VISITS = 40

REPLACING = {
    "uvicorn": commands.UVICORN_WORKERS,
    "granian": commands.GRANIAN,
    "granian-wsgi": commands.GRANIAN_WSGI,
    "gunicorn-sync": commands.GUNICORN,
    "gunicorn-gthread": commands.GUNICORN_THREADS,
    "gunicorn-preload": commands.GUNICORN_PRELOAD,
    "gunicorn-gevent": commands.GUNICORN_GEVENT,
    "gunicorn-asgi": commands.GUNICORN_ASGI,
    "gunicorn-uvicorn": commands.GUNICORN_UVICORN,
}
"""Servers that put another worker in the place of one that died."""


@pytest.mark.parametrize("command", REPLACING.values(), ids=REPLACING)
def test_workers_share_sessions_and_one_that_is_killed_is_replaced(command: str) -> None:
    with served(command, workers=WORKERS) as server:
        pids = server.wait_members()
        browsers = server.browsers(BROWSERS)
        answered = visits(browsers, VISITS)
        assert set(answered) == set(pids), "the requests of a browser go to all workers"
        server.read_everywhere(browsers, pids)
        before = server.server.output.mark()

        server.kill(pids[0])

        after = server.wait_members(without=pids[:1])
        assert set(pids[1:]) < set(after)
        assert len(server.gone(before)) == WORKERS - 1
        server.read_everywhere(browsers, after)
        visits(browsers, VISITS)
        server.stop()


def test_hypercorn_shares_sessions_and_ends_with_its_first_worker_that_dies() -> None:
    with served(commands.HYPERCORN, workers=WORKERS) as server:
        pids = server.wait_members()
        browsers = server.browsers(BROWSERS)
        assert set(visits(browsers, VISITS)) == set(pids)
        # It ends those that are not done yet with the first one that is.
        server.stop(is_patient=False)
    with served(commands.HYPERCORN, workers=WORKERS) as server:
        pids = server.wait_members()

        server.kill(pids[0])

        server.server.wait()
        wait_until(lambda: not server.server.left_behind(), "all of it has ended")


@pytest.mark.parametrize("command", [commands.UVICORN_WORKERS, commands.GRANIAN])
def test_all_workers_are_replaced_under_load_and_no_session_is_lost(command: str) -> None:
    with served(command, workers=WORKERS) as server:
        pids = server.wait_members()
        browsers = server.browsers(2)
        visits(browsers, 10)
        with visiting(browsers):
            server.server.send_signal(signal.SIGHUP)
            after = server.wait_members(without=pids)

        assert not set(pids) & set(after)
        server.read_everywhere(browsers, after)
        assert set(server.gone()) == {"said goodbye"}
        server.stop()
