"""
The newcomer: the commands that the README gives, a server.xml, two hosts, and nothing else.

The hosts are network namespaces on a bridge. The commands are taken from the README as they stand;
only the program is run from this checkout, since a test installs nothing.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from tests.cluster.bridge import Network, network
from tests.cluster.namespaces import Namespace
from tests.cluster.processes import Process, Processes, wait_until
from tests.layout.source import ROOT

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

README = (ROOT / "README.md").read_text("utf-8")
SECTION = README.partition("## Three commands")[2].partition("\n## ")[0]
INSTALL, MAKE_SECRET, RUN = re.findall(r"```sh\n(.*?)```", SECTION, re.DOTALL)[0].splitlines()
PORT = 8080
ASK = """
import sys, urllib.request
try:
    sys.stdout.buffer.write(urllib.request.urlopen(sys.argv[1], timeout=10).read())
except OSError:
    pass
"""
"""A browser without cookies, as they belong to one host; prints nothing where nobody answers."""


def words_of(command: str) -> list[str]:
    """Return the words behind the program's name."""
    program, *words = shlex.split(command)
    assert program == "replsession"
    return words


@pytest.fixture
def net(possible: None) -> Iterator[Network]:
    """Two hosts and a client."""
    with network(2) as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What a newcomer has: the file of the Tomcat."""
    shutil.copy(ROOT / "tests" / "settings" / "cluster.xml", tmp_path / "server.xml")
    return tmp_path


class Newcomer:
    """Runs the commands on the hosts, and looks from the client."""

    def __init__(self, net: Network, folder: Path, processes: Processes) -> None:
        self.net = net
        self._folder = folder
        self._processes = processes

    def make_secret(self) -> None:
        """Carry out the second command."""
        made = self._processes.python(
            "-m", "replsession", *words_of(MAKE_SECRET), name="secret", cwd=self._folder
        )
        assert made.wait() == 0, made.output.shown()

    def run(self, host: Namespace) -> Process:
        """Carry out the third command on a host, and wait until its member is ready."""
        member = self._processes.python(
            "-m",
            "replsession",
            *words_of(RUN),
            name=host.address,
            prefix=host.prefix,
            cwd=self._folder,
        )
        member.output.wait_for("Member is ready$")
        wait_until(lambda: self.ask(host, "/readyz") is not None, f"{host.address} answers")
        return member

    def ask(self, host: Namespace, path: str) -> dict[str, Any] | None:
        """Return what a host's page tells; None while nobody answers."""
        url = f"http://{host.address}:{PORT}{path}"
        told = self.net.client.run(sys.executable, "-I", "-S", "-c", ASK, url)
        found: dict[str, Any] | None = json.loads(told) if told else None
        return found

    def count(self, host: Namespace, token: str = "") -> tuple[int, str]:
        """Count a visit; return the counter, and the token to go on with anywhere."""
        told = self.ask(host, f"/session.json{token and ';jsessionid=' + token}")
        assert told is not None
        return told["counter"], told["url_token"]


def test_the_first_command_installs_what_the_others_need() -> None:
    pip, install, wanted = shlex.split(INSTALL)
    assert (pip, install) == ("pip", "install")
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    requirement = Requirement(wanted)
    assert requirement.name == settings["project"]["name"]
    assert requirement.extras <= set(settings["project"]["optional-dependencies"])
    needed = {"click", "defusedxml", "rich", "starlette", "uvicorn"}
    installed = {
        Requirement(text).name
        for extra in requirement.extras
        for text in settings["project"]["optional-dependencies"][extra]
    }
    assert needed <= installed


def test_three_commands_make_a_cluster_of_two_hosts(net: Network, folder: Path) -> None:
    left, right = net.hosts
    with Processes() as processes:
        newcomer = Newcomer(net, folder, processes)
        newcomer.make_secret()
        first, second = newcomer.run(left), newcomer.run(right)
        for member, other in ((first, right), (second, left)):
            member.output.wait_for(f"Replication member added: tls://{other.address}:4000 ")
        assert f"The counter page is at http://{left.address}:{PORT}/ - " in first.output.text
        assert "line 6, <Receiver> maxThreads: no meaning: " in first.output.text

        counter, token = newcomer.count(left)
        assert counter == 1
        for host, expected in ((right, 2), (left, 3)):
            counter, token = newcomer.count(host, token)
            assert counter == expected

        first.kill()
        second.output.wait_for("Received member disappeared: ")
        counter, token = newcomer.count(right, token)
        assert counter == 4

        newcomer.run(left)
        counter, token = newcomer.count(left, token)
        assert counter == 5
        second.stop()
        second.output.wait_for("Cluster has stopped$")


def test_what_was_forgotten_is_said(folder: Path) -> None:
    without_secret = ["demo", "--config", "server.xml"]
    with Processes() as processes:
        ended = processes.python("-m", "replsession", *without_secret, name="it", cwd=folder)
        assert ended.wait() == 1
        ended.output.drain()
        assert "replsession secret --file secret.txt" in ended.output.text
        assert "Traceback" not in ended.output.text
