"""One member of a cluster under test: a real server on a host of its own, and its log."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.cluster.history import Stop
from tests.cluster.namespaces import Answer, Namespace
from tests.cluster.processes import ROOT, Processes, Server, wait_until

PORT = 8080
"""Of the web server; each host has its own ports."""
GONE = r"Received member disappeared: tls://{}:4000 name={} .* \((.*)\)$"


class Member:
    """One member: a server on a host."""

    def __init__(
        self, name: str, host: Namespace, processes: Processes, environment: Mapping[str, str]
    ) -> None:
        self.name = name
        self.host = host
        self.stops: list[Stop] = []
        self._processes = processes
        self._environment = {**environment, "REPLSESSION_MEMBER_NAME": name}
        self._server: Server | None = None

    @property
    def server(self) -> Server:
        """Return the server that was started last."""
        assert self._server is not None
        return self._server

    def start(self) -> None:
        """Start the server, and do not wait for it."""
        self._server = self._processes.uvicorn(
            "tests.cluster.load_app:create_app",
            "--factory",
            "--no-access-log",
            port=PORT,
            name=self.name,
            host="0.0.0.0",
            prefix=self.host.prefix,
            app_dir=ROOT,
            environment=self._environment,
        )

    def ask(self, path: str) -> Answer:
        """Ask the server from its own host."""
        return self.host.ask(path, PORT)

    def wait_ready(self) -> None:
        """Wait until the member has its state and may be given traffic."""
        self.server.output.wait_for("Member is ready$")
        wait_until(lambda: self.ask("/readyz").status == 200, f"{self.name} is ready")

    def kill(self) -> float:
        """End it as ``kill -9`` does; return when the signal left."""
        since = time.monotonic()
        self.server.kill()
        self._stopped(was_killed=True)
        return since

    def ask_to_stop(self) -> None:
        """Ask it to end, and do not wait for it."""
        self.server.send_signal(signal.SIGTERM)

    def wait_stopped(self) -> None:
        """Wait until it has ended by itself."""
        self.server.wait()
        self._stopped(was_killed=False)

    def stop(self) -> None:
        """Ask it to end, and wait for that."""
        self.ask_to_stop()
        self.wait_stopped()

    @contextmanager
    def paused(self) -> Iterator[float]:
        """Stop it as a debugger does (SIGSTOP), and let it go on; yields when."""
        self.server.send_signal(signal.SIGSTOP)
        try:
            yield time.monotonic()
        finally:
            self.server.send_signal(signal.SIGCONT)

    def mark(self) -> int:
        """Return where its log ends now."""
        return self.server.output.mark()

    def wait_gone(self, other: Member, after: int = 0) -> str:
        """Wait for the line that says that another member has disappeared; return why."""
        return self.server.output.wait_for(_gone(other), after=after)[1]

    def has_gone(self, other: Member, after: int = 0) -> bool:
        """Tell whether that line is there."""
        return bool(self.server.output.matches(_gone(other), after=after))

    def _stopped(self, *, was_killed: bool) -> None:
        self.stops.append(Stop(self.name, time.monotonic(), was_killed))


def _gone(other: Member) -> str:
    return GONE.format(other.host.address.replace(".", r"\."), other.name)
