"""
Hosts of one's own for tests: two network namespaces on one wire, made and always removed.

::

    with wire() as (left, right):                 10.77.0.1 and 10.77.0.2, nothing else
        server = processes.uvicorn(…, port=8080, prefix=left.prefix)
        left.ask("/readyz", 8080)
        left.down(); left.up(); left.lose(0.1)

Nothing here touches the network of the machine itself: the wire is a pair of ``veth`` whose both
ends are born inside of the two namespaces. More hosts, on one bridge, are in ``bridge.py``.

The name of a namespace says which test run made it. What a killed run leaves behind is taken away
by the next one.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

COMMAND_TIMEOUT_S = 30.0
PREFIX = "replsession-test"
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
        return run(*self.prefix, *command)

    def ask(self, path: str, port: int, *, cookie: str = "", body: Any = None) -> Answer:
        """Ask the server in here, on a new connection; with a body, which is sent as JSON, POST."""
        method, sent = ("GET", None) if body is None else ("POST", json.dumps(body))
        question = json.dumps([method, "127.0.0.1", port, path, cookie, sent])
        told = run(*self.prefix, sys.executable, "-I", "-S", "-c", ASK, stdin=question)
        return Answer(*json.loads(told))

    def down(self) -> None:
        """Pull the plug: the interface loses its link, and the system what it knew through it."""
        run("ip", "-n", self.name, "link", "set", "eth0", "down")

    def up(self) -> None:
        """Plug it in again."""
        run("ip", "-n", self.name, "link", "set", "eth0", "up")

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
    name = some_name()
    hosts = Namespace(name + "l", "10.77.0.1"), Namespace(name + "r", "10.77.0.2")
    with ExitStack() as made:
        for host in hosts:
            made.enter_context(namespace(host.name))
        add_interfaces(*hosts)
        yield hosts


@contextmanager
def namespace(name: str) -> Iterator[None]:
    """Make an empty namespace, which has nothing but its own loopback interface."""
    _remove_leftovers_once()
    run("ip", "netns", "add", name)
    try:
        run("ip", "-n", name, "link", "set", "lo", "up")
        yield
    finally:
        run("ip", "netns", "del", name)


def add_interfaces(left: Namespace, right: Namespace) -> None:
    """Give each host an interface ``eth0`` with its address, and lay the wire between the two."""
    peer = ("peer", "eth0", "netns", right.name)
    run("ip", "-n", left.name, "link", "add", "eth0", "type", "veth", *peer)
    for host in (left, right):
        run("ip", "-n", host.name, "addr", "add", f"{host.address}/24", "dev", "eth0")
        run("ip", "-n", host.name, "link", "set", "eth0", "up")


def remove_interfaces(left: Namespace) -> None:
    """Take both interfaces away: of a pair, the second end goes with the first."""
    run("ip", "-n", left.name, "link", "del", "eth0")


def some_name(pid: int | None = None) -> str:
    """Return a name that says which process made what has it; None: this one."""
    pid = pid or os.getpid()
    return f"{PREFIX}-{pid}-{_started_at(pid)}-{secrets.token_hex(4)}"


def remove_leftovers() -> list[str]:
    """
    Take away the namespaces of test runs that were killed, with all that still runs in them.

    Returns:
        Their names.
    """
    listed = [line.split()[0] for line in run("ip", "netns", "list").splitlines() if line]
    leftovers = [name for name in listed if _is_leftover(name)]
    for name in leftovers:
        for pid in run("ip", "netns", "pids", name).split():
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                # It ended meanwhile.
                continue
        run("ip", "netns", "del", name)
    return leftovers


@cache
def _remove_leftovers_once() -> None:
    remove_leftovers()


def _is_leftover(name: str) -> bool:
    prefix, _, rest = name.partition(PREFIX + "-")
    if prefix or not rest:
        return False
    pid, started_at, _ = rest.split("-", 2)
    return _started_at(int(pid)) != started_at


def _started_at(pid: int) -> str:
    """Return when a process was started, in ticks of the system; empty if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return ""
    # The second field is the program's name in parentheses, which may hold blanks.
    return stat.rpartition(")")[2].split()[19]


def run(*command: str, stdin: str | None = None) -> str:
    """
    Run a command; return what it printed.

    Raises:
        CommandFailed: it ended with an error.
    """
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
