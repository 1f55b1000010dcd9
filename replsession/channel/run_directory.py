"""
Where control sockets lie: a directory that only its owner may enter, and the names in it.

::

    $XDG_RUNTIME_DIR/replsession, else /tmp/replsession-<uid>        mode 0700
        <cluster>.<member>.<pid>.<start>.sock                        mode 0600

Rules of this file:

1. A directory that is a link, belongs to somebody else, or lets others in is not used.
2. A socket on which nobody listens is removed when the process in its name is gone, or when it is
   older than a moment: between binding and listening nobody listens, either.

*Source*: XDG Base Directory Specification, ``$XDG_RUNTIME_DIR``; unix(7).
"""

from __future__ import annotations

import errno
import os
import re
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

AUTO: Final = "auto"
SUFFIX: Final = ".sock"
DIRECTORY_MODE: Final = 0o700
SOCKET_MODE: Final = 0o600
STALE_AFTER_S: Final = 60.0
SOCKETS_MAX: Final = 1024
"""Files of one directory that are looked at."""
PATH_BYTES_MAX: Final = 103
"""Of a socket; of all systems macOS has the least room, 104 with a NUL. *Source*: unix(4)."""
_TEMPORARY: Final = Path("/tmp")
_OF_USERS: Final = Path("/run/user")
_NAME_CHARACTERS: Final = 20
_OTHER_CHARACTERS: Final = re.compile(r"[^A-Za-z0-9_-]+")
_PID: Final = re.compile(r"\.(\d+)\.[0-9a-f]+\.sock$")


class Unsafe(OSError):
    """A directory that must not be used; its text says why, and what is expected."""


def user() -> int:
    """Return this process's user; 0 on systems without numbers for them."""
    return os.geteuid() if hasattr(os, "geteuid") else 0


def place(control: str) -> Path:
    """Return the directory of a member's control socket: the one asked for, or this user's own."""
    if control != AUTO:
        return Path(control)
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime) and _is_own(Path(runtime)):
        return Path(runtime, "replsession")
    return _TEMPORARY / f"replsession-{user()}"


def places() -> list[Path]:
    """
    Return the directories in which members of this user may be found; for root, of all users.

    A service has often no ``$XDG_RUNTIME_DIR`` where its user's shell has one, so all are named.
    """
    uid = user()
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    found = [Path(runtime, "replsession")] if os.path.isabs(runtime) else []
    found += [_OF_USERS / str(uid) / "replsession", _TEMPORARY / f"replsession-{uid}"]
    if uid == 0:
        found += sorted(_OF_USERS.glob("*/replsession"))
        found += sorted(_TEMPORARY.glob("replsession-*"))
    return list(dict.fromkeys(found))


def made(directory: Path) -> Path:
    """
    Make a directory for control sockets if it is not there, and return it.

    Raises:
        Unsafe: it must not be used.
        OSError: it cannot be made.
    """
    try:
        directory.mkdir(DIRECTORY_MODE)
    except FileExistsError:
        pass
    check(directory, user())
    return directory


def check(directory: Path, owner: int) -> None:
    """
    Refuse a directory that is not its owner's alone.

    Raises:
        Unsafe: it is none, is a link, belongs to another user, or lets others in.
        OSError: it is not there.
    """
    found = directory.lstat()
    mode = stat.S_IMODE(found.st_mode)
    if not stat.S_ISDIR(found.st_mode):
        what = "a link" if stat.S_ISLNK(found.st_mode) else "no directory"
        raise Unsafe(f"{directory} is {what}; a directory of user {owner} is needed")
    if found.st_uid != owner:
        raise Unsafe(f"{directory} belongs to user {found.st_uid}, not to user {owner}")
    if mode & 0o077:
        raise Unsafe(f"{directory} lets others in (mode {mode:04o}); chmod 700 {directory}")


def owner_of(directory: Path) -> int:
    """
    Return whose directory it should be: by its name, else by who asks.

    Somebody could make ``/tmp/replsession-0`` before root does.
    """
    name = directory.name.removeprefix("replsession-")
    if directory.parent == _TEMPORARY and name.isdecimal():
        return int(name)
    if directory.parent.parent == _OF_USERS and directory.parent.name.isdecimal():
        return int(directory.parent.name)
    return user()


def socket_path(directory: Path, cluster: str, member: str, pid: int, start: bytes) -> Path:
    """
    Return the path of a member's socket: no two members of a host have the same.

    Args:
        directory: Where it lies; the longer its path, the less of the names fits into the socket's.
        cluster: Name of the cluster.
        member: Name of the member.
        pid: Its process.
        start: Its id, new at each start.
    """
    end = f".{pid}.{start.hex()[:6]}{SUFFIX}"
    room = PATH_BYTES_MAX - len(os.fsencode(directory)) - len(f"/.{end}")
    most = max(0, min(_NAME_CHARACTERS, room // 2))
    words = [_OTHER_CHARACTERS.sub("-", name)[:most] for name in (cluster, member)]
    return directory / f"{words[0]}.{words[1]}{end}"


def sockets(directory: Path) -> Iterator[Path]:
    """Yield the sockets in a directory, in the order of their names; none if it is not safe."""
    try:
        check(directory, owner_of(directory))
        paths = sorted(directory.iterdir())[:SOCKETS_MAX]
    except OSError:
        return
    yield from (path for path in paths if path.name.endswith(SUFFIX) and path.is_socket())


def remove_stale(directory: Path) -> int:
    """Remove the sockets of members that are gone; return how many."""
    removed = 0
    for path in sockets(directory):
        if _is_stale(path):
            path.unlink(missing_ok=True)
            removed += 1
    return removed


def _is_stale(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        if sock.connect_ex(str(path)) != errno.ECONNREFUSED:
            return False
    pid = _PID.search(path.name)
    try:
        is_old = time.time() - path.lstat().st_mtime > STALE_AFTER_S
    except FileNotFoundError:
        return False
    return is_old or pid is None or not _is_process(int(pid[1]))


def _is_process(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _is_own(directory: Path) -> bool:
    try:
        found = directory.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == user()
