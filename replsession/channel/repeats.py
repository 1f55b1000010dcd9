"""
The same warning again and again: written once, then counted.

::

    first                      written
    again, within interval_s   counted; at DEBUG it is written all the same
    interval_s later           "… (12 more in the last 60 s)"; if there were none, it is forgotten

1. What makes two warnings the same is their text before it is filled in, and what they are about
   (a member's name, a host, a session), never the words of whoever caused them.
2. A change of state is no warning that repeats: such lines do not come through here.
3. No timer is made for this. Whoever turns anyway, the driver with each heartbeat, or a request of
   a process alone, calls :meth:`Repeats.flush`; a warning that comes later brings its count along.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from replsession.channel.native import new_lock
from replsession.config import LOG_REPEATS_MAX, LOG_REPEATS_S
from replsession.metrics import Metrics

_OTHERS = "\0others"
_UNPRINTED = "\N{REPLACEMENT CHARACTER}"


def one_line(told: object) -> str:
    """Return what somebody else told of himself, so that it does not look like a line of ours."""
    return "".join(c if c.isprintable() else _UNPRINTED for c in str(told))


@dataclass(slots=True)
class _Seen:
    since: float
    more: int
    logger: logging.Logger
    level: int
    text: str


class Repeats:
    """
    What one member has warned of lately. Safe to use from several threads.

    Args:
        metrics: ``log_lines_suppressed`` is counted here.
        interval_s: The same warning is written at most once in so many seconds.
        kept_max: Different warnings remembered; what is beyond it is counted together by its text.
        clock: Seconds of a monotonic clock.
    """

    def __init__(
        self,
        metrics: Metrics,
        *,
        interval_s: float = LOG_REPEATS_S,
        kept_max: int = LOG_REPEATS_MAX,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._metrics = metrics
        self._interval_s = interval_s
        self._kept_max = kept_max
        self._clock = clock
        self._seen: dict[tuple[str, str], _Seen] = {}
        self._lock = new_lock()
        self._next_at = float("inf")

    def warn(
        self,
        logger: logging.Logger,
        level: int,
        about: object,
        text: str,
        *arguments: object,
        exc_info: bool = False,
    ) -> None:
        """
        Write a warning, or count it if the same one has been written lately.

        Args:
            logger: Where to.
            level: As of ``logging``.
            about: What, beside *text*, makes it the same one.
            text: With ``%s`` and the like for *arguments*, of which texts are made one line.
            exc_info: Whether the first one shows the exception that is handled.
        """
        if not logger.isEnabledFor(level):
            return
        filled = text % tuple(
            argument if isinstance(argument, int | float) else one_line(argument)
            for argument in arguments
        )
        is_first, due = self._noted(logger, level, (text, str(about)), filled)
        self._write(due)
        if is_first:
            logger.log(level, "%s", filled, exc_info=exc_info)
        elif not due:
            logger.debug("%s", filled)

    def flush(self) -> None:
        """Write what has been counted for long enough; cheap when there is nothing."""
        if self._clock() >= self._next_at:
            self._write(self._due(is_end=False))

    def finish(self) -> None:
        """Write all that was counted: nobody will turn any more."""
        self._write(self._due(is_end=True))

    def _noted(
        self, logger: logging.Logger, level: int, kind: tuple[str, str], filled: str
    ) -> tuple[bool, list[tuple[_Seen, float]]]:
        with self._lock:
            now = self._clock()
            if kind not in self._seen and len(self._seen) >= self._kept_max:
                kind = kind[0], _OTHERS
            seen = self._seen.get(kind)
            if seen is None or (not seen.more and now - seen.since >= self._interval_s):
                self._seen[kind] = _Seen(now, 0, logger, level, filled)
                self._next_at = min(self._next_at, now + self._interval_s)
                return True, []
            seen.more += 1
            seen.text = filled
            if now - seen.since < self._interval_s:
                self._metrics.log_lines_suppressed += 1
                return False, []
            # Nobody has turned since: this one brings the count along.
            return False, [self._taken(seen, now)]

    def _due(self, *, is_end: bool) -> list[tuple[_Seen, float]]:
        due: list[tuple[_Seen, float]] = []
        with self._lock:
            now = self._clock()
            for kind, seen in list(self._seen.items()):
                if not is_end and now - seen.since < self._interval_s:
                    continue
                if seen.more:
                    due.append(self._taken(seen, now))
                else:
                    del self._seen[kind]
            begun = [seen.since for seen in self._seen.values()]
            self._next_at = min(begun, default=float("inf")) + self._interval_s
        return due

    def _taken(self, seen: _Seen, now: float) -> tuple[_Seen, float]:
        counted = _Seen(seen.since, seen.more, seen.logger, seen.level, seen.text)
        took, seen.since, seen.more = now - seen.since, now, 0
        return counted, took

    @staticmethod
    def _write(due: list[tuple[_Seen, float]]) -> None:
        for seen, took_s in due:
            seen.logger.log(
                seen.level, "%s (%d more in the last %d s)", seen.text, seen.more, round(took_s)
            )
