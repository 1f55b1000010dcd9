"""
The control socket: where an administrator of this host asks a member, and is answered.

One object of JSON per line, each way; ``inquiry.py`` has what may be asked. Only this process's
user and root get an answer: the directory and the socket let nobody else in, and where the system
says who is at the other end, that is looked at as well.

Rules of this file:

1. It never stops the member: what fails here is logged, and the member goes on without.
2. Connections are bounded in number, a request in bytes, and both in time; each answer is made in
   steps, between which the loop serves requests.
3. A forked child closes what it has inherited, and removes nothing: it has a socket of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
import sys
import weakref
from pathlib import Path
from typing import Final

from replsession.channel.inquiry import Answer, Inquiries
from replsession.channel.log import CONTROL
from replsession.channel.run_directory import (
    SOCKET_MODE,
    made,
    place,
    remove_stale,
    socket_path,
)
from replsession.channel.steps import in_turns
from replsession.config import (
    CONTROL_CONNECTIONS_MAX,
    CONTROL_REQUEST_BYTES_MAX,
    CONTROL_TIMEOUT_S,
)
from replsession.metrics import Metrics

_BACKLOG: Final = 16
_READ_BYTES: Final = 64 * 1024
_ACCEPT_PAUSE_S: Final = 0.1
_LINGER_S: Final = 1.0
_LINGER_READS: Final = 16
_CREDENTIALS: Final = struct.Struct("=iII")
"""Process, user and group. *Source*: unix(7), ``struct ucred``."""


class Control:
    """
    The control socket of one member, on the running loop, from :meth:`open` to :meth:`close`.

    Args:
        inquiries: Answers what is asked.
        metrics: The member's counters.
    """

    def __init__(self, inquiries: Inquiries, metrics: Metrics) -> None:
        self._inquiries = inquiries
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._pid = os.getpid()
        self._listener: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.path: Path | None = None
        """Of the socket; None: there is none."""

    def open(self, control: str, cluster: str, member: str, start: bytes) -> None:
        """
        Listen, or say in the log why not.

        Args:
            control: ``"auto"``, or a directory.
            cluster: Name of the cluster.
            member: Name of the member.
            start: Its id.
        """
        if not hasattr(socket, "AF_UNIX"):
            CONTROL.info("No control socket: this system has none")
            return
        try:
            directory = made(place(control))
            remove_stale(directory)
            path = socket_path(directory, cluster, member, self._pid, start)
            self._listener = _listening(path)
        except OSError as problem:
            CONTROL.warning("No control socket, the member goes on without: %s", problem)
            return
        self.path = path
        self._accepting = self._loop.create_task(self._accept(self._listener))
        _OPEN.add(self)
        CONTROL.debug("Control socket bound to %s", path)

    async def close(self) -> None:
        """Stop listening, end what is being answered, and remove the socket."""
        tasks = [*self._tasks, *([self._accepting] if self._accepting is not None else [])]
        for task in tasks:
            task.cancel()
        # No loop may be waiting for a socket that is closed.
        await asyncio.gather(*tasks, return_exceptions=True)
        self.abandon()

    def abandon(self) -> None:
        """Give the socket back when the loop has ended without a word."""
        _OPEN.discard(self)
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self.path is not None and self._pid == os.getpid():
            try:
                self.path.unlink(missing_ok=True)
            except OSError as problem:
                CONTROL.warning("Control socket cannot be removed: %s", problem)
        self.path = None

    def leave_parent(self) -> None:
        """In a forked child: it is the parent's socket."""
        if self._listener is not None:
            os.close(self._listener.detach())
            self._listener = None
        self.path = None

    async def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = await self._loop.sock_accept(listener)
            except OSError as problem:
                CONTROL.warning("Control socket cannot accept: %s", problem)
                await asyncio.sleep(_ACCEPT_PAUSE_S)
                continue
            task = self._loop.create_task(self._serve(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: socket.socket) -> None:
        with connection:
            connection.setblocking(False)
            try:
                problem = self._refusal(connection)
                if problem is None:
                    problem = await self._converse(connection)
                if problem is not None:
                    await self._turn_away(connection, problem)
            except (OSError, TimeoutError) as problem:
                CONTROL.debug("Control connection ended: %s", problem)

    def _refusal(self, connection: socket.socket) -> str | None:
        uid = uid_of_peer(connection)
        if uid is not None and uid not in (0, os.geteuid()):
            return f"this member is user {os.geteuid()}'s; user {uid} is not answered"
        if len(self._tasks) > CONTROL_CONNECTIONS_MAX:
            return f"{CONTROL_CONNECTIONS_MAX} others ask at the same time; try again"
        return None

    async def _converse(self, connection: socket.socket) -> str | None:
        """Answer until the other end closes, or until what comes is no request: why it is none."""
        waiting = b""
        while True:
            line, found, waiting = waiting.partition(b"\n")
            while not found:
                if len(line) > CONTROL_REQUEST_BYTES_MAX:
                    return f"a request of more than {CONTROL_REQUEST_BYTES_MAX} bytes"
                async with asyncio.timeout(CONTROL_TIMEOUT_S):
                    data = await self._loop.sock_recv(connection, _READ_BYTES)
                if not data:
                    return None
                line, found, waiting = (line + data).partition(b"\n")
            await self._send(connection, await in_turns(self._inquiries.steps(_request(line))))

    async def _turn_away(self, connection: socket.socket, problem: str) -> None:
        self._metrics.control_refused += 1
        await self._send(connection, {"error": problem})
        connection.shutdown(socket.SHUT_WR)
        # Who is still sending would be told of a broken connection, and never of the reason.
        async with asyncio.timeout(_LINGER_S):
            for _ in range(_LINGER_READS):
                if not await self._loop.sock_recv(connection, _READ_BYTES):
                    return

    async def _send(self, connection: socket.socket, answer: Answer) -> None:
        async with asyncio.timeout(CONTROL_TIMEOUT_S):
            await self._loop.sock_sendall(connection, json.dumps(answer).encode() + b"\n")


def uid_of_peer(connection: socket.socket) -> int | None:
    """Return the user at the other end of a Unix socket; None where the system does not say."""
    if not sys.platform.startswith("linux"):
        return None
    told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    uid: int = _CREDENTIALS.unpack(told)[1]
    return uid


def _listening(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        listener.bind(str(path))
        # Until now its directory kept all others out.
        os.chmod(path, SOCKET_MODE)
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _request(line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


_OPEN: weakref.WeakSet[Control] = weakref.WeakSet()


def _leave_parent() -> None:
    for control in list(_OPEN):
        control.leave_parent()
    _OPEN.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_parent)
