"""The control socket: who is answered, how much, and that it never stops a member."""

from __future__ import annotations

import json
import logging
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from replsession.channel.channel import Channel
from replsession.config import (
    CONTROL_CONNECTIONS_MAX,
    CONTROL_REQUEST_BYTES_MAX,
    ClusterSettings,
)
from tests.channel.running import PATIENCE_S, Host, some_settings, until, write
from tests.layout.source import ROOT

IS_ROOT = os.geteuid() == 0
NOBODY = 65534


def with_control(directory: Path, **changes: Any) -> ClusterSettings:
    return some_settings(control=str(directory / "run"), **changes)


def the_socket(settings: ClusterSettings) -> Path:
    """Return the one socket in the directory of these settings."""
    assert settings.control is not None
    (path,) = Path(settings.control).iterdir()
    return path


def is_refused(path: Path) -> bool:
    """Tell whether nobody listens on a socket."""
    try:
        with connected(path):
            return False
    except ConnectionRefusedError:
        return True


@contextmanager
def connected(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE_S)
        sock.connect(str(path))
        yield sock


def asked(path: Path, *lines: bytes) -> list[dict[str, Any]]:
    """Send lines at once, and return as many answers."""
    with connected(path) as sock, sock.makefile("rb") as answers:
        sock.sendall(b"".join(line + b"\n" for line in lines))
        return [json.loads(answers.readline()) for _ in lines]


def test_a_member_answers_on_any_loop_and_is_gone_after_its_stop(
    host: Host, tmp_path: Path
) -> None:
    settings = with_control(tmp_path)
    channel = host.started(settings)
    write(channel, birth=True, x=b"\x01")
    path = the_socket(settings)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path.name.startswith(f"shop.{channel.member.node.me.name[:8]}")

    first, wrong, second = asked(path, b'{"ask":"status"}', b"{", b'{"ask":"sessions"}')

    assert first["status"]["member"]["name"] == channel.member.node.me.name
    assert list(wrong) == ["error"]
    assert len(second["sessions"]) == 1
    host.stop(channel)
    assert not path.exists()


def test_two_members_of_one_process_have_two_sockets(host: Host, tmp_path: Path) -> None:
    settings = with_control(tmp_path)
    host.started(settings)
    host.started(settings)
    assert settings.control is not None
    names = {
        asked(path, b'{"ask":"status"}')[0]["status"]["member"]["id"]
        for path in Path(settings.control).iterdir()
    }
    assert len(names) == 2


def test_without_the_option_there_is_none(thread_host: Host, tmp_path: Path) -> None:
    channel = thread_host.started(some_settings(control=None))
    assert channel._control is None


def test_a_socket_that_a_killed_member_left_is_removed(thread_host: Host, tmp_path: Path) -> None:
    settings = with_control(tmp_path)
    assert settings.control is not None
    Path(settings.control).mkdir(0o700)
    left = Path(settings.control, f"shop.gone.{2**22 + 1}.00.sock")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(left))
    thread_host.started(settings)
    assert the_socket(settings) != left


def test_a_place_that_will_not_do_is_logged_and_the_member_goes_on(
    thread_host: Host, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "run").mkdir(0o755)
    for settings, why in (
        (with_control(tmp_path), "lets others in"),
        (with_control(tmp_path / "missing"), "No such file"),
        (with_control(tmp_path / ("x" * 120)), "No such file"),
    ):
        with caplog.at_level(logging.WARNING, "replsession"):
            assert thread_host.started(settings).is_ready
        assert "No control socket, the member goes on without" in caplog.text
        assert why in caplog.text
        caplog.clear()
    deep = tmp_path / ("y" * 120)
    deep.mkdir()
    assert thread_host.started(with_control(deep)).is_ready
    assert "AF_UNIX path too long" in caplog.text
    # Nothing of it was left behind.
    assert list((deep / "run").iterdir()) == []


def test_a_request_has_a_bound(thread_host: Host, tmp_path: Path) -> None:
    settings = with_control(tmp_path)
    channel = thread_host.started(settings)
    with connected(the_socket(settings)) as sock, sock.makefile("rb") as answers:
        sock.sendall(b"x" * (CONTROL_REQUEST_BYTES_MAX + 70_000))
        assert "more than" in json.loads(answers.readline())["error"]
    assert channel.metrics.control_refused == 1


def test_too_many_at_a_time_are_turned_away_and_later_ones_answered(
    thread_host: Host, tmp_path: Path
) -> None:
    settings = with_control(tmp_path)
    channel = thread_host.started(settings)
    path = the_socket(settings)
    idle = []
    for _ in range(CONTROL_CONNECTIONS_MAX):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(PATIENCE_S)
        sock.connect(str(path))
        sock.sendall(b'{"ask":"sessions"}\n')
        assert sock.recv(10)
        idle.append(sock)
    assert "try again" in asked(path, b'{"ask":"status"}')[0]["error"]
    for sock in idle:
        sock.close()
    until(lambda: "status" in asked(path, b'{"ask":"status"}')[0], "an answer")
    assert channel.metrics.control_refused >= 1


def test_who_goes_in_the_middle_hurts_nobody(host: Host, tmp_path: Path) -> None:
    settings = with_control(tmp_path)
    host.started(settings)
    path = the_socket(settings)
    for sent in (b"", b'{"ask"', b'{"ask":"status"}\n' * 50):
        with connected(path) as sock:
            sock.sendall(sent)
    assert "status" in asked(path, b'{"ask":"status"}')[0]


def test_an_idle_connection_does_not_hold_up_the_stop(host: Host, tmp_path: Path) -> None:
    settings = with_control(tmp_path)
    channel = host.started(settings)
    path = the_socket(settings)
    with connected(path) as sock:
        sock.sendall(b'{"ask":"sessions"}\n')
        assert sock.recv(100)
        host.stop(channel)
        assert sock.recv(100) == b""
    assert not path.exists()


@pytest.mark.skipif(not IS_ROOT, reason="only root can be somebody else")
def test_another_user_is_not_let_in_and_not_answered(thread_host: Host, tmp_path: Path) -> None:
    settings = with_control(tmp_path)
    channel = thread_host.started(settings)
    path = the_socket(settings)
    assert ended_as_nobody(path).startswith("PermissionError")

    # Somebody has opened the doors; who is at the other end is looked at all the same.
    opened = [path, path.parent, *(p for p in path.parents if p != Path("/") and p != Path("/tmp"))]
    before = [each.stat().st_mode for each in opened]
    try:
        for each in opened:
            each.chmod(each.stat().st_mode | 0o777 if each in (path, path.parent) else 0o755)
        told = ended_as_nobody(path)
    finally:
        for each, mode in zip(opened, before, strict=True):
            each.chmod(mode)
    assert json.loads(told) == {"error": f"this member is user 0's; user {NOBODY} is not answered"}
    assert channel.metrics.control_refused == 1


def ended_as_nobody(path: Path) -> str:
    """Ask as another user, and return what comes of it."""
    code = (
        "import os, socket, sys\n"
        f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
        "sock = socket.socket(socket.AF_UNIX); sock.settimeout(20)\n"
        "try:\n"
        "    sock.connect(sys.argv[1])\n"
        '    sock.sendall(b\'{"ask":"status"}\\n\')\n'
        "except OSError as error:\n"
        "    print(type(error).__name__)\n"
        "else:\n"
        "    print(sock.makefile().readline())\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    return ended.stdout.strip()


FORKED = """
import os, pathlib, sys
from replsession.channel.channel import Channel
from tests.channel.running import some_settings, until
from tests.channel.test_control import asked
settings = some_settings(control=sys.argv[1])
channel = Channel(settings)
channel.ensure_started()
until(lambda: channel.is_ready, "ready")
def sockets():
    return sorted(pathlib.Path(sys.argv[1]).iterdir())
(mine,) = sockets()
read, write = os.pipe()
go_on, may_go_on = os.pipe()
child = os.fork()
if child == 0:
    assert os.read(go_on, 1)
    channel.ensure_started()
    until(lambda: channel.is_ready, "ready")
    theirs = [path for path in sockets() if path != mine]
    told = [asked(path, b'{"ask":"status"}')[0]["status"]["member"]["pid"] for path in theirs]
    channel.stop_thread()
    os.write(write, repr((told == [os.getpid()], [p.exists() for p in theirs])).encode())
    os._exit(0)
told = asked(mine, b'{"ask":"status"}')[0]["status"]["member"]["pid"]
os.write(may_go_on, b"x")
print(told == os.getpid(), os.read(read, 100).decode(), mine.exists())
os.waitpid(child, 0)
channel.stop_thread()
print(sockets())
"""


def test_a_fork_has_a_socket_of_its_own_and_takes_none_along(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED, str(tmp_path / "run")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "True (True, [False]) True\n[]\n"


def test_a_fork_does_not_hold_its_parents_socket_open(tmp_path: Path) -> None:
    code = (
        "import os, sys, time\n"
        "from replsession.channel.channel import Channel\n"
        "from tests.channel.running import some_settings\n"
        "channel = Channel(some_settings(control=sys.argv[1]))\n"
        "channel.ensure_started()\n"
        "if os.fork() == 0:\n"
        "    sys.stdin.read()\n"
        "    os._exit(0)\n"
        "print(os.getpid(), flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "run")],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as parent:
        parent.wait(50)
        (path,) = (tmp_path / "run").iterdir()
        # The child lives, and so would a listener that it had kept.
        until(lambda: is_refused(path), "nobody listens")
        assert parent.stdin is not None
        parent.stdin.close()


def test_a_member_whose_loop_ended_without_a_word_gives_its_socket_back(
    loop_host: Host, tmp_path: Path
) -> None:
    settings = with_control(tmp_path)
    channel = loop_host.started(settings)
    before = the_socket(settings)
    home = loop_host.home(channel)
    assert home is not None
    home.close()

    channel.ensure_started()

    until(lambda: channel.is_ready, "ready")
    assert the_socket(settings) != before
    assert "status" in asked(the_socket(settings), b'{"ask":"status"}')[0]


def test_a_process_alone_has_none() -> None:
    channel = Channel(None)
    channel.ensure_started()
    assert channel._control is None
