"""Watching: looks again and again, in place on a terminal, one after the other in a pipe."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from replsession.cli.figures import plain
from replsession.cli.status.looks import Seen
from replsession.cli.status.report import as_json, report

INTERVAL_S_MIN: Final = 0.1
INTERVAL_S_MAX: Final = 3600.0

Looking = Callable[[Seen | None], Seen]


def looks(look: Looking, interval_s: float, pause: Callable[[float], None]) -> Iterator[Seen]:
    """Yield a look every so many seconds, each with rates since the one before."""
    before: Seen | None = None
    while True:
        began_at = time.monotonic()
        before = look(before)
        yield before
        pause(max(0.0, interval_s - (time.monotonic() - began_at)))


def watch(
    look: Looking,
    console: Console,
    *,
    interval_s: float,
    is_json: bool,
    shows_metrics: bool,
    nobody: Callable[[Seen], str],
    pause: Callable[[float], None] = time.sleep,
) -> int:
    """
    Show looks until Ctrl-C, and return the exit code of the last one.

    Args:
        look: Asks the members, given the look before.
        console: Where to show it; if it is no terminal, one report follows the other.
        interval_s: Seconds between two looks.
        is_json: Whether each is one line of JSON.
        shows_metrics: Whether all counters are shown.
        nobody: Says why nobody answered.
        pause: Waits for so many seconds.
    """
    last: Seen | None = None
    try:
        if is_json or not console.is_terminal:
            for last in looks(look, interval_s, pause):
                _print(last, console, is_json, shows_metrics, nobody)
        else:
            with Live(console=console, auto_refresh=False) as live:
                for last in looks(look, interval_s, pause):
                    # A member that starts again is found by the next look.
                    live.update(_shown(last, shows_metrics, nobody), refresh=True)
    # Both are how a watch ends: by Ctrl-C, or because the program that read it has ended.
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:
        # What could not be written is tried again when it is closed: here, or at Python's end.
        with suppress(BrokenPipeError):
            console.file.close()
    return 0 if last is None else last.exit_code


def _print(
    look: Seen,
    console: Console,
    is_json: bool,
    shows_metrics: bool,
    nobody: Callable[[Seen], str],
) -> None:
    if is_json:
        print(as_json(look), file=console.file, flush=True)
    else:
        console.print(_shown(look, shows_metrics, nobody))
        console.file.flush()


def _shown(look: Seen, shows_metrics: bool, nobody: Callable[[Seen], str]) -> RenderableType:
    return report(look, shows_metrics=shows_metrics) if look.told else Text(plain(nobody(look)))
