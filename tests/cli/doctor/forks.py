"""
Many processes of one program for the price of one start: a server that has imported it, and forks.

Each process is a real one, in the network namespace that it was asked for, with its own settings,
input and output. Only its start is cheap: what all of them import was imported before.

::

    with forks(folder) as start:
        program = start("member", CODE, [], on=host, environment={…})
        program.output.wait_for("Member is ready$")
        program.wait()
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, cast

from tests.cluster.namespaces import Namespace
from tests.cluster.processes import ROOT, Output

ENDED_S: Final = 100.0
"""Bound on waiting for an end: ten times what the longest here takes."""
ENDED: Final = "ended with "
SERVER: Final = r"""
import ctypes, json, os, select, signal, socket, sys, traceback
sys.path.insert(0, sys.argv[1])
import replsession.cli.commands, replsession.cluster, replsession.channel.aio
libc = ctypes.CDLL(None, use_errno=True)

def done(result):
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

def enter(name):
    # As ip-netns(8) does: the network of a name, and a /sys that tells of it.
    with open("/var/run/netns/" + name) as namespace:
        done(libc.setns(namespace.fileno(), 0x40000000))
    done(libc.unshare(0x00020000))
    done(libc.mount(b"", b"/", b"none", 0x84000, None))
    libc.umount2(b"/sys", 2)
    done(libc.mount(name.encode(), b"/sys", b"sysfs", 0, None))

def run(connection, asked):
    for number in (0, 1, 2):
        os.dup2(connection.fileno(), number)
    code = 1
    try:
        enter(asked["on"])
        os.environ.update(asked["environment"])
        sys.argv = ["-c", *asked["words"]]
        exec(compile(asked["code"], "<program>", "exec"), {"__name__": "__main__"})
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

def look_after(connection):
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    asked = json.loads(connection.makefile().readline())
    pid = os.fork()
    if not pid:
        run(connection, asked)
    connection.sendall(b"%d\n" % pid)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    connection.sendall(b"\nended with %d\n" % code)
    connection.shutdown(socket.SHUT_RDWR)
    os._exit(0)

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[2])
server.listen(64)
print("serves", flush=True)
while True:
    ready, _, _ = select.select([server, sys.stdin], [], [])
    if sys.stdin in ready:
        break
    connection, _ = server.accept()
    if not os.fork():
        server.close()
        os.close(0)
        look_after(connection)
    connection.close()
"""


class Program:
    """A process, with its output."""

    def __init__(self, name: str, connection: socket.socket) -> None:
        self._connection = connection
        stream = connection.makefile("rb")
        self.pid: Final = int(stream.readline())
        self.output: Final = Output(name, cast("IO[bytes]", stream))

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return not self.output.matches(f"^{ENDED}")

    @property
    def printed(self) -> str:
        """What it has printed, without how it ended."""
        return "\n".join(line for line in self.output.lines if not line.startswith(ENDED))

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self.is_running:
            os.kill(self.pid, number)

    def wait(self) -> int:
        """Wait until it ends; return its exit code."""
        match = self.output.wait_for(f"^{ENDED}(-?\\d+)$", timeout_s=ENDED_S)
        return int(match[1])

    def end(self) -> None:
        """Kill it, and wait for its end."""
        self.signal(signal.SIGKILL)
        self.wait()
        self.output.close()
        self._connection.close()


Start = Callable[[str, str, Sequence[str], Namespace, Mapping[str, str]], Program]


@contextmanager
def forks(folder: Path) -> Iterator[Start]:
    """Start the server, and yield what starts a program: name, code, words, host, variables."""
    path = str(folder / "forks")
    kept = {name: value for name, value in os.environ.items() if "REPLSESSION_" not in name}
    command = [sys.executable, "-c", SERVER, str(ROOT), path]
    server = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=kept
    )
    assert server.stdin is not None and server.stdout is not None
    output = Output("forks", server.stdout)
    try:
        output.wait_for("^serves$")
        yield lambda *asked: _started(path, *asked)
    finally:
        server.stdin.close()
        server.wait(ENDED_S)
        output.close()


def _started(
    path: str,
    name: str,
    code: str,
    words: Sequence[str],
    on: Namespace,
    environment: Mapping[str, str],
) -> Program:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    asked = {"on": on.name, "code": code, "words": [*words], "environment": {**environment}}
    connection.sendall(json.dumps(asked).encode() + b"\n")
    return Program(name, connection)
