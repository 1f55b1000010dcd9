"""The lines of the demo's own listener."""

from __future__ import annotations

import logging
from typing import Any, Literal

import pytest

from demo_app.listener import VALUE_CHARACTERS_MAX, LoggingListener
from replsession import SessionEvent, SessionListener

ID = "PKrX0bDq3vyUYQd5Hn2sCw7e"


def event(origin: Literal["local", "replicated"], **fields: Any) -> SessionEvent:
    return SessionEvent(ID, "/examples", origin, **fields)


@pytest.mark.parametrize("origin", ["local", "replicated"])
@pytest.mark.parametrize(
    ("method", "fields", "line"),
    [
        ("session_created", {}, f"sessionCreated('{ID}')"),
        ("session_destroyed", {"reason": "expired"}, f"sessionDestroyed('{ID}')"),
        (
            "attribute_added",
            {"name": "counter", "value": 1},
            f"attributeAdded('{ID}', 'counter', 1)",
        ),
        (
            "attribute_replaced",
            {"name": "counter", "value": 2, "old": 1},
            f"attributeReplaced('{ID}', 'counter', 2)",
        ),
        (
            "attribute_removed",
            {"name": "cart", "old": ["pen"]},
            f"attributeRemoved('{ID}', 'cart', ['pen'])",
        ),
    ],
)
def test_each_event_is_one_line(
    caplog: pytest.LogCaptureFixture,
    origin: Literal["local", "replicated"],
    method: str,
    fields: dict[str, Any],
    line: str,
) -> None:
    with caplog.at_level(logging.INFO, "replsession"):
        getattr(LoggingListener(), method)(event(origin, **fields))
    assert caplog.record_tuples == [("replsession", logging.INFO, "SessionListener: " + line)]


def test_nobody_writes_lines_of_his_own_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "replsession"):
        LoggingListener().attribute_added(event("local", name="a\nb", value="c\r\nd\x1b[31m\u2028"))
    (line,) = caplog.messages
    assert line.isprintable()


def test_a_long_value_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "replsession"):
        LoggingListener().attribute_added(event("local", name="text", value="x" * 100_000))
    (line,) = caplog.messages
    assert line.endswith("x…)")
    assert len(line) < VALUE_CHARACTERS_MAX + 100


def test_it_is_a_listener() -> None:
    listener: SessionListener = LoggingListener()
    assert listener is not None
