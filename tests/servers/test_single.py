"""Servers of one process, and several of them as one cluster; Flask's server with its reloader."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from tests.cluster.processes import random_secret, wait_until
from tests.servers import commands
from tests.servers.served import FOLDER, Browser, Served, at_once, served, visits

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

INTERRUPTED = {"waitress": commands.WAITRESS, "uvicorn": commands.UVICORN}


@pytest.mark.parametrize("command", INTERRUPTED.values(), ids=INTERRUPTED)
def test_two_servers_share_sessions_and_one_goes_on_alone(command: str) -> None:
    secret = random_secret()
    with served(command, secret=secret) as first, served(command, secret=secret) as second:
        wait_pair(first, second)
        browsers = first.browsers(8)
        visits(browsers, 10)
        moved = [move(browser, second) for browser in browsers]
        visits(moved, 10)

        first.stop(signal.SIGINT)

        assert second.wait_members(others=0)
        assert second.gone() == ["said goodbye"]
        visits(moved, 10)
        second.kill(second.server.pid)


def test_waitress_does_not_hear_sigterm_so_that_is_a_crash_to_the_others() -> None:
    secret = random_secret()
    with served(commands.WAITRESS, secret=secret) as first:
        with served(commands.WAITRESS, secret=secret) as second:
            wait_pair(first, second)

            assert first.server.stop() == -signal.SIGTERM

            assert second.wait_members(others=0)
            assert second.gone() == ["connection refused"]
            second.stop(signal.SIGINT)


def test_flasks_reloader_serves_with_one_member_and_sessions_survive_it(tmp_path: Path) -> None:
    source = tmp_path / "shop_flask.py"
    shutil.copy(FOLDER / source.name, source)
    secret = random_secret()
    with served(commands.WAITRESS, secret=secret) as other:
        other.wait_members()
        with served(commands.FLASK, secret=secret, folder=tmp_path) as server:
            pids = server.wait_members(others=1)
            assert pids != [server.server.pid], "the reloader itself is no member"
            other.wait_members(others=1)
            (browser,) = browsers = server.browsers(1)
            visits(browsers, 5)
            before = other.server.output.mark()

            source.write_text(source.read_text() + "\nCHANGED = True\n")

            after = server.wait_members(without=pids, others=1)
            assert after != pids
            browser.read()
            visits(browsers, 5)
            assert other.gone(before) == ["said goodbye"]
            server.server.send_signal_to_group(signal.SIGINT)
            server.server.wait()
            wait_until(lambda: not server.server.left_behind(), "nothing is left")
        other.wait_members(others=0)
        assert other.gone(before) == ["said goodbye"] * 2
        other.stop(signal.SIGINT)


def wait_pair(first: Served, second: Served) -> None:
    """Wait until two servers know each other; where there is no lifespan, a request starts one."""
    at_once([lambda: first.wait_members(others=1), lambda: second.wait_members(others=1)])


def move(browser: Browser, server: Served) -> Browser:
    """Return the same browser at another server; a balancer is not sticky."""
    return Browser(server.port, browser.n, browser.cookie)
