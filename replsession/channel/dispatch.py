"""
Dispatch: events of sessions to those who listen, in bounded slices, outside any request.

A listener is the application's code: it may be slow, and it may raise. So what is replicated is put
into a queue with a bound, and a slice of it is delivered at a time, between which the loop turns.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable

from replsession.channel.log import LISTENERS
from replsession.channel.repeats import Repeats
from replsession.events import Event, SessionChanged, SessionExpired
from replsession.metrics import Metrics

QUEUE_MAX = 10_000
"""Events that wait; more are dropped and counted."""
SLICE_S = 0.002
"""How long one slice may take, as far as listeners let it end."""

Receiver = Callable[[SessionChanged | SessionExpired], None]


class Dispatcher:
    """Queues of events by context, for one member."""

    def __init__(self) -> None:
        self.receivers: dict[str, Receiver] = {}
        self._queue: deque[SessionChanged | SessionExpired] = deque()

    def put(self, event: Event, metrics: Metrics, repeats: Repeats | None = None) -> None:
        """Take in an event, if it is one of sessions and somebody listens."""
        if isinstance(event, SessionChanged | SessionExpired):
            if event.key.context not in self.receivers:
                return
            if len(self._queue) >= QUEUE_MAX:
                metrics.listener_events_dropped += 1
                if repeats is not None:
                    repeats.warn(
                        LISTENERS,
                        logging.WARNING,
                        event.key.context,
                        "Manager [%s]: events for listeners are dropped, %d wait. "
                        "Possible cause: a listener that is slow",
                        event.key.context,
                        QUEUE_MAX,
                    )
                return
            self._queue.append(event)

    def deliver(self) -> bool:
        """Deliver one slice; return whether more waits."""
        end = time.monotonic() + SLICE_S
        while self._queue:
            try:
                event = self._queue.popleft()
            except IndexError:
                # A process alone delivers in its requests, of which another one was quicker.
                break
            self.receivers[event.key.context](event)
            if time.monotonic() >= end:
                break
        return bool(self._queue)
