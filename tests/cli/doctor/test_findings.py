"""Findings and what they make of the exit code."""

from __future__ import annotations

from replsession.cli.doctor.findings import Severity, error, exit_code, note, warning


def test_only_what_keeps_members_apart_is_exit_code_1() -> None:
    assert exit_code(()) == 0
    assert exit_code((note("a", "b"),)) == 0
    assert exit_code((note("a", "b"), warning("c", "d"))) == 1
    assert exit_code((error("a", "b"),)) == 1


def test_what_a_finding_holds() -> None:
    finding = error("a", "b", ("mend",), ("undo",))
    assert (finding.severity, finding.mend, finding.undo) == (Severity.ERROR, ("mend",), ("undo",))
