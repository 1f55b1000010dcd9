"""
Secrets in files: read, and refused where everybody may read them.

Who may read a file is asked of the file that is opened, so that nobody can put another one in its
place in between.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from replsession.errors import ConfigError
from replsession.settings.configuration import SECRET, SECRET_FILE, Configuration

SECRET_BYTES_MAX: Final = 4096
"""Read of a secret's file, of which the first line counts."""
MOUNTED: Final = "/run/secrets/"
"""Where Docker puts secrets, with mode 0444 unless told otherwise; in a container nobody else is.
*Source*: Docker's documentation of services with secrets."""


def secret_of(configuration: Configuration) -> str | None:
    """
    Return the secret that a configuration has or names a file for; None: it has none.

    Raises:
        ConfigError: it has both, or the file will not do; its field is ``secret_file``.
    """
    path: str | None = configuration.values.get(SECRET_FILE)
    secret: str | None = configuration.values.get(SECRET)
    if path is None:
        return secret
    if secret is not None:
        raise ConfigError(SECRET_FILE, path, f"only where there is no {SECRET}")
    return read_secret(path, SECRET_FILE)


def read_secret(path: str, field: str) -> str:
    """
    Return the first line of a file.

    Args:
        path: Of the file, which others than its owner and group may not read.
        field: Where the path stands, for messages.

    Raises:
        ConfigError: it cannot be read, is empty or no text, or others may read it. What is in it
            never stands in the error.
    """
    try:
        with open(path, "rb") as opened:
            _check_mode(os.fstat(opened.fileno()), path, field)
            data = opened.read(SECRET_BYTES_MAX + 1)
    except OSError as error:
        allowed = "a file with a secret in its first line"
        raise ConfigError(field, f"{path}: {error.strerror}", allowed) from None
    line = data.split(b"\n", 1)[0].strip()
    try:
        secret = line.decode()
    except UnicodeDecodeError:
        secret = ""
    if not secret or len(line) > SECRET_BYTES_MAX:
        allowed = f"a secret in its first line, at most {SECRET_BYTES_MAX} bytes of UTF-8"
        raise ConfigError(field, path, allowed)
    return secret


def check_private(path: Path, field: str) -> None:
    """
    Refuse a file with a secret in it that others than its owner and group may read or write.

    Raises:
        ConfigError: they may; it says what to do.
    """
    _check_mode(path.stat(), str(path), field)


def _check_mode(found: os.stat_result, path: str, field: str) -> None:
    if os.name != "posix" or path.startswith(MOUNTED):
        return
    mode = stat.S_IMODE(found.st_mode)
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise ConfigError(
            field,
            f"a secret in {path}, which everybody may {_may(mode)} (mode {mode:04o})",
            f"a file for its owner only; mend it with: chmod 600 {path}",
        )


def _may(mode: int) -> str:
    return "read" if mode & stat.S_IROTH else "write"
