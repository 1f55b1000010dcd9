"""
Valve: the paths that get no session work, because nobody keeps a session for a picture.

A path that is filtered costs nothing: no token is verified, nothing is looked up or sealed, unless
the application touches its session all the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from replsession.errors import ConfigError

DEFAULT_FILTER = r".*\.gif;.*\.js;.*\.jpg;.*\.png;.*\.css;.*\.txt;"
"""Source: Tomcat's documentation of ``ReplicationValve``."""

KNOWN_PATHS_MAX = 1024
"""Verdicts remembered; when so many are, all are forgotten, as most of them never come again."""
KNOWN_PATH_LENGTH_MAX = 512
"""A longer path is judged anew each time, so that nobody fills the memory with long ones."""

_ALLOWED = "regular expressions, in one str with semicolons between them or in a list"


class Valve:
    """
    Says whether a path gets session work.

    Args:
        filter: Regular expressions of the paths that get none: one str with semicolons between
            them, or a list in which a semicolon is part of the expression. Each must match the
            whole path. They are the application's own, so it must not write one that backtracks
            for ever. None and "" filter nothing.

    Raises:
        ConfigError: An expression is none; the error names it and says what ``re`` dislikes.
    """

    __slots__ = ("_expressions", "_known")

    def __init__(self, filter: str | Sequence[str] | None = DEFAULT_FILTER) -> None:
        self._expressions = tuple(_compiled(text) for text in _texts(filter))
        self._known: dict[str, bool] = {}

    def admits(self, path: str) -> bool:
        """
        Return True if the path gets session work.

        Args:
            path: The decoded path of the request, after an id in the URL was taken off.
        """
        known = self._known.get(path)
        return self._judge(path) if known is None else known

    def _judge(self, path: str) -> bool:
        verdict = not any(expression.fullmatch(path) for expression in self._expressions)
        if len(path) <= KNOWN_PATH_LENGTH_MAX:
            if len(self._known) >= KNOWN_PATHS_MAX:
                self._known.clear()
            self._known[path] = verdict
        return verdict

    def __repr__(self) -> str:
        return f"Valve({[expression.pattern for expression in self._expressions]!r})"


def _texts(filter: str | Sequence[str] | None) -> list[str]:
    if filter is None:
        return []
    if isinstance(filter, str):
        return [text for text in filter.split(";") if text]
    if not isinstance(filter, list | tuple):
        raise ConfigError("valve", filter, _ALLOWED)
    for text in filter:
        if not isinstance(text, str):
            raise ConfigError("valve", text, _ALLOWED)
    return [text for text in filter if text]


def _compiled(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise ConfigError("valve", text, f"{_ALLOWED} ({error})") from error
