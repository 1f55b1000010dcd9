"""Figures of a history, to print: nothing here is a promise."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import pairwise

from tests.cluster.guarantees import monotonic
from tests.cluster.history import History, Operation


def summary(history: History) -> str:
    """Return the figures of a history in a few lines."""
    operations = history.operations
    excused = [w for writes in history.writes.values() for w in writes if w.is_excused]
    kinds = Counter(f"{o.kind} {o.status or 'without answer'}" for o in operations)
    unknown = sum(o.status == 404 and o.asked not in history.ends for o in operations)
    took = [o.end - o.start for o in operations if o.status]
    return (
        f"{len(operations)} requests, {len(history.sessions)} sessions, "
        f"{len(history.ends)} of them ended; {dict(sorted(kinds.items()))}; "
        f"{unknown} times unknown though alive, {lost_appends(history)} appends to a stale copy, "
        f"{sum(o.stale for o in operations)} answers marked stale, "
        f"{sum(1 for _ in monotonic(history))} older than one before, "
        f"{overlapping(history)} writes while another browser wrote to the same session, "
        f"{len(excused)} so shortly before a kill that they might be lost; "
        f"p50 {1000 * percentile(took, 0.5):.1f} ms, p99 {1000 * percentile(took, 0.99):.1f} ms"
    )


def lost_appends(history: History) -> int:
    """Return how many answered appends the next one to the same attribute did not see."""
    lost = 0
    for writes in history.writes.values():
        answers = [write for write in writes if write.values is not None]
        for write, following in pairwise(answers):
            lost += write.token not in (following.values or ())
    return lost


def overlapping(history: History) -> int:
    """Return how many answered writes ran while another browser wrote to the same session."""
    by_session: dict[str, list[Operation]] = defaultdict(list)
    for operation in history.operations:
        if operation.kind == "append" and operation.status == 200 and operation.asked:
            by_session[operation.asked].append(operation)
    return sum(
        any(o.browser != w.browser and o.start < w.end and w.start < o.end for o in writes)
        for writes in by_session.values()
        for w in writes
    )


def percentile(durations: Iterable[float], share: float) -> float:
    """Return the duration that this share of all are below; nan for none."""
    ordered = sorted(durations)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else math.nan
