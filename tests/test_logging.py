"""The filter for servers' logs: messages, arguments, exceptions and extras, and nothing else."""

from __future__ import annotations

import io
import json
import logging
import logging.config
from collections.abc import Iterator
from typing import Any

import pytest

from replsession.logging import SERVER_LOGGERS, HideSessionIds, hide_session_ids
from tests.web.test_hiding import ENCODED, SHOWN, TOKEN

LOGGER = "tests.access"


def record(message: Any, *arguments: Any, name: str = LOGGER, **more: Any) -> logging.LogRecord:
    """Return a record as a logger makes it, after the filter."""
    made = logging.getLogger(name).makeRecord(
        name, logging.INFO, "here.py", 1, message, arguments, more.pop("exc_info", None), **more
    )
    assert HideSessionIds().filter(made) is True
    return made


def test_what_uvicorn_hands_over() -> None:
    from uvicorn.logging import AccessFormatter

    made = record(
        '%s - "%s %s HTTP/%s" %d',
        "127.0.0.1:5000",
        "GET",
        f"/cart{ENCODED}?a=1",
        "1.1",
        200,
        name="uvicorn.access",
    )

    assert isinstance(made.args, tuple) and made.args[4] == 200
    shown = AccessFormatter("%(message)s|%(request_line)s", use_colors=False).format(made)
    path = f"/cart%3Bjsessionid%3D{SHOWN}?a=1"
    assert shown == f'127.0.0.1:5000 - "GET {path} HTTP/1.1" 200|GET {path} HTTP/1.1'


def test_what_gunicorn_hands_over() -> None:
    from gunicorn.glogging import SafeAtoms

    atoms = {
        "r": f"GET /;jsessionid={TOKEN} HTTP/1.1",
        "U": f"/;jsessionid={TOKEN}",
        "f": f"http://shop/;jsessionid={TOKEN}",
        "{cookie}i": f"session={TOKEN}",
        "D": 17,
    }
    safe = SafeAtoms(atoms)
    made = record('"%(r)s" %(U)s "%(f)s" "%({Cookie}i)s" %(D)s %(unknown)s', safe)

    assert made.getMessage() == (
        f'"GET /;jsessionid={SHOWN} HTTP/1.1" /;jsessionid={SHOWN} '
        f'"http://shop/;jsessionid={SHOWN}" "session={SHOWN}" 17 -'
    )
    assert safe["U"] == f"/;jsessionid={TOKEN}", "what belongs to the server stays as it is"


class Request:
    """An object of which a log shows the text."""

    def __str__(self) -> str:
        return f"GET /;jsessionid={TOKEN}"


class Broken:
    """An object that has no text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("message", "arguments", "shown"),
    [
        (f"GET /;jsessionid={TOKEN}", (), f"GET /;jsessionid={SHOWN}"),
        ("jsessionid=%s", ("abc",), "jsessionid=ba7816bf***"),
        ("%s", (Request(),), f"GET /;jsessionid={SHOWN}"),
        (Request(), (), f"GET /;jsessionid={SHOWN}"),
        ("%s", (f"/;jsessionid={TOKEN}".encode(),), f"b'/;jsessionid={SHOWN}'"),
        ("%d of %.1f %s", (3, 1.5, None), "3 of 1.5 None"),
        ("%(path)s", ({"path": f"/;jsessionid={TOKEN}"},), f"/;jsessionid={SHOWN}"),
        ("100%", (), "100%"),
    ],
)
def test_what_anybody_hands_over(message: Any, arguments: Any, shown: str) -> None:
    assert record(message, *arguments).getMessage() == shown


def test_a_record_that_cannot_be_written_is_left_to_its_writer() -> None:
    broken = Broken()
    made = record("%s", broken)

    assert made.args == (broken,)
    assert record("%d", "no number").args == ("no number",)


def test_exceptions_stacks_and_extras() -> None:
    try:
        raise ValueError(f"no route to /;jsessionid={TOKEN}")
    except ValueError as error:
        made = record(
            "it failed",
            exc_info=(type(error), error, error.__traceback__),
            sinfo=f"line of {TOKEN}",
            extra={"path": f"/;jsessionid={TOKEN}", "status": 500},
        )

    shown = logging.Formatter("%(message)s %(path)s %(status)d").format(made)
    assert TOKEN not in shown and TOKEN[20:38] not in shown
    assert f"ValueError: no route to /;jsessionid={SHOWN}" in shown
    assert f"it failed /;jsessionid={SHOWN} 500" in shown
    assert f"line of {SHOWN}" in shown


def test_an_exception_without_ids_is_left_alone() -> None:
    try:
        raise ValueError("plain")
    except ValueError as error:
        made = record("it failed", exc_info=(type(error), error, error.__traceback__))

    assert made.exc_text is None, "formatters of their own look at the exception itself"


def test_only_records_of_one_logger() -> None:
    filter_ = HideSessionIds("uvicorn")
    made = logging.makeLogRecord({"name": "gunicorn.access", "msg": f"session={TOKEN}"})

    assert filter_.filter(made) is True
    assert made.getMessage() == f"session={TOKEN}"


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """A handler set up by ``dictConfig`` from what could be a file of JSON."""
    file = io.StringIO()
    configuration = json.loads(
        """
        {
          "version": 1,
          "disable_existing_loggers": false,
          "filters": {
            "hide": {"()": "replsession.logging.HideSessionIds", "cookie": ["sid", "old_sid"]}
          },
          "handlers": {"out": {"class": "logging.StreamHandler", "filters": ["hide"]}},
          "loggers": {"tests.access": {"level": "INFO", "handlers": ["out"], "propagate": false}}
        }
        """
    )
    configuration["handlers"]["out"]["stream"] = file
    logging.config.dictConfig(configuration)
    yield file
    logger = logging.getLogger(LOGGER)
    logger.handlers.clear()
    logger.propagate = True


def test_a_configuration_names_it(logged: io.StringIO) -> None:
    logging.getLogger(LOGGER).info("Cookie: sid=%s; old_sid=abc; sids=abc", TOKEN)

    assert logged.getvalue() == f"Cookie: sid={SHOWN}; old_sid=ba7816bf***; sids=abc\n"


def test_one_call_puts_it_on_the_servers_loggers() -> None:
    loggers = [logging.getLogger(name) for name in SERVER_LOGGERS]
    before = [list(logger.filters) for logger in loggers]
    try:
        hide_session_ids()
        hide_session_ids(cookie="sid", parameter="shopid")
        for logger in loggers:
            (filter_,) = [one for one in logger.filters if isinstance(one, HideSessionIds)]
            made = logging.makeLogRecord({"name": logger.name, "msg": "/;shopid=a;sid=b"})
            filter_.filter(made)
            assert made.getMessage() == "/;shopid=ca978112***;sid=3e23e816***"
    finally:
        for logger, filters in zip(loggers, before, strict=True):
            logger.filters[:] = filters
