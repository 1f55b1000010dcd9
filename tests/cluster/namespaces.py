"""
Hosts of one's own for tests: two network namespaces on one wire, made and always removed.

::

    with wire() as (left, right):                 10.77.0.1 and 10.77.0.2, nothing else
        server = processes.uvicorn(…, port=8080, prefix=left.prefix)
        left.ask("/readyz", 8080)
        left.down(); left.up(); left.lose(0.1)

Nothing here touches the network of the machine itself: the wire is a pair of ``veth`` whose both
ends are born inside of the two namespaces.
"""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

COMMAND_TIMEOUT_S = 30.0
ASK = """
import http.client, json, sys
method, host, port, path, cookie, body = json.load(sys.stdin)
connection = http.client.HTTPConnection(host, port, timeout=20)
headers = {"Cookie": cookie} if cookie else {}
try:
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    answer = response.read().decode()
    set_cookie = response.headers.get("set-cookie", "").partition(";")[0]
    print(json.dumps([response.status, set_cookie, answer]))
except OSError as error:
    print(json.dumps([0, "", str(error)]))
"""


class CommandFailed(Exception):
    """A command ended with an error; the message is what it said."""


@dataclass(frozen=True)
class Answer:
    """What a server said; status 0: nobody answered, and ``text`` says why."""

    status: int
    cookie: str
    text: str

    @property
    def json(self) -> Any:
        """Return the body of a page in JSON."""
        return json.loads(self.text)


@dataclass(frozen=True)
class Namespace:
    """One host: its name, and its address on the wire."""

    name: str
    address: str

    @property
    def prefix(self) -> tuple[str, ...]:
        """Return the words before a command that runs in here."""
        return ("ip", "netns", "exec", self.name)

    def run(self, *command: str) -> str:
        """Run a command in here; fail when it does."""
        return _run(*self.prefix, *command)

    def ask(self, path: str, port: int, *, cookie: str = "", body: Any = None) -> Answer:
        """Ask the server in here, on a new connection; with a body, which is sent as JSON, POST."""
        method, sent = ("GET", None) if body is None else ("POST", json.dumps(body))
        question = json.dumps([method, "127.0.0.1", port, path, cookie, sent])
        told = _run(*self.prefix, sys.executable, "-I", "-S", "-c", ASK, stdin=question)
        return Answer(*json.loads(told))

    def down(self) -> None:
        """Pull the plug: the interface loses its link, and the system what it knew through it."""
        _run("ip", "-n", self.name, "link", "set", "eth0", "down")

    def up(self) -> None:
        """Plug it in again."""
        _run("ip", "-n", self.name, "link", "set", "eth0", "up")

    def lose(self, share: float) -> None:
        """Lose this share of what arrives, datagrams and segments alike."""
        match = ("-m", "statistic", "--mode", "random", "--probability", str(share))
        self.run("iptables", "-A", "INPUT", "-i", "eth0", *match, "-j", "DROP")


def why_not() -> str | None:
    """Return why no hosts can be made here, or None if they can."""
    if sys.platform != "linux" or shutil.which("ip") is None:
        return "no network namespaces: not Linux, or no ip command (iproute2)"
    try:
        with wire() as (left, _):
            left.run("true")
    except CommandFailed as error:
        return f"no network namespaces: {error}"
    return None


def why_no_loss() -> str | None:
    """Return why no wire can be made to lose anything, or None if it can."""
    if shutil.which("iptables") is None:
        return "no losses: no iptables command"
    try:
        with wire() as (left, _):
            left.lose(0.1)
    except CommandFailed as error:
        return f"no losses: {error}"
    return None


@contextmanager
def wire() -> Iterator[tuple[Namespace, Namespace]]:
    """Make two hosts with a wire between them, and nothing else: no default route, no names."""
    name = _some_name()
    hosts = Namespace(name + "l", "10.77.0.1"), Namespace(name + "r", "10.77.0.2")
    made: list[Namespace] = []
    try:
        for host in hosts:
            _run("ip", "netns", "add", host.name)
            made.append(host)
            _run("ip", "-n", host.name, "link", "set", "lo", "up")
        add_interfaces(*hosts)
        yield hosts
    finally:
        for host in made:
            _run("ip", "netns", "del", host.name)


def add_interfaces(left: Namespace, right: Namespace) -> None:
    """Give each host an interface ``eth0`` with its address, and lay the wire between the two."""
    peer = ("peer", "eth0", "netns", right.name)
    _run("ip", "-n", left.name, "link", "add", "eth0", "type", "veth", *peer)
    for host in (left, right):
        _run("ip", "-n", host.name, "addr", "add", f"{host.address}/24", "dev", "eth0")
        _run("ip", "-n", host.name, "link", "set", "eth0", "up")


def remove_interfaces(left: Namespace) -> None:
    """Take both interfaces away: of a pair, the second end goes with the first."""
    _run("ip", "-n", left.name, "link", "del", "eth0")


def _some_name() -> str:
    return "test-" + secrets.token_hex(4)


def _run(*command: str, stdin: str | None = None) -> str:
    ended = subprocess.run(
        command,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )
    if ended.returncode:
        raise CommandFailed(f"{' '.join(command[:8])}: {ended.stderr.strip()}")
    return ended.stdout
