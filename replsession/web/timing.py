"""
How long requests take, and how much of that is ours: for who asks, at no cost for all others.

While the logger ``replsession.requests`` is at DEBUG, each exchange of an application is a timed
one, and every hundredth request writes the averages. *Source*: Tomcat's ``ReplicationValve`` with
``statistics``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from replsession.channel.log import REQUESTS
from replsession.channel.waiting import Waiter
from replsession.errors import ReplicationTimeout
from replsession.web.exchange import Exchange, Headers

REQUESTS_PER_LINE = 100


def are_wanted() -> bool:
    """Tell whether anybody wants to read of the times of requests."""
    return REQUESTS.isEnabledFor(logging.DEBUG)


class RequestTimes:
    """
    Adds up the times of one application's requests.

    Args:
        clock: Seconds of a monotonic clock.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self._requests = 0
        self._took_s = self._ours_s = 0.0

    def add(self, took_s: float, ours_s: float) -> None:
        """Count one request: how long until its response started, and how much of it was ours."""
        self._requests += 1
        self._took_s += took_s
        self._ours_s += ours_s
        if self._requests % REQUESTS_PER_LINE == 0:
            REQUESTS.debug(
                "Average request time=[%.3f] ms with cluster overhead time=[%.3f] ms for [%d] "
                "requests",
                self._took_s * 1000 / self._requests,
                self._ours_s * 1000 / self._requests,
                self._requests,
            )


class TimedExchange(Exchange):
    """
    An exchange that measures itself; what waits for other members is ours, too.

    Args:
        times: Where it is added up.
        arguments: As :class:`Exchange` takes them.
        options: The same.
    """

    __slots__ = ("_began", "_clock", "_ours_s", "_paused", "_times")

    def __init__(self, times: RequestTimes, *arguments: Any, **options: Any) -> None:
        self._times = times
        self._clock = times.clock
        self._ours_s = 0.0
        self._began = self._clock()
        super().__init__(*arguments, **options)
        self._paused = self._clock()
        self._ours_s += self._paused - self._began

    def go_on(self) -> None:
        """Measure the wait that is over; see :meth:`Exchange.go_on`."""
        self._ours_s += self._clock() - self._paused
        super().go_on()
        self._paused = self._clock()

    def start(self, headers: Headers, *, renews: bool = False) -> Waiter | None:
        """Measure the commit; see :meth:`Exchange.start`."""
        begins = self._clock()
        waiter = super().start(headers, renews=renews)
        self._paused = self._clock()
        self._ours_s += self._paused - begins
        if waiter is None:
            self._times.add(self._paused - self._began, self._ours_s)
        return waiter

    def shortfall(self, waiter: Waiter) -> ReplicationTimeout | None:
        """Measure the wait for acknowledgements; see :meth:`Exchange.shortfall`."""
        now = self._clock()
        self._ours_s += now - self._paused
        self._times.add(now - self._began, self._ours_s)
        return super().shortfall(waiter)
