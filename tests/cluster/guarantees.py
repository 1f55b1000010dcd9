"""
What one browser may expect to see, whichever member answers it: checkers beside ``history.py``.

They need cookies that say what the browser has seen.

Source: Terry et al., "Session Guarantees for Weakly Consistent Replicated Data", 1994.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from tests.cluster.history import History, Operation, Place, Violation, Write, told


def fresh(history: History) -> Iterator[Violation]:
    """
    FRESH: a browser reads what it has written, and what the answers to its writes have shown.

    So much is in its cookie, which answers to writes renew. An answer may say that it is stale;
    after that the browser may expect what that answer showed.
    """
    for operation, name, write, instead in _steps_back(history, reads_count=False):
        if operation.status == 200:
            yield told(operation, "FRESH", f"{name} had {write.token} before, not {instead}")


def known(history: History) -> Iterator[Violation]:
    """KNOWN: no member calls a living session unknown, or it says that it may be wrong."""
    for operation, name, write, _ in _steps_back(history, reads_count=False):
        if operation.status == 404:
            yield told(operation, "KNOWN", f"unknown, but {name} had {write.token} before")


def monotonic(history: History) -> Iterator[Violation]:
    """MONOTONIC: nor does a browser see older values than those it has only read before."""
    for operation, name, write, instead in _steps_back(history, reads_count=True):
        if operation.status == 200:
            yield told(operation, "MONOTONIC", f"{name} had {write.token} before, not {instead}")


def _steps_back(
    history: History, *, reads_count: bool
) -> Iterator[tuple[Operation, str, Write, str | None]]:
    """
    Yield answers that are behind what their browser had seen before and do not say so.

    Each with the first attribute that is behind, the write seen before, and what is there instead.

    Args:
        history: To look at.
        reads_count: Whether what an answer to a mere read showed has been seen.
    """
    for (_, session), operations in history.by_browser.items():
        seen: dict[str, list[Write]] = defaultdict(list)
        for operation in operations:
            if operation.status not in (200, 404) or _was_ended(history, session, operation):
                continue
            shown = _shown(history, session, operation)
            if operation.stale:
                seen.clear()
            elif (behind := _first_behind(history, seen, shown)) is not None:
                yield operation, *behind
            if reads_count or operation.stale or operation.kind == "append":
                for name, write in shown.items():
                    seen[name].append(write)


def _first_behind(
    history: History, seen: Mapping[str, Sequence[Write]], shown: Mapping[str, Write]
) -> tuple[str, Write, str | None] | None:
    for name, expected in seen.items():
        found = shown.get(name)
        for write in expected:
            if found is None or history.is_older(found, write):
                return name, write, None if found is None else found.token
    return None


def _shown(history: History, session: str, operation: Operation) -> dict[str, Write]:
    """Return the write that each attribute in an answer is the result of."""
    found: dict[str, Write] = {}
    for name, tokens in operation.values.items():
        for write in history.writes.get(Place(session, name), ()):
            if tokens and write.token == tokens[-1]:
                found[name] = write
    return found


def _was_ended(history: History, session: str, operation: Operation) -> bool:
    return any(end.start <= operation.end for end in history.ends.get(session, ()))
