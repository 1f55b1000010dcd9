"""Members in real servers, asked by the command line: through their sockets, and over HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.processes import ROOT, random_secret, wait_until
from tests.servers import commands
from tests.servers.served import Browser, Served, served

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

WORKERS = 2
SERVERS = {
    "uvicorn": commands.UVICORN_WORKERS,
    "gunicorn-sync": commands.GUNICORN,
    "gunicorn-gevent": commands.GUNICORN_GEVENT,
}


class Administrator:
    """Somebody at the command line, with the servers' run directory and their secret."""

    def __init__(self, folder: Path) -> None:
        self.secret = random_secret()
        self.environment = {"XDG_RUNTIME_DIR": str(folder)}
        self.file = folder / "secret.txt"
        self.file.write_text(self.secret)
        self.file.chmod(0o600)
        self._sockets = folder / "replsession"

    def sockets(self) -> list[Path]:
        """Return the sockets that are there."""
        return sorted(self._sockets.iterdir())

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the program to its end."""
        return subprocess.run(
            [sys.executable, "-m", "replsession", *words],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def told(self, *words: str) -> Any:
        """Return the JSON that the program prints."""
        ended = self.run(*words, "--json")
        assert ended.stdout, ended.stderr
        return json.loads(ended.stdout)

    def here(self, *words: str) -> list[str]:
        """Return words that ask the members of these servers alone."""
        return [*words, "--socket", str(self._sockets)]

    def over_http(self, server: Served, *words: str) -> list[str]:
        """Return words that ask over HTTP."""
        url = f"http://127.0.0.1:{server.port}/control"
        return [*words, "--url", url, "--secret-file", str(self.file)]


@pytest.mark.parametrize("command", SERVERS.values(), ids=SERVERS)
def test_workers_are_asked_through_their_sockets_and_over_http(
    command: str, tmp_path: Path
) -> None:
    administrator = Administrator(tmp_path)
    with served(
        command.replace("--workers 4", f"--workers {WORKERS}"),
        workers=WORKERS,
        secret=administrator.secret,
        environment=administrator.environment,
    ) as server:
        pids = server.wait_members()
        browser = server.browser()
        for _ in range(3):
            browser.count()

        told = administrator.told(*administrator.here("status"))
        assert sorted(one["member"]["pid"] for one in told["members"]) == pids
        assert told["exit_code"] == 0
        assert len(administrator.sockets()) == WORKERS
        over_http = administrator.told(*administrator.over_http(server, "status"))
        assert over_http["members"][0]["member"]["pid"] in pids

        look(administrator, server)
        end(administrator, server)
        kill(administrator, server, pids[0])
        server.stop()
    assert administrator.sockets() == []


def look(administrator: Administrator, server: Served) -> None:
    """Look at the one session, both ways; its value shows only when it is asked for."""
    for words in (administrator.here(), administrator.over_http(server)):
        listed = administrator.run("sessions", "list", *words, "--json").stdout.splitlines()
        (one,) = map(json.loads, listed)
        assert one["attributes"] == ["n"]
        shown = administrator.told("sessions", "show", one["id"][:6], *words)
        assert (shown["id"], shown["values"]) == (one["id"], {})
        shown = administrator.told("sessions", "show", one["id"][:6], "--values", *words)
        assert shown["values"] == {"n": "3"}


def end(administrator: Administrator, server: Served) -> None:
    """End sessions, both ways; a wrong secret ends nothing."""
    for wanted in (administrator.here(), administrator.over_http(server)):
        browser = server.browser()
        browser.count()
        listed = administrator.run("sessions", "list", *administrator.here(), "--json").stdout
        ids = [json.loads(line)["id"] for line in listed.splitlines()]
        wrong = administrator.file.with_name("wrong.txt")
        wrong.write_text(random_secret())
        wrong.chmod(0o600)
        refused = administrator.over_http(server, "sessions", "invalidate", *ids, "--yes")
        ended = administrator.run(*refused[:-1], str(wrong))
        assert (ended.returncode, "wrong signature" in ended.stderr) == (2, True)
        browser.read()

        ended = administrator.run("sessions", "invalidate", *ids, "--yes", *wanted)
        assert ended.returncode == 0, ended.stderr
        browser.n = 0
        # Wherever the next request goes: what its client had seen has ended.
        wait_until(partial(has_ended, browser), "it has ended")
        listed = administrator.run("sessions", "list", *administrator.here(), "--json").stdout
        assert listed == ""


def has_ended(browser: Browser) -> bool:
    """Tell whether a browser finds nothing of what it had counted."""
    return bool(browser.ask("GET", "/").told["n"] == 0)


def kill(administrator: Administrator, server: Served, pid: int) -> None:
    """Kill a worker: its socket is left, and is gone when the next one has started."""
    before = administrator.sockets()
    server.kill(pid)
    server.wait_members(without=[pid])
    told = administrator.told(*administrator.here("status"))
    assert len(told["members"]) == WORKERS
    assert pid not in [one["member"]["pid"] for one in told["members"]]
    after = administrator.sockets()
    assert len(after) == WORKERS and len(set(before) & set(after)) == WORKERS - 1
