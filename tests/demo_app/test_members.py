"""How the launcher's members are started, and what is said of them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from demo_app.members import (
    FLASK,
    HOST,
    STARLETTE,
    LaunchFailed,
    Member,
    asked,
    check_port,
    command_of,
    environment_of,
    introduction,
)

MEMBERS = [Member("member-1", 0, 8080), Member("member-2", 1, 8081)]


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """Yield a socket that listens on a port of its own."""
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        yield taken


def test_a_port_that_is_taken_is_named(listening: socket.socket) -> None:
    port = listening.getsockname()[1]
    with pytest.raises(LaunchFailed, match=f"^port {port} is taken; name another one with --port$"):
        check_port(port)


def test_a_port_that_is_free_will_do(listening: socket.socket) -> None:
    port = listening.getsockname()[1]
    listening.close()
    check_port(port)


def test_members_share_a_secret_that_nobody_has_seen_before() -> None:
    one, other = environment_of(MEMBERS, {}), environment_of(MEMBERS, {})
    assert len(one["REPLSESSION_SECRET"]) >= 32
    assert one["REPLSESSION_SECRET"] != other["REPLSESSION_SECRET"]


def test_settings_of_another_cluster_are_not_handed_on() -> None:
    base = {
        "PATH": "/bin",
        "REPLSESSION_SECRET": "of another cluster",
        "REPLSESSION_CLUSTER": "lan:shop",
        "REPLSESSION_BIND": "eth0",
        "DEMO_MEMBERS": "x=http://x",
    }
    environment = environment_of(MEMBERS, base)
    secret = environment.pop("REPLSESSION_SECRET")
    assert secret != base["REPLSESSION_SECRET"]
    assert environment == {
        "PATH": "/bin",
        "REPLSESSION_CLUSTER": "local",
        "DEMO_MEMBERS": "member-1=http://127.0.0.1:8080 member-2=http://127.0.0.1:8081",
    }


def test_a_member_is_started_as_one_would_by_hand() -> None:
    command = " ".join(command_of(MEMBERS[1])[1:])
    assert command.startswith("-m uvicorn demo_app.asgi:app --host 127.0.0.1 --port 8081 ")
    assert "--lifespan on" in command


def test_a_member_under_flask_has_a_server_of_its_kind() -> None:
    command = command_of(Member("member-2", 1, 8081, framework=FLASK))
    assert command[1:] == ["-m", "demo_app.wsgi", "127.0.0.1:8081"]


def test_who_runs_under_what_is_told_where_it_differs() -> None:
    members = [Member(f"m{n}", n, 8080 + n, framework=(STARLETTE, FLASK)[n % 2]) for n in range(4)]
    text = "\n".join(introduction(members, None))
    assert "Under Flask: m1 and m3; the others under Starlette. They share all sessions." in text
    assert "Under Flask" not in "\n".join(introduction(members[1::2], None))


def running(pid: int) -> Any:
    return SimpleNamespace(pid=pid, returncode=None)


def ended(pid: int) -> Any:
    return SimpleNamespace(pid=pid, returncode=-9)


def test_a_newcomer_is_told_what_to_open_and_what_to_kill() -> None:
    members = [Member("member-1", 0, 8080, running(11)), Member("member-2", 1, 8081, running(12))]
    assert introduction(members, "TOKEN") == [
        "",
        "The counter page runs on:",
        "",
        "    member-1    http://127.0.0.1:8080/    pid 11",
        "    member-2    http://127.0.0.1:8081/    pid 12",
        "",
        "A session has begun on member-1. To go on with it on member-2:",
        "",
        "    http://localhost:8081/;jsessionid=TOKEN",
        "",
        "It survives that member-1 is killed:",
        "",
        "    kill -9 11",
        "",
        "Ctrl-C stops all.",
        "",
    ]


@pytest.mark.parametrize(("count", "token"), [(1, "TOKEN"), (2, None)])
def test_without_a_second_member_or_a_session_there_is_no_link(
    count: int, token: str | None
) -> None:
    text = "\n".join(introduction(MEMBERS[:count], token))
    assert "http://127.0.0.1:8080/" in text
    assert "jsessionid" not in text
    assert "kill" not in text


def test_a_member_runs_while_its_process_does() -> None:
    member = Member("member-1", 0, 8080)
    assert not member.is_running
    member.process = running(11)
    assert member.is_running
    member.process = ended(11)
    assert not member.is_running


def test_nobody_there_is_no_answer(listening: socket.socket) -> None:
    port = listening.getsockname()[1]
    listening.close()
    assert asked(f"http://{HOST}:{port}/") is None


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b'HTTP/1.0 200 OK\r\n\r\n{"ready": true}', {"ready": True}),
        (b'HTTP/1.0 503 Service Unavailable\r\n\r\n{"ready": false}', None),
        (b"HTTP/1.0 200 OK\r\n\r\n[]", None),
        (b"HTTP/1.0 200 OK\r\n\r\n<html>", None),
        (b"220 mail.example ESMTP\r\n", None),
        (b"", None),
    ],
)
def test_only_a_json_object_is_an_answer(
    listening: socket.socket, answer: bytes, expected: object
) -> None:
    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(answer)

    server = threading.Thread(target=serve)
    server.start()
    port = listening.getsockname()[1]
    found = asked(f"http://{HOST}:{port}/")
    server.join()
    assert found == expected
