"""Where control sockets lie: for their owner alone, with names of their own, none of the dead."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from replsession.channel.run_directory import (
    PATH_BYTES_MAX,
    STALE_AFTER_S,
    Unsafe,
    check,
    made,
    owner_of,
    place,
    places,
    remove_stale,
    socket_path,
    sockets,
)

START = bytes(range(8))
GONE_PID = 2**22 + 1
"""Above what Linux gives to a process."""
IS_ROOT = os.geteuid() == 0


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return made(tmp_path / "run")


def listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    return listener


def leave_behind(path: Path) -> None:
    """Leave a socket on which nobody listens."""
    listen(path).close()


def test_the_place_of_a_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = Path(f"/tmp/replsession-{os.geteuid()}")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert place("auto") == tmp_path / "replsession"
    assert place("/run/shop") == Path("/run/shop")
    assert places()[0] == tmp_path / "replsession" and own in places()
    for wrong in ("", "run", str(tmp_path / "missing")):
        monkeypatch.setenv("XDG_RUNTIME_DIR", wrong)
        assert place("auto") == own
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert place("auto") == own


@pytest.mark.skipif(not IS_ROOT, reason="only root gives files away")
def test_a_runtime_directory_of_another_user_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # As after `su` without a new session.
    os.chown(tmp_path, 4321, -1)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert place("auto") == Path("/tmp/replsession-0")


def test_a_directory_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        path = made(tmp_path / "run")
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o700
    assert made(path) == path


@pytest.mark.parametrize("mode", [0o701, 0o710, 0o750, 0o777])
def test_a_directory_that_lets_others_in_is_refused(directory: Path, mode: int) -> None:
    directory.chmod(mode)
    with pytest.raises(Unsafe, match=f"chmod 700 {directory}"):
        made(directory)
    assert list(sockets(directory)) == []


def test_a_link_and_a_file_are_refused(directory: Path, tmp_path: Path) -> None:
    link, file = tmp_path / "link", tmp_path / "file"
    link.symlink_to(directory)
    file.touch(mode=0o700)
    for path, what in ((link, "a link"), (file, "no directory")):
        with pytest.raises(Unsafe, match=what):
            made(path)


@pytest.mark.skipif(not IS_ROOT, reason="only root gives files away")
def test_a_directory_of_another_user_is_refused(directory: Path) -> None:
    os.chown(directory, 4321, -1)
    with pytest.raises(Unsafe, match="belongs to user 4321, not to user 0"):
        made(directory)
    check(directory, 4321)
    assert list(sockets(directory)) == []


def test_a_place_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        made(tmp_path / "missing" / "run")


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        ("/tmp/replsession-0", 0),
        ("/tmp/replsession-1000", 1000),
        ("/run/user/1001/replsession", 1001),
        ("/tmp/replsession-x", os.geteuid()),
        ("/srv/run", os.geteuid()),
    ],
)
def test_whose_directory_it_should_be_is_in_its_name(path: str, owner: int) -> None:
    assert owner_of(Path(path)) == owner


def test_names_of_sockets_differ_and_fit() -> None:
    run = Path("/run")
    path = socket_path(run, "shop", "web1-4000", 4711, START)
    assert path == run / "shop.web1-4000.4711.000102.sock"
    assert socket_path(run, "shop", "web1-4000", 4711, bytes(8)) != path
    assert socket_path(run, "a/../b\0 ü", "x", 1, START).name == "a-b-.x.1.000102.sock"
    for length in (1, 30, 60, 75):
        whole = socket_path(Path("/" + "d" * length), "c" * 64, "m" * 64, 2**22, START)
        assert len(str(whole)) <= PATH_BYTES_MAX
        assert whole.name.endswith(".4194304.000102.sock")


def test_only_sockets_are_found(directory: Path) -> None:
    (directory / "a.sock").touch()
    (directory / "notes").touch()
    with listen(directory / "b.sock"), listen(directory / "c"):
        assert list(sockets(directory)) == [directory / "b.sock"]
    assert list(sockets(directory / "missing")) == []


def test_sockets_of_the_dead_are_removed_and_those_of_the_living_stay(directory: Path) -> None:
    alive = directory / f"shop.a.{GONE_PID}.00.sock"
    begun = directory / f"shop.b.{os.getpid()}.00.sock"
    gone = directory / f"shop.c.{GONE_PID}.00.sock"
    old = directory / f"shop.d.{os.getpid()}.01.sock"
    for path in (begun, gone, old):
        leave_behind(path)
    past = begun.lstat().st_mtime - 2 * STALE_AFTER_S
    os.utime(old, (past, past), follow_symlinks=False)
    with listen(alive):
        assert remove_stale(directory) == 2
        assert list(sockets(directory)) == [alive, begun]
