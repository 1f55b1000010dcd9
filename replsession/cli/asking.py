"""
Asking: one question to a member, over its control socket or its URL, and the answer.

What comes back is bounded in bytes and in time, whoever sent it.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from replsession.config import CONTROL_ANSWER_BYTES_MAX
from replsession.security.signing import HEADER, signature

PATIENCE_S: Final = 5.0
"""How long an answer may take; a member that hangs gives none."""
_READ_BYTES: Final = 64 * 1024


class NoAnswer(Exception):
    """A member that cannot be asked, or refuses; its text says why."""


class Gone(NoAnswer):
    """Nobody listens there any more."""


class Member(Protocol):
    """Who can be asked."""

    where: str
    """Path of the socket, or URL."""

    def ask(self, ask: str, **request: Any) -> dict[str, Any]:
        """
        Return the answer to a question; see ``channel/inquiry.py``.

        Raises:
            NoAnswer: there is none, or it says that something is wrong.
        """


class OverSocket:
    """
    A member of this host.

    Args:
        path: Its control socket.
    """

    def __init__(self, path: Path) -> None:
        self.where = str(path)

    def ask(self, ask: str, **request: Any) -> dict[str, Any]:
        """As :meth:`Member.ask`."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                sock.settimeout(PATIENCE_S)
                sock.connect(self.where)
                sock.sendall(json.dumps({"ask": ask, **request}).encode() + b"\n")
                return _checked(_line(sock))
        except TimeoutError:
            raise NoAnswer(f"no answer within {PATIENCE_S:g} s: does its process hang?") from None
        except (ConnectionRefusedError, FileNotFoundError):
            raise Gone("nobody listens there; its process has ended") from None
        except OSError as problem:
            raise NoAnswer(problem.strerror or str(problem)) from None


class OverUrl:
    """
    A member, or any of several behind a balancer.

    Args:
        url: Where its application mounts the control URL.
        key: Of the cluster's secret, ``ClusterKeys.control_key``.

    Raises:
        NoAnswer: it is no URL of a web server.
    """

    def __init__(self, url: str, key: bytes) -> None:
        self.where = url
        self._key = key
        try:
            parts = urlsplit(url)
            self._host, self._port = parts.hostname, parts.port
        except ValueError:
            self._host = None
        if not self._host or parts.scheme not in ("http", "https"):
            raise NoAnswer(f"got {url!r}; a URL begins with http:// or https://")
        self._is_secure = parts.scheme == "https"
        self._path = parts.path.rstrip("/")

    def ask(self, ask: str, **request: Any) -> dict[str, Any]:
        """As :meth:`Member.ask`."""
        body = json.dumps(request).encode()
        headers = {
            "Content-Type": "application/json",
            HEADER: signature(self._key, "POST", f"/{ask}", body),
        }
        connection = self._connection()
        try:
            connection.request("POST", f"{self._path}/{ask}", body, headers)
            response = connection.getresponse()
            data = response.read(CONTROL_ANSWER_BYTES_MAX + 1)
        except TimeoutError:
            raise NoAnswer(f"no answer within {PATIENCE_S:g} s") from None
        except (OSError, http.client.HTTPException) as problem:
            raise NoAnswer(getattr(problem, "strerror", None) or str(problem)) from None
        finally:
            connection.close()
        if response.status >= 400 and data.startswith(b'{"error"'):
            return _checked(data)
        if response.status != 200:
            raise NoAnswer(
                f"HTTP status {response.status}; is the control URL mounted there? "
                "See docs/status.md"
            )
        return _checked(data)

    def _connection(self) -> http.client.HTTPConnection:
        assert self._host is not None
        if self._is_secure:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(
                self._host, self._port, timeout=PATIENCE_S, context=context
            )
        return http.client.HTTPConnection(self._host, self._port, timeout=PATIENCE_S)


def _line(sock: socket.socket) -> bytes:
    parts: list[bytes] = []
    size = 0
    while not (parts and parts[-1].endswith(b"\n")):
        data = sock.recv(_READ_BYTES)
        if not data:
            raise NoAnswer("it closed the connection without an answer")
        parts.append(data)
        size += len(data)
        if size > CONTROL_ANSWER_BYTES_MAX:
            raise NoAnswer(f"an answer of more than {CONTROL_ANSWER_BYTES_MAX} bytes")
    return b"".join(parts)


def _checked(data: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise NoAnswer("the answer is not what a member says")
    if "error" in answer:
        raise NoAnswer(str(answer["error"]))
    return answer
