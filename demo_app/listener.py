"""The demo's log, and a listener: one line for everything that happens to a session."""

from __future__ import annotations

import logging

from replsession import SessionEvent

LOGGER = logging.getLogger("replsession")
VALUE_CHARACTERS_MAX = 200


def begin_log() -> None:
    """Write the log to standard error, each line with its time."""
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s.%(msecs)03d %(levelname)-7s %(message)s",
        datefmt="%H:%M:%S",
    )


class LoggingListener:
    """
    Logs what happens to sessions, here and on other members; there is no difference in the lines.

    Ids are logged whole. They are public ids: nobody gets into a session with one.

    Source: ``listeners.SessionListener`` of Tomcat's example application.
    """

    def session_created(self, event: SessionEvent) -> None:
        """Log that a session has begun."""
        LOGGER.info("SessionListener: sessionCreated('%s')", event.session_id)

    def session_destroyed(self, event: SessionEvent) -> None:
        """Log that a session is over."""
        LOGGER.info("SessionListener: sessionDestroyed('%s')", event.session_id)

    def attribute_added(self, event: SessionEvent) -> None:
        """Log an attribute's first value."""
        _log("attributeAdded", event, event.value)

    def attribute_replaced(self, event: SessionEvent) -> None:
        """Log an attribute's new value."""
        _log("attributeReplaced", event, event.value)

    def attribute_removed(self, event: SessionEvent) -> None:
        """Log the last value of an attribute that is gone."""
        _log("attributeRemoved", event, event.old)


def _log(what: str, event: SessionEvent, value: object) -> None:
    LOGGER.info(
        "SessionListener: %s('%s', %r, %s)", what, event.session_id, event.name, _text(value)
    )


def _text(value: object) -> str:
    # Escaped by repr, so that a value can't begin a line of its own.
    text = repr(value)
    return text if len(text) <= VALUE_CHARACTERS_MAX else text[: VALUE_CHARACTERS_MAX - 1] + "…"
