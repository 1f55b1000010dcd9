"""
What the log says of requests: each line in one place, and no id in any of them.

A path may carry an id even where none is looked for: behind another spelling of ``;jsessionid=``,
in another segment, or where URL tracking is off.
"""

from __future__ import annotations

import logging

from replsession.channel.log import LISTENERS, MANAGER, SENDER, VALVE
from replsession.channel.repeats import Repeats
from replsession.errors import ReplicationTimeout
from replsession.web.hiding import hidden


def too_few_hold_it(repeats: Repeats, path: str, error: ReplicationTimeout) -> None:
    """Fewer members than the write concern asks for hold what a request wrote."""
    repeats.warn(
        SENDER,
        logging.WARNING,
        error.concern,
        "A response to %r started without its %s",
        hidden(path),
        error,
    )


def begun_too_late(repeats: Repeats, path: str) -> None:
    """A session was begun of which the client can't hear any more."""
    repeats.warn(
        MANAGER,
        logging.WARNING,
        path,
        "A session was begun after the response to %r had started, or without one: no id "
        "can reach the client any more, so it is not stored",
        hidden(path),
    )


def written_on_filtered_path(repeats: Repeats, path: str) -> None:
    """The valve keeps a path free of session work, and the application wrote to a session."""
    repeats.warn(
        VALVE,
        logging.INFO,
        path,
        "A session was written on a path that the valve filters: %r; the write is kept",
        hidden(path),
    )


def not_committed(repeats: Repeats) -> None:
    """What was written after the response had started can't be stored; within an ``except``."""
    repeats.warn(
        MANAGER,
        logging.ERROR,
        "",
        "A session could not be committed after its response had started",
        exc_info=True,
    )


def listener_failed(repeats: Repeats, listener: str, method: str) -> None:
    """A listener of the application raised; within an ``except``."""
    repeats.warn(
        LISTENERS,
        logging.ERROR,
        (listener, method),
        "Listener %s failed in %s",
        listener,
        method,
        exc_info=True,
    )
