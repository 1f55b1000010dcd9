"""
Real processes for tests: started, listened to, killed by their id, and always reaped.

::

    with Processes() as processes:
        port, other = free_ports(2)
        server = processes.uvicorn("app:app", port=port, environment={...}, app_dir=tmp_path)
        server.output.wait_for(r"Member is ready")
        server.kill()                                       # SIGKILL, and reaped

1. A test waits for an event (a line, an answer), never for a time; the bound is generous, and what
   the wait took is printed.
2. A mark in its environment tells a process that a test has started, and all that it starts in
   turn: whatever is left behind is found and ended, and nothing else is.
3. A wait that fails shows what the process had printed.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Self, TypeVar

import httpx

ROOT = Path(__file__).resolve().parent.parent.parent

WAIT_S = 30.0
"""Bound on waiting for one event: ten times what a busy machine needs."""
STOP_S = 20.0
"""Bound on a graceful stop, before a process is killed."""
DRAIN_S = 5.0
"""Bound on reading what an ended process has printed, if others still hold its output."""
POLL_S = 0.02
SHOWN_LINES_MAX = 200
OURS_IN_ENVIRONMENT = ("REPLSESSION_", "DEMO_", "LOAD_")
MARK = "STARTED_BY_TEST"

Found = TypeVar("Found")


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Return different TCP ports that were free a moment ago."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind((host, 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def free_ports_in_a_row(count: int, host: str = "127.0.0.1") -> list[int]:
    """Return neighbouring TCP ports that were free a moment ago."""
    for first in free_ports(50, host):
        ports = list(range(first, first + count))
        if ports[-1] < 65536 and all(_is_free(port, host) for port in ports):
            return ports
    raise AssertionError(f"no {count} free ports in a row")


def _is_free(port: int, host: str) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def random_secret() -> str:
    """Return a secret that no other test has: its members are strangers to all others."""
    return secrets.token_urlsafe(32)


def wait_until(
    condition: Callable[[], Found], what: str, timeout_s: float = WAIT_S, poll_s: float = POLL_S
) -> Found:
    """
    Ask until the answer is true in the sense of Python, print what it took, and return the answer.

    Args:
        condition: Asked again and again; what it raises ends the wait.
        what: What is waited for, for people.
        timeout_s: Seconds after which the test fails.
        poll_s: Seconds between two questions.
    """
    started = time.monotonic()
    while not (found := condition()):
        if time.monotonic() - started > timeout_s:
            raise AssertionError(f"{what}: not within {timeout_s:g} s")
        time.sleep(poll_s)
    print(f"{what}: took {time.monotonic() - started:.3f} s")
    return found


class Output:
    """What a process printed, standard output and standard error as one, line by line."""

    def __init__(self, name: str, stream: IO[bytes]) -> None:
        self._name = name
        self._stream = stream
        self._lines: list[str] = []
        self._is_closed = False
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, name=f"output of {name}", daemon=True)
        self._reader.start()

    @property
    def lines(self) -> list[str]:
        """Return all lines so far."""
        with self._news:
            return list(self._lines)

    @property
    def text(self) -> str:
        """Return all lines so far as one text."""
        return "\n".join(self.lines)

    def mark(self) -> int:
        """Return the number of lines so far, to wait for something after them."""
        return len(self.lines)

    def matches(self, pattern: str, after: int = 0) -> list[re.Match[str]]:
        """Return where a regular expression is found, in each line after the first *after*."""
        found = (re.search(pattern, line) for line in self.lines[after:])
        return [match for match in found if match is not None]

    def wait_for(self, pattern: str, after: int = 0, timeout_s: float = WAIT_S) -> re.Match[str]:
        """
        Wait for a line in which a regular expression is found, print what it took, and return it.

        Fails at once when the process has closed its output without such a line.
        """
        started = time.monotonic()
        _, match = self._wait_for(pattern, after, timeout_s)
        print(f"{self._name}, {pattern!r}: took {time.monotonic() - started:.3f} s")
        return match

    def assert_in_order(
        self, patterns: Iterable[str], after: int = 0, timeout_s: float = WAIT_S
    ) -> None:
        """Wait for each regular expression in a line after that of the one before."""
        for pattern in patterns:
            number, _ = self._wait_for(pattern, after, timeout_s)
            after = number + 1

    def _wait_for(self, pattern: str, after: int, timeout_s: float) -> tuple[int, re.Match[str]]:
        deadline = time.monotonic() + timeout_s
        number = after
        with self._news:
            while True:
                while number < len(self._lines):
                    if (match := re.search(pattern, self._lines[number])) is not None:
                        return number, match
                    number += 1
                left_s = deadline - time.monotonic()
                if self._is_closed or left_s <= 0:
                    break
                self._news.wait(left_s)
            why = "its output has ended" if self._is_closed else f"not within {timeout_s:g} s"
        where = f" after {after} lines" if after else ""
        raise AssertionError(f"{self._name} printed no {pattern!r}{where} ({why}); {self.shown()}")

    def shown(self) -> str:
        """Return the last lines, for the message of a failure."""
        lines = self.lines[-SHOWN_LINES_MAX:]
        return "\n".join([f"it printed {len(lines)} lines:", *(f"    {line}" for line in lines)])

    def drain(self) -> None:
        """Take in what an ended process has printed; what it left behind may print on."""
        self._reader.join(DRAIN_S)

    def close(self) -> None:
        """Take in the rest; called when the process and all that it started are gone."""
        self._reader.join()
        self._stream.close()

    def _read(self) -> None:
        for line in self._stream:
            with self._news:
                self._lines.append(line.decode("utf-8", "replace").rstrip("\r\n"))
                self._news.notify_all()
        with self._news:
            self._is_closed = True
            self._news.notify_all()


@contextmanager
def _signals_heard() -> Iterator[None]:
    """
    Let programs that start here hear all signals.

    Who runs the tests in the background, or with nohup, ignores some of them, and what a process
    ignores its children ignore as well.
    """
    numbers = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
    ignored = [number for number in numbers if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)


class Process:
    """
    One started process.

    Args:
        name: For messages.
        command: Program and arguments.
        environment: All variables but the mark.
        cwd: Folder to run in.
    """

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], cwd: Path
    ) -> None:
        self.name = name
        self.command = tuple(command)
        self._mark = secrets.token_hex(16)
        with _signals_heard():
            self._popen = subprocess.Popen(
                command,
                env={**environment, MARK: self._mark},
                cwd=cwd,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self._popen.pid
        assert self._popen.stdout is not None
        self.output = Output(name, self._popen.stdout)

    def __repr__(self) -> str:
        return f"Process({self.name!r}, pid {self.pid}, {self.exit_code})"

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self._popen.poll() is None

    @property
    def exit_code(self) -> int | None:
        """How it ended, negative for a signal; None while it runs."""
        return self._popen.poll()

    def type(self, text: str) -> None:
        """Write to its standard input."""
        assert self._popen.stdin is not None
        self._popen.stdin.write(text.encode())
        self._popen.stdin.flush()

    def close_input(self) -> None:
        """End its standard input."""
        assert self._popen.stdin is not None
        self._popen.stdin.close()

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to this process alone."""
        self._popen.send_signal(number)

    def send_signal_to_group(self, number: signal.Signals) -> None:
        """Send a signal to its process group, as a terminal does for Ctrl-C."""
        if self.is_running:
            os.killpg(self.pid, number)

    def wait(self, timeout_s: float = WAIT_S) -> int:
        """Wait for its end and its output, print what that took, and return its exit code."""
        started = time.monotonic()
        try:
            code = self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{self.name} still runs after {timeout_s:g} s; {self.output.shown()}"
            ) from None
        self.output.drain()
        print(f"{self.name}: ended with {code} after {time.monotonic() - started:.3f} s")
        return code

    def kill(self) -> None:
        """End it as ``kill -9`` does, and reap it; processes that it started go on."""
        self._popen.kill()
        self._popen.wait()

    def stop(self, timeout_s: float = STOP_S) -> int:
        """Ask it to end (SIGTERM), wait for that, and return its exit code."""
        self._popen.terminate()
        return self.wait(timeout_s)

    def left_behind(self) -> list[int]:
        """Return the ids of processes that it started, directly or not, and that still run."""
        return [pid for pid in _descendants(self.pid, self._mark) if pid != self.pid]

    def reap(self) -> None:
        """End it and all that it started, first kindly, then by force; close its pipes."""
        self._popen.terminate()
        try:
            self._popen.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        while pids := self.left_behind():
            for pid in pids:
                _kill(pid)
            time.sleep(POLL_S)
        self.output.close()
        assert self._popen.stdin is not None
        try:
            self._popen.stdin.close()
        except BrokenPipeError:
            # What was typed last was never read: the process was gone.
            pass


class Server(Process):
    """A web server on one port of this machine."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        cwd: Path,
        port: int,
    ) -> None:
        super().__init__(name, command, environment, cwd)
        self.port = port

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        """Return the address of a page."""
        return f"http://{host}:{self.port}{path}"

    def get(self, path: str = "/") -> httpx.Response | None:
        """Ask once on a new connection, without cookies; None if nobody answers."""
        try:
            return httpx.get(self.url(path), trust_env=False, verify=False)
        except httpx.TransportError:
            return None

    def wait_answering(
        self, path: str = "/readyz", status: int = 200, timeout_s: float = WAIT_S
    ) -> httpx.Response:
        """Ask for a page until it answers with this status; fails at once when the server ends."""

        def answer() -> httpx.Response | None:
            assert self.is_running, f"{self!r} has ended; {self.output.shown()}"
            response = self.get(path)
            return response if response is not None and response.status_code == status else None

        found = wait_until(answer, f"{self.name}, {status} on {path}", timeout_s)
        assert found is not None
        return found


class Processes:
    """
    All processes of one test; leaving the block ends and reaps every one.

    Variables of ours that happen to be set around the tests are not handed on.
    """

    def __init__(self) -> None:
        self._started = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._started.close()

    def python(
        self,
        *arguments: str,
        name: str | None = None,
        environment: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
        prefix: Sequence[str] = (),
    ) -> Process:
        """
        Start this Python with arguments, for example ``"-m", "demo_app"``.

        Args:
            arguments: Of the interpreter.
            name: For messages; None: the arguments.
            environment: Variables beside those of the tests.
            cwd: Folder to run in; the project's by default.
            prefix: Words before the program, for example ``("ip", "netns", "exec", "left")``.
        """
        command = [*prefix, sys.executable, *arguments]
        process = Process(name or " ".join(arguments), command, _environment(environment), cwd)
        self._started.callback(process.reap)
        return process

    def uvicorn(
        self,
        app: str,
        *arguments: str,
        port: int,
        name: str | None = None,
        host: str = "127.0.0.1",
        lifespan: str = "on",
        environment: Mapping[str, str] | None = None,
        app_dir: Path = ROOT,
        prefix: Sequence[str] = (),
    ) -> Server:
        """
        Start uvicorn as a user does, and do not wait for it.

        Args:
            app: ``module:attribute``.
            arguments: More of uvicorn's, for example ``"--workers", "4"``.
            port: To listen on; see :func:`free_ports`.
            name: For messages; None: the port.
            host: To listen on.
            lifespan: ``on``, ``off`` or ``auto``.
            environment: Variables beside those of the tests.
            app_dir: Folder of the application's module; the project's by default.
            prefix: Words before the program.
        """
        command = [*prefix, sys.executable, "-m", "uvicorn", app, "--app-dir", str(app_dir)]
        command += ["--host", host, "--port", str(port), "--lifespan", lifespan, *arguments]
        return self.server(command, port=port, name=name, environment=environment)

    def server(
        self,
        command: Sequence[str],
        *,
        port: int,
        name: str | None = None,
        environment: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
    ) -> Server:
        """
        Start any web server, and do not wait for it.

        Args:
            command: Program and arguments.
            port: On which it will listen, as its arguments say.
            name: For messages; None: the port.
            environment: Variables beside those of the tests.
            cwd: Folder to run in; the project's by default.
        """
        server = Server(name or f"port {port}", command, _environment(environment), cwd, port)
        self._started.callback(server.reap)
        return server


def _environment(more: Mapping[str, str] | None) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(OURS_IN_ENVIRONMENT)
    }
    return {**kept, "PYTHONUNBUFFERED": "1", **(more or {})}


def _descendants(session: int, mark: str) -> list[int]:
    """Return the processes with this mark, where the system shows them; none that has ended."""
    if not Path("/proc/self/environ").exists():
        return []
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())
    return [pid for pid in pids if _is_descendant(pid, session, f"{MARK}={mark}".encode())]


def _is_descendant(pid: int, session: int, variable: bytes) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        # It has ended since the folder was listed, or it is another user's.
        return False
    # The second field is the program's name in parentheses, which may hold blanks and more of them.
    state, _parent, _group, its_session = stat.rpartition(b")")[2].split()[:4]
    if state in (b"Z", b"X"):
        return False
    if not environment:
        # It is about to become another program, and has no variables for a moment.
        return int(its_session) == session
    return variable in environment.split(b"\0")


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
