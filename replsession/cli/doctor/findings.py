"""A finding: one cause, what to say of it, and the words that mend it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Severity(Enum):
    """What a finding means for the members."""

    ERROR = "error"
    """Members do not see each other because of it."""
    WARNING = "warning"
    """They may not, now or later."""
    NOTE = "note"
    """Good to know."""


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One cause.

    Args:
        cause: Its id, which stays the same from version to version.
        severity: What it means.
        sentence: What is so, in one sentence.
        mend: Commands or configuration lines, any of which mends it or tells more.
        undo: Commands that take the first of *mend* back.
    """

    cause: str
    severity: Severity
    sentence: str
    mend: tuple[str, ...] = ()
    undo: tuple[str, ...] = ()


def error(
    cause: str, sentence: str, mend: tuple[str, ...] = (), undo: tuple[str, ...] = ()
) -> Finding:
    """Return a finding that keeps members apart."""
    return Finding(cause, Severity.ERROR, sentence, mend, undo)


def warning(
    cause: str, sentence: str, mend: tuple[str, ...] = (), undo: tuple[str, ...] = ()
) -> Finding:
    """Return a finding that may keep members apart."""
    return Finding(cause, Severity.WARNING, sentence, mend, undo)


def note(
    cause: str, sentence: str, mend: tuple[str, ...] = (), undo: tuple[str, ...] = ()
) -> Finding:
    """Return a finding that is only good to know."""
    return Finding(cause, Severity.NOTE, sentence, mend, undo)


def exit_code(findings: tuple[Finding, ...]) -> int:
    """Return 1 if anything was found that is more than good to know, else 0."""
    return int(any(finding.severity is not Severity.NOTE for finding in findings))
