"""gunicorn's own ways: workers that are recycled, a reload that replaces all of them, greenlets."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster.processes import Processes, random_secret, wait_until
from tests.servers import commands
from tests.servers.page import files
from tests.servers.served import served, visiting, visits

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

WORKERS = 4
GENERATIONS = 3
RECYCLED_AFTER = 100
"""Requests; and as many more by chance."""


@contextmanager
def kept(folder: Path) -> Iterator[str]:
    """Run the keeper of the page; yield the secret of its cluster. It ends last, with a goodbye."""
    (folder / "keeper.py").write_text(files()["keeper.py"])
    secret = random_secret()
    program, *arguments = commands.KEEPER.split()
    assert program == "python"
    with Processes() as processes:
        keeper = processes.python(*arguments, cwd=folder, environment={"SECRET": secret})
        keeper.output.wait_for("the sessions are here")
        yield secret
        assert keeper.stop() == 0
        assert not keeper.output.matches("Traceback")


def test_recycled_workers_lose_no_session_under_load(tmp_path: Path) -> None:
    (tmp_path / "gunicorn.conf.py").write_text(files()["gunicorn.conf.py"])
    command = commands.GUNICORN_RECYCLING.replace(" 1000", f" {RECYCLED_AFTER}")
    with (
        kept(tmp_path) as secret,
        served(command, workers=WORKERS, secret=secret, cwd=tmp_path) as server,
    ):
        first = server.wait_members(others=WORKERS)
        browsers = server.browsers(4)
        with visiting(browsers) as load:
            wait_until(
                lambda: load.has_failed or len(server.booted()) >= GENERATIONS * WORKERS,
                f"{GENERATIONS} generations of workers",
                timeout_s=90,
            )

        after = server.wait_members(without=first, others=WORKERS)
        server.read_everywhere(browsers, after)
        assert set(server.gone()) == {"said goodbye"}
        server.stop()


def test_a_reload_replaces_all_workers_at_once_and_a_keeper_has_their_sessions(
    tmp_path: Path,
) -> None:
    with (
        kept(tmp_path) as secret,
        served(commands.GUNICORN, workers=WORKERS, secret=secret) as server,
    ):
        pids = server.wait_members(others=WORKERS)
        browsers = server.browsers(2)
        visits(browsers, 10)

        server.server.send_signal(signal.SIGHUP)

        after = server.wait_members(without=pids, others=WORKERS)
        server.read_everywhere(browsers, after)
        visits(browsers, 10)
        server.stop()


def test_beside_greenlets_requests_wait_for_acknowledgements_and_other_code_sees_no_loop() -> None:
    environment = {"SHOP_CONCERN": "all"}
    with served(commands.GUNICORN_GEVENT, workers=WORKERS, environment=environment) as server:
        pids = server.wait_members()
        browsers = server.browsers(8)

        visits(browsers, 10)

        server.read_everywhere(browsers, pids)
        # In a request no loop runs, so that asyncio.run() and an ORM's checks work.
        assert server.browser().ask("GET", "/loop").told == {"ran": True}
        server.stop()
