"""Sessions for people: ids shortened, times as ages, and nothing that can play with a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from rich.box import SIMPLE
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from replsession.cli.figures import NOTHING, duration, number, plain, size
from replsession.cli.sessions.pages import Session
from replsession.identity import short

NAMES_SHOWN = 3
"""Names of attributes in a row; the rest is a number."""


def table_of(sessions: Iterable[Session], wall_s: float) -> Table:
    """
    Return a table of sessions.

    Args:
        sessions: As a member told them.
        wall_s: Unix seconds now, of this host's clock, as the ages in it are approximate.
    """
    table = Table(box=SIMPLE, collapse_padding=True, pad_edge=False)
    for column in ("id", "application", "principal"):
        table.add_column(column, overflow="fold")
    for column in ("age", "idle", "ends in", "size"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("attributes")
    for one in sessions:
        table.add_row(
            short(one["id"]),
            plain(one["context"]),
            NOTHING if one["principal"] is None else plain(one["principal"]),
            _ago(one["created_at"], wall_s),
            _ago(one["last_accessed_at"], wall_s),
            _left(one, wall_s),
            size(one["bytes"]),
            _names(one["attributes"]),
        )
    return table


def parts_of(one: Session, wall_s: float) -> Iterator[RenderableType]:
    """Yield one session in whole; its values only where it has them."""
    owner = "nobody's" if one["principal"] is None else f"{plain(one['principal'])}'s"
    yield Text(f"Session {one['id']} of {plain(one['context'])}, {owner}")
    begun, used = (_ago(one[name], wall_s) for name in ("created_at", "last_accessed_at"))
    yield Text(f"begun {begun} ago, used {used} ago, ends in {_left(one, wall_s)}")
    if not one["sizes"]:
        yield Text("It holds nothing.")
        return
    table = Table(box=SIMPLE)
    table.add_column("attribute")
    table.add_column("size", justify="right", no_wrap=True)
    if one["values"]:
        table.add_column("value", overflow="fold")
    for name, octets in sorted(one["sizes"].items()):
        value = [Text(plain(one["values"].get(name, "")))] if one["values"] else []
        table.add_row(Text(plain(name)), size(octets), *value)
    yield table


def _names(names: list[Any]) -> Text:
    shown = [plain(name) for name in sorted(names)[:NAMES_SHOWN]]
    more = [f"and {number(len(names) - NAMES_SHOWN)} more"] if len(names) > NAMES_SHOWN else []
    return Text(", ".join(shown + more))


def _ago(unix_s: float, wall_s: float) -> str:
    return duration(max(0.0, wall_s - unix_s))


def _left(one: Session, wall_s: float) -> str:
    if one["expires_at"] is None:
        return "never"
    return duration(max(0.0, one["expires_at"] - wall_s))
