"""
The members that the launcher runs: where they listen, how they are started, what to say of them.

Nothing here starts anything.
"""

from __future__ import annotations

import asyncio
import errno
import json
import secrets
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

from demo_app.page import link

HOST = "127.0.0.1"
APPLICATION = "demo_app.asgi:app"
SERVER_OF_FLASK = "demo_app.wsgi"
STARLETTE, FLASK = "starlette", "flask"
FRAMEWORKS = {STARLETTE: (STARLETTE,), FLASK: (FLASK,), "mixed": (STARLETTE, FLASK)}
"""What the members run under, in turn."""
REQUEST_GRACE_S = 3
"""How long uvicorn waits for requests that still run when it is told to stop."""
ASK_S = 5.0
"""Bound on one request to a member."""


class LaunchFailed(Exception):
    """The members cannot be started; the text says why, and what to do about it."""


@dataclass(slots=True)
class Member:
    """One member: its place, which stays, and its process, which comes and goes."""

    name: str
    number: int
    port: int
    process: asyncio.subprocess.Process | None = None
    framework: str = STARLETTE

    @property
    def is_running(self) -> bool:
        """Whether its process has not ended."""
        return self.process is not None and self.process.returncode is None

    @property
    def url(self) -> str:
        """Where it listens, without a path."""
        return f"http://{HOST}:{self.port}"


def check_port(port: int) -> None:
    """
    See whether a member can listen on a port.

    Raises:
        LaunchFailed: it cannot; the text names the port.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            what = "is taken" if error.errno == errno.EADDRINUSE else f"is no use: {error.strerror}"
            raise LaunchFailed(f"port {port} {what}; name another one with --port") from error


def environment_of(members: Sequence[Member], base: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of all members, with a secret that nobody has seen before."""
    kept = {name: value for name, value in base.items() if not name.startswith("REPLSESSION_")}
    return {
        **kept,
        "REPLSESSION_CLUSTER": "local",
        "REPLSESSION_SECRET": secrets.token_urlsafe(32),
        "DEMO_MEMBERS": " ".join(f"{member.name}={member.url}" for member in members),
    }


def command_of(member: Member) -> list[str]:
    """Return what starts a member; everybody on this machine may read it, so no secret is in it."""
    if member.framework == FLASK:
        return [sys.executable, "-m", SERVER_OF_FLASK, f"{HOST}:{member.port}"]
    options = {
        "--host": HOST,
        "--port": str(member.port),
        "--lifespan": "on",
        "--log-level": "warning",
        "--timeout-graceful-shutdown": str(REQUEST_GRACE_S),
    }
    words = [word for option in options.items() for word in option]
    return [sys.executable, "-m", "uvicorn", APPLICATION, *words, "--no-access-log"]


def introduction(members: Sequence[Member], token: str | None) -> list[str]:
    """
    Return what a newcomer is told once the members are ready.

    Args:
        members: All of them, running.
        token: Of a session that was begun on the first one; None if that did not answer.
    """
    lines = ["", "The counter page runs on:", ""]
    for member in members:
        pid = "" if member.process is None else f"    pid {member.process.pid}"
        lines.append(f"    {member.name}    {member.url}/{pid}")
    if len({member.framework for member in members}) > 1:
        names = " and ".join(member.name for member in members if member.framework == FLASK)
        lines += ["", f"Under Flask: {names}; the others under Starlette. They share all sessions."]
    if token is not None and len(members) > 1:
        first, second = members[0], members[1]
        lines += ["", f"A session has begun on {first.name}. To go on with it on {second.name}:"]
        lines += ["", f"    {link(second.url, token, HOST)}"]
        if first.process is not None:
            lines += ["", f"It survives that {first.name} is killed:", ""]
            lines.append(f"    kill -9 {first.process.pid}")
    return [*lines, "", "Ctrl-C stops all.", ""]


def asked(url: str) -> dict[str, Any] | None:
    """Return the JSON object at a URL; None if there is no answer, or one that says no."""
    try:
        # Without the proxies of the environment, which know nothing of this machine.
        with build_opener(ProxyHandler({})).open(url, timeout=ASK_S) as response:
            found = json.load(response)
    except HTTPError as error:
        error.close()
        return None
    except (OSError, HTTPException, ValueError):
        # Nobody, or somebody else, or a member that was killed while it answered.
        return None
    return found if isinstance(found, dict) else None
