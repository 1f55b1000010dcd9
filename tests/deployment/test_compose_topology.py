"""
What ``docker-compose.yml`` describes, without an engine: two members and nginx, each on a host of
its own on one bridge, with the environment, command, health check and files that it names.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from ast import literal_eval
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster.bridge import network
from tests.cluster.namespaces import ASK, Answer, CommandFailed, Namespace, run
from tests.cluster.processes import ROOT, Processes, Server, wait_until
from tests.demo_app.test_dockerfile import words
from tests.deployment.running import NAMES, NGINX, balancer, names, need
from tests.deployment.test_compose import FILE, MEMBERS
from tests.deployment.yaml_files import COMPOSE

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

VISITS = 20


def made_secret(folder: Path) -> Path:
    """Make the secret as the head of the file says, and return where it is."""
    steps = [line.removeprefix("#").strip() for line in COMPOSE.read_text().splitlines()]
    shell = [line for line in steps if line.startswith(("mkdir ", "python3 -c"))]
    assert len(shell) == 2
    for line in shell:
        line = line.replace("python3", shlex.quote(sys.executable))
        subprocess.run(line, shell=True, cwd=folder, check=True)
    found: Path = folder / FILE["secrets"]["replsession"]["file"]
    assert found.parent.stat().st_mode & 0o077 == 0
    assert found.stat().st_mode & 0o444 == 0o444, "the members run as another user"
    return found


class Service:
    """A member: its host, and its server as the image starts it."""

    def __init__(self, name: str, host: Namespace, processes: Processes, secret: Path) -> None:
        self.name = name
        self.host = host
        self._processes = processes
        environment: dict[str, str] = dict(MEMBERS[name]["environment"])
        # The engine puts it at the place in the environment, where files are taken as they are.
        del environment["REPLSESSION_SECRET_FILE"]
        environment["REPLSESSION_SECRET"] = secret.read_text().strip()
        # Members have to find each other by multicast, the names are for networks without it.
        del environment["REPLSESSION_SEEDS"]
        self._environment = environment
        self.server: Server

    def start(self) -> None:
        """Start it, and do not wait for it."""
        (text,) = words("CMD")
        program, *arguments = literal_eval(text)
        command = [*self.host.prefix, sys.executable, "-m", program, *arguments]
        self.server = self._processes.server(
            command, port=8080, name=self.name, environment=self._environment, cwd=ROOT
        )

    def is_healthy(self) -> bool:
        """Tell whether the health check ends well."""
        kind, program, *arguments = MEMBERS[self.name]["healthcheck"]["test"]
        assert (kind, program) == ("CMD", "python")
        try:
            self.host.run(sys.executable, *arguments)
        except CommandFailed:
            return False
        return True

    def wait_healthy(self) -> None:
        """Wait until it is; nginx waits for that, too."""
        wait_until(self.is_healthy, f"{self.name} is healthy")


class Browser:
    """Counts through nginx, and keeps its cookie."""

    def __init__(self, host: Namespace, nginx: str) -> None:
        self._host = host
        self._nginx = nginx
        self._cookie = ""
        self.counted = 0
        self.answered: dict[str, int] = {}

    def count(self) -> None:
        """Count one visit: exactly one, whoever answers."""
        question = json.dumps(["GET", self._nginx, 80, "/session.json", self._cookie, None])
        command = (sys.executable, "-I", "-S", "-c", ASK)
        answer = Answer(*json.loads(run(*self._host.prefix, *command, stdin=question)))
        assert answer.status == 200, answer
        self._cookie = answer.cookie or self._cookie
        self.counted += 1
        assert answer.json["counter"] == self.counted
        member = answer.json["member"]
        self.answered[member] = self.answered.get(member, 0) + 1

    def has_reached(self, *services: Service) -> bool:
        """Count once more; tell whether all these have answered by now."""
        self.count()
        return all(service.name in self.answered for service in services)


@contextmanager
def composed(folder: Path) -> Iterator[tuple[list[Service], Browser]]:
    """Start what the file describes, in its order."""
    files = tuple(FILE["configs"][name]["file"] for name in ("members", "site"))
    assert files == tuple(f"deploy/{file}" for file in NGINX.files)
    secret = made_secret(folder)
    with network(3) as net, Processes() as processes:
        *hosts, front = net.hosts
        services = [Service(*one, processes, secret) for one in zip(MEMBERS, hosts, strict=True)]
        addresses = {service.name: service.host.address for service in services}
        for service in services:
            service.start()
        for service in services:
            service.wait_healthy()
        with balancer(NGINX, front, addresses):
            yield services, Browser(net.client, front.address)


def test_a_session_survives_its_member(tmp_path: Path) -> None:
    need(NGINX.program)
    os.chmod(tmp_path, 0o755)
    with composed(tmp_path) as (services, browser):
        one, two = services
        wait_until(lambda: browser.has_reached(one, two), "both answer")
        for _ in range(VISITS):
            browser.count()
        browser.answered.clear()

        one.server.kill()
        for _ in range(VISITS):
            browser.count()
        assert not one.is_healthy()
        assert list(browser.answered) == [two.name]

        one.start()
        one.wait_healthy()
        wait_until(lambda: browser.has_reached(one, two), "both answer again")
        print(f"{browser.counted} visits, all counted, over a kill and a restart")


def test_names_are_only_known_while_they_are_needed() -> None:
    need(NGINX.program)
    with network(1) as net, names(net.client, {"member-1": "10.77.0.1"}):
        found = net.client.run("getent", "hosts", "member-1")
        assert found.split() == ["10.77.0.1", "member-1"]
    assert not (NAMES / net.client.name).exists()
