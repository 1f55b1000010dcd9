"""
A TOML file as a configuration, and the other way.

::

    [replsession]
    cluster = "lan:shop"
    secret_file = "shop.secret"
    valve = '.*\\.gif;.*\\.css'
    concern = "one"

All stands in one table. ``false`` is what None is in Python. Relative paths are relative to the
file.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from replsession.errors import ConfigError
from replsession.settings.configuration import (
    CONTROL,
    IN_CODE,
    KINDS,
    SECRET,
    SECRET_FILE,
    Configuration,
    nearest,
)
from replsession.settings.secrets import check_private

TABLE: Final = "replsession"
FILE_BYTES_MAX: Final = 1024 * 1024
"""No configuration is as long as that; what is, is another file."""


def read(path: str | os.PathLike[str], table: str = TABLE) -> Configuration:
    """
    Return what a file says.

    Args:
        path: Of the file, at most ``FILE_BYTES_MAX``.
        table: Its table that is meant, as ``replsession`` or ``tool.replsession``.

    Raises:
        ConfigError: the file cannot be read, has no such table, has a name in it that is not known
            or a value that is not of its kind; or has a secret and others may read it.
    """
    file = Path(path)
    values: dict[str, Any] = {}
    written: dict[str, str] = {}
    for name, given in _table(file, table).items():
        where = f"{file}: {name}"
        kind = KINDS.get(name)
        if kind is None:
            # Not the value: it may be a secret under another name.
            raise ConfigError(
                where, f"a {type(given).__name__}", IN_CODE.get(name) or nearest(name, KINDS)
            )
        try:
            values[name] = kind.convert(given)
        except ValueError:
            shown = f"a {type(given).__name__}" if name == SECRET else given
            raise ConfigError(where, shown, kind.says) from None
        written[name] = where
    if SECRET in values:
        check_private(file, written[SECRET])
    if SECRET_FILE in values:
        values[SECRET_FILE] = os.path.join(file.parent, values[SECRET_FILE])
    if values.get(CONTROL) not in (None, "auto"):
        values[CONTROL] = os.path.abspath(os.path.join(file.parent, values[CONTROL]))
    return Configuration(values, written)


def _table(file: Path, table: str) -> Mapping[str, Any]:
    try:
        with file.open("rb") as opened:
            data = opened.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(str(file), error.strerror, "a TOML file that can be read") from None
    if len(data) > FILE_BYTES_MAX:
        raise ConfigError(str(file), "more", f"a TOML file of at most {FILE_BYTES_MAX} bytes")
    try:
        found: Any = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise ConfigError(str(file), str(error), "TOML") from None
    for part in table.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        raise ConfigError(str(file), "no such table", f"a table [{table}]")
    return found


def to_toml(configuration: Configuration, *, shows_secret: bool = False, table: str = TABLE) -> str:
    """
    Return the text of a file that says the same.

    Args:
        configuration: Of whatever place.
        shows_secret: Whether its secret stands in the text; else a comment says that there is one.
        table: What the table is called.
    """
    lines = [f"# {remark}" for remark in configuration.remarks]
    if lines:
        lines.append("")
    lines.append(f"[{table}]")
    for name in KINDS:
        if name not in configuration.values:
            continue
        if name == SECRET and not shows_secret:
            lines += [
                "# There is a secret, which is not shown. Put it into the first line of a file",
                "# that only its owner may read, and name that here:",
                '# secret_file = "replsession.secret"',
            ]
        else:
            lines.append(f"{name} = {_text_of(configuration.values[name])}")
    return "\n".join(lines) + "\n"


def _text_of(value: Any) -> str:
    if value is None:
        return "false"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], int):
        return _text_of(f"{value[0]}:{value[1]}")
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_text_of, value))}]"
    if isinstance(value, str):
        return _quoted(value)
    return repr(value)


def _quoted(text: str) -> str:
    if "\\" in text and "'" not in text and text.isprintable():
        return f"'{text}'"
    # JSON's escapes are TOML's, which wants one more.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
