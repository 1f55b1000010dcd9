"""
Runs the counter page on several members of this machine, and shows their logs.

Each member is a process of its own: a server with the demo's application, as one would start it by
hand; uvicorn for Starlette, waitress for Flask. The launcher hands them one random secret, in their
environment and never in their arguments. A member that dies is reported, and stays down until
somebody wants it back.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from demo_app.members import (
    FRAMEWORKS,
    STARLETTE,
    LaunchFailed,
    Member,
    asked,
    check_port,
    command_of,
    environment_of,
    introduction,
)

START_S = 60.0
"""A member that is not ready by then has failed."""
STOP_S = 8.0
"""A member that has not stopped by then is killed; longer than uvicorn and links together take."""
POLL_S = 0.1
LOG_LAG_S = 0.3
"""So long members may take to log the first session, so that it stands above the introduction."""
LINE_BYTES_MAX = 64 * 1024
"""A longer line of a member's log is shown as several."""

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
COLOURS = ("36", "35", "33", "32", "34")


@dataclass(frozen=True, slots=True)
class Screen:
    """
    Where lines go.

    Args:
        width: Of the longest name, so that lines stand in a column.
        is_coloured: Whether names have colours.
        lost: Called once nobody reads any more, as with ``| head``.
    """

    width: int
    is_coloured: bool
    lost: Callable[[], None] = field(repr=False)

    def line(self, text: str) -> None:
        """Show a line of the launcher's own."""
        try:
            print(text, flush=True)
        except BrokenPipeError:
            # What is still in the buffer must not fail once more at the end of the interpreter.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self.lost()

    def of(self, member: Member, text: str) -> None:
        """Show a line of a member's log, or one about it."""
        label = f"[{member.name}]".ljust(self.width + 2)
        if self.is_coloured:
            label = f"\033[{COLOURS[member.number % len(COLOURS)]}m{label}\033[0m"
        self.line(f"{label} {text}")


class Launcher:
    """
    Starts the members, one after the other, and runs until it is told to stop.

    Args:
        count: Number of members.
        first_port: Port of the first one; the others have the ports after it.
        restart_after_s: Seconds after which a member that died is started again; None: when
            somebody presses Enter.
        framework: What the members run under, one of ``FRAMEWORKS``.
    """

    def __init__(
        self,
        count: int,
        first_port: int,
        restart_after_s: float | None,
        framework: str = STARLETTE,
    ) -> None:
        frameworks = FRAMEWORKS[framework]
        self.members = [
            Member(f"member-{n + 1}", n, first_port + n, framework=frameworks[n % len(frameworks)])
            for n in range(count)
        ]
        self._restart_after_s = restart_after_s
        self._environment = environment_of(self.members, os.environ)
        self._screen = Screen(
            width=max(len(member.name) for member in self.members),
            is_coloured=sys.stdout.isatty() and "NO_COLOR" not in os.environ,
            lost=self._stop_wanted,
        )
        self._stopping = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._down: list[Member] = []
        self._is_up = False
        self._hears_enter = False
        self._exit_code = 0

    async def run(self) -> int:
        """
        Run the members until a signal comes, and return the exit code.

        Raises:
            LaunchFailed: a port is taken, or a member did not start.
        """
        for member in self.members:
            check_port(member.port)
        self._listen()
        try:
            for member in self.members:
                await self._start(member)
                await self._until_ready(member)
            await self._introduce()
            await self._stopping.wait()
        finally:
            await self._stop()
        return self._exit_code

    def _listen(self) -> None:
        """Hear of signals, and of Enter."""
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            # A signal that is ignored, as under nohup, stays so.
            if signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, self._stop_wanted)
        # A launcher in the background that reads from the terminal is stopped, unless it ignores
        # the signal: then the read fails, and it listens no more.
        signal.signal(signal.SIGTTIN, signal.SIG_IGN)
        try:
            loop.add_reader(sys.stdin.fileno(), self._enter_pressed)
            self._hears_enter = True
        except (OSError, ValueError, AttributeError):
            # Standard input is closed, or a file, which can't be waited for.
            self._hears_enter = False

    async def _start(self, member: Member) -> None:
        if self._stopping.is_set():
            return
        process = await asyncio.create_subprocess_exec(
            *command_of(member),
            env={**self._environment, "REPLSESSION_MEMBER_NAME": member.name},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            # Not in the terminal's group: Ctrl-C comes to the launcher, which stops one by one.
            process_group=0,
        )
        member.process = process
        self._go(self._attend(member, process))
        if self._stopping.is_set():
            self._end(member)

    def _go(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _until_ready(self, member: Member) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START_S
        while not self._stopping.is_set():
            if not member.is_running:
                raise LaunchFailed(f"{member.name} did not start; its log says why")
            if await asyncio.to_thread(asked, f"{member.url}/readyz") is not None:
                return
            if loop.time() > deadline:
                raise LaunchFailed(f"{member.name} is not ready after {START_S:g} seconds")
            await asyncio.sleep(POLL_S)

    async def _introduce(self) -> None:
        if self._stopping.is_set():
            return
        self._is_up = True
        told = await asyncio.to_thread(asked, f"{self.members[0].url}/session.json")
        await self._pause(LOG_LAG_S)
        for line in introduction(self.members, None if told is None else told["url_token"]):
            self._screen.line(line)

    async def _attend(self, member: Member, process: asyncio.subprocess.Process) -> None:
        """Show the log of a member until it ends, and say so then."""
        assert process.stdout is not None
        rest = b""
        while chunk := await process.stdout.read(LINE_BYTES_MAX):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > LINE_BYTES_MAX:
                lines, rest = [*lines, rest], b""
            for line in lines:
                self._screen.of(member, line.decode("utf-8", "replace"))
        if rest:
            self._screen.of(member, rest.decode("utf-8", "replace"))
        code = await process.wait()
        if not self._stopping.is_set():
            await self._ended(member, code)

    async def _ended(self, member: Member, code: int) -> None:
        how = f"ended by signal {-code}" if code < 0 else f"ended with code {code}"
        if not self._is_up:
            self._screen.of(member, f"*** {how}")
        elif self._restart_after_s is not None:
            self._screen.of(member, f"*** {how}; starts again in {self._restart_after_s:g} s")
            await self._pause(self._restart_after_s)
            await self._start_again(member)
        else:
            then = "press Enter to start it again" if self._hears_enter else "stays down"
            self._screen.of(member, f"*** {how}; {then}")
            self._down.append(member)
            self._give_up_if_useless()

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass

    async def _start_again(self, member: Member) -> None:
        await self._start(member)
        if not self._stopping.is_set() and member.process is not None:
            self._screen.of(member, f"*** started again, pid {member.process.pid}")

    def _enter_pressed(self) -> None:
        try:
            typed = os.read(sys.stdin.fileno(), 4096)
        except OSError:
            typed = b""
        if not typed:
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            self._hears_enter = False
            self._give_up_if_useless()
        elif b"\n" in typed:
            down, self._down = self._down, []
            for member in down:
                self._go(self._start_again(member))

    def _give_up_if_useless(self) -> None:
        if len(self._down) == len(self.members) and not self._hears_enter:
            self._screen.line("No member is left, and the sessions are gone with the last one.")
            self._exit_code = 1
            self._stopping.set()

    def _stop_wanted(self) -> None:
        if self._stopping.is_set():
            # The second Ctrl-C: whoever presses it wants no more grace.
            for member in self.members:
                self._end(member, by_force=True)
        self._stopping.set()

    async def _stop(self) -> None:
        """Stop one member after the other, so that those that are left can say who has gone."""
        self._stopping.set()
        for member in self.members:
            if member.is_running and member.process is not None:
                self._end(member)
                await self._pause_for(member, member.process)
        while self._tasks:
            await asyncio.gather(*self._tasks)

    async def _pause_for(self, member: Member, process: asyncio.subprocess.Process) -> None:
        try:
            async with asyncio.timeout(STOP_S):
                await process.wait()
        except TimeoutError:
            self._screen.line(f"{member.name} did not stop within {STOP_S:g} s, and is killed")
            self._exit_code = 1
            self._end(member, by_force=True)
            await process.wait()

    def _end(self, member: Member, *, by_force: bool = False) -> None:
        if member.is_running and member.process is not None:
            try:
                (member.process.kill if by_force else member.process.terminate)()
            except ProcessLookupError:
                # It has just ended by itself.
                pass
