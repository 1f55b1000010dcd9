"""
For the logs of the servers: no ids of sessions in them.

An access log has the paths that clients sent, and with URL tracking an id is part of the path:
whoever reads the log has the session. Our own log has no such ids. In one line, in the module of
the application::

    replsession.logging.hide_session_ids()

or in the configuration of a server's log, on its handlers::

    {"filters": {"hide": {"()": "replsession.logging.HideSessionIds"}}, …}

docs/log.md has it for each server.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from replsession.web.hiding import COOKIE_NAME, PARAMETER_NAME, hiding

SERVER_LOGGERS = (
    "uvicorn.access",
    "uvicorn.error",
    "gunicorn.access",
    "gunicorn.error",
    "hypercorn.access",
    "hypercorn.error",
    "granian.access",
    "_granian",
    "django.server",
    "django.request",
    "werkzeug",
    "waitress",
    "waitress.queue",
    "wsgi",
)
"""Loggers of servers whose lines may have paths in them; ``wsgi`` is that of Paste's TransLogger,
which is often put around what waitress serves."""

_OF_RECORDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_PLAIN = (int, float, type(None))
_KEEP_ARGUMENTS = "uvicorn.access"
"""Its formatter takes the arguments apart, so they must stay five."""


class HideSessionIds(logging.Filter):
    """
    A filter that lets every record pass, without the ids of sessions.

    They go from message and arguments, from what was added with ``extra``, and from the text of
    exceptions: path parameters in any spelling, percent-encoded too, query, ``Referer``, cookies.
    Of an id of ours the first 8 characters stay that our own log shows: ``jsessionid=istJeHi5***``.
    It changes the record itself, so all handlers that come later get it without.

    Args:
        name: As of ``logging.Filter``: only records of this logger and those below it; empty: all.
        cookie: Name of the session's cookie, or several names.
        parameter: Name of the path parameter, or several names.
    """

    def __init__(
        self,
        name: str = "",
        cookie: str | Sequence[str] = COOKIE_NAME,
        parameter: str | Sequence[str] = PARAMETER_NAME,
    ) -> None:
        super().__init__(name)
        self._hide = hiding((*_names(parameter), *_names(cookie)))

    def filter(self, record: logging.LogRecord) -> bool:
        """Take the ids out of a record; it always passes."""
        if not super().filter(record):
            return True
        if record.args:
            record.args = self._arguments(record.args)
            self._look_again(record)
        else:
            record.msg = self._hidden(record.msg)
        self._hide_exception(record)
        for name in vars(record).keys() - _OF_RECORDS:
            setattr(record, name, self._hidden(getattr(record, name)))
        return True

    def _arguments(self, arguments: Any) -> Any:
        if not isinstance(arguments, Mapping):
            return tuple(map(self._hidden, arguments))
        # As gunicorn and hypercorn do it, whose dicts know more than what is in them.
        copied = copy.copy(arguments)
        if isinstance(copied, dict):
            for key, value in copied.items():
                dict.__setitem__(copied, key, self._hidden(value))
        return copied

    def _look_again(self, record: logging.LogRecord) -> None:
        # A name in the message, and the value in an argument.
        if record.name == _KEEP_ARGUMENTS:
            return
        message = _message_of(record)
        hidden = self._hide(message)
        if hidden != message:
            record.msg, record.args = hidden, None

    def _hide_exception(self, record: logging.LogRecord) -> None:
        if record.exc_info and not record.exc_text:
            text = logging.Formatter().formatException(record.exc_info)
            hidden = self._hide(text)
            if hidden != text:
                record.exc_text = hidden
        elif record.exc_text:
            record.exc_text = self._hide(record.exc_text)
        if record.stack_info:
            record.stack_info = self._hide(record.stack_info)

    def _hidden(self, value: Any) -> Any:
        if isinstance(value, str):
            # The very class, as a subclass may be more than its text.
            hidden = self._hide(value)
            return value if hidden == value else hidden
        if isinstance(value, bytes):
            return self._hide(value.decode("latin-1")).encode("latin-1")
        if isinstance(value, _PLAIN):
            return value
        try:
            texts = str(value), repr(value)
        except Exception:  # noqa: BLE001 - whoever writes the record finds it, too, and says so
            return value
        text, shown = map(self._hide, texts)
        return value if (text, shown) == texts else text


def hide_session_ids(
    cookie: str | Sequence[str] = COOKIE_NAME,
    parameter: str | Sequence[str] = PARAMETER_NAME,
    loggers: Sequence[str] = SERVER_LOGGERS,
) -> None:
    """
    Put the filter on the loggers of servers; to be called once, where the application is made.

    Servers set their log up before they load an application, so it stays. Calling it again
    replaces the filter.

    Args:
        cookie: Name of the session's cookie, or several names.
        parameter: Name of the path parameter, or several names.
        loggers: Names of loggers; those of the servers that are known.
    """
    made = HideSessionIds(cookie=cookie, parameter=parameter)
    for name in loggers:
        logger = logging.getLogger(name)
        for old in [one for one in logger.filters if isinstance(one, HideSessionIds)]:
            logger.removeFilter(old)
        logger.addFilter(made)


def _message_of(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - whoever writes the record finds it, too, and says so
        return ""


def _names(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)
