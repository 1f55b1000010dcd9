"""What is missing is told: with a skip, and where CI is set, with a failure."""

from __future__ import annotations

import pytest

from tests.cluster import bridge
from tests.deployment import running
from tests.deployment.running import need

ABSENT = "a-balancer-that-nobody-has"


def test_without_the_program_a_test_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge, "why_not", lambda: None)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=f"no {ABSENT} on this machine"):
        need(ABSENT)


def test_continuous_integration_has_to_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge, "why_not", lambda: None)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=f"no {ABSENT} on this machine"):
        need(ABSENT)


def test_a_network_is_needed_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge, "why_not", lambda: "no network of one's own")
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no network of one's own"):
        need()


def test_names_of_hosts_that_are_gone_are_taken_away(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setattr(running, "NAMES", tmp_path)
    left, other = running.NAMES / "replsession-test-1-1-a", running.NAMES / "somebody-elses"
    left.mkdir()
    other.mkdir()
    running._remove_leftovers()
    assert (left.exists(), other.exists()) == (False, True)
