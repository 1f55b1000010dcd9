"""Asking a member: over a socket and over HTTP, and everything that is no answer."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from replsession.cli import asking
from replsession.cli.asking import Gone, NoAnswer, OverSocket, OverUrl
from replsession.security.signing import HEADER, check_signature

KEY = b"k" * 32


@contextmanager
def answering(listener: socket.socket, answer: Callable[[socket.socket], object]) -> Iterator[None]:
    """Answer on connections by a function, until the block ends."""
    listener.listen()

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    answer(connection)
                except OSError as problem:
                    print(problem)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(20)


@contextmanager
def on_a_socket(path: Path, answer: Callable[[socket.socket], object]) -> Iterator[OverSocket]:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    with answering(listener, answer):
        yield OverSocket(path)


@contextmanager
def on_a_port(answer: Callable[[socket.socket], object]) -> Iterator[OverUrl]:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    with answering(listener, answer):
        yield OverUrl(f"http://127.0.0.1:{listener.getsockname()[1]}/x/replsession/", KEY)


def says(data: bytes, *, is_read: bool = True) -> Callable[[socket.socket], object]:
    def answer(connection: socket.socket) -> None:
        while is_read and connection.recv(65536):
            connection.sendall(data)

    return answer


def test_a_question_and_its_answer(tmp_path: Path) -> None:
    def answer(connection: socket.socket) -> None:
        with connection.makefile("rwb") as lines:
            line = json.dumps({"you": json.loads(lines.readline())}).encode()
            lines.write(line + b"\n")

    with on_a_socket(tmp_path / "s", answer) as member:
        assert member.ask("status", a=None) == {"you": {"ask": "status", "a": None}}
        assert member.ask("sessions") == {"you": {"ask": "sessions"}}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b'{"error":"no such thing"}\n', "no such thing"),
        (b"nonsense\n", "not what a member says"),
        (b"[1]\n", "not what a member says"),
        (b"[" * 100_000 + b"\n", "not what a member says"),
    ],
)
def test_what_is_no_answer_over_a_socket(tmp_path: Path, data: bytes, why: str) -> None:
    with on_a_socket(tmp_path / "s", says(data)) as member, pytest.raises(NoAnswer, match=why):
        member.ask("status")


def test_an_end_without_an_answer(tmp_path: Path) -> None:
    with on_a_socket(tmp_path / "s", lambda connection: connection.recv(100)) as member:
        with pytest.raises(NoAnswer, match="without an answer"):
            member.ask("status")


def test_an_answer_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "CONTROL_ANSWER_BYTES_MAX", 1000)
    with on_a_socket(tmp_path / "s", says(b"x" * 2000)) as member:
        with pytest.raises(NoAnswer, match="more than 1000 bytes"):
            member.ask("status")


def test_a_member_that_hangs_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "PATIENCE_S", 0.05)
    with on_a_socket(
        tmp_path / "s", lambda connection: connection.recv(1) and threading.Event().wait(0.5)
    ) as member:
        with pytest.raises(NoAnswer, match="does its process hang"):
            member.ask("status")


def test_where_nobody_listens_nobody_is(tmp_path: Path) -> None:
    left = tmp_path / "left"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(left))
    for path in (left, tmp_path / "missing"):
        with pytest.raises(Gone):
            OverSocket(path).ask("status")
    with pytest.raises(NoAnswer, match="too long"):
        OverSocket(tmp_path / ("x" * 200)).ask("status")


def http(status: str, body: bytes, headers: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{headers}\r\n"
    return head.encode() + body


def test_a_request_over_http_is_signed() -> None:
    seen: list[bytes] = []

    def answer(connection: socket.socket) -> None:
        data = b""
        while b'"limit": 5}' not in data:
            data += connection.recv(65536)
        seen.append(data)
        connection.sendall(http("200 OK", b'{"sessions":[]}'))

    with on_a_port(answer) as member:
        assert member.ask("sessions", limit=5) == {"sessions": []}
    head, _, body = seen[0].partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    assert first == "POST /x/replsession/sessions HTTP/1.1"
    given = dict(line.split(": ", 1) for line in lines)[HEADER]
    check_signature(KEY, given, "POST", "/sessions", body, time.time())


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (http("403 Forbidden", b'{"error":"wrong signature: x"}'), "wrong signature: x"),
        (http("403 Forbidden", b"<html>"), "HTTP status 403; is the control URL mounted there"),
        (http("404 Not Found", b"{}"), "HTTP status 404; is the control URL mounted there"),
        (http("302 Found", b"", "Location: http://127.0.0.1:1/\r\n"), "HTTP status 302"),
        (http("200 OK", b"<html>"), "not what a member says"),
        (b"nonsense\r\n\r\n", "nonsense"),
    ],
)
def test_what_is_no_answer_over_http(data: bytes, why: str) -> None:
    def answer(connection: socket.socket) -> None:
        received = b""
        while not received.endswith(b"{}"):
            received += connection.recv(65536)
        connection.sendall(data)

    with on_a_port(answer) as member, pytest.raises(NoAnswer, match=why):
        member.ask("status")


def test_where_no_server_is_there_is_no_answer() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    with pytest.raises(NoAnswer, match="refused"):
        OverUrl(f"http://127.0.0.1:{port}", KEY).ask("status")


@pytest.mark.parametrize("url", ["", "shop", "ftp://shop", "http://", "http://[", "http://x:99999"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(NoAnswer, match="begins with"):
        OverUrl(url, KEY)


def test_https_is_verified() -> None:
    connection = OverUrl("https://shop.example/replsession", KEY)._connection()
    context = connection._context  # type: ignore[attr-defined]
    assert context.check_hostname and context.verify_mode.name == "CERT_REQUIRED"
