"""
When a member is silent, and when it is our own fault, as functions of numbers.

Source: Tomcat ``McastService`` (dropTime); Dadgar et al., "Lifeguard", 2018, for doubting oneself.
"""

from __future__ import annotations

from replsession.config import Timing


def is_silent(now: float, last_heard: float, timing: Timing) -> bool:
    """Tell whether nothing was heard for so long that the member has disappeared."""
    return now - last_heard >= timing.drop_after_s


def needs_ping(now: float, last_sent: float, timing: Timing) -> bool:
    """Tell whether a link was silent from our side for a heartbeat interval."""
    return now - last_sent >= timing.heartbeat_interval_s


def was_late(now: float, wanted_at: float | None, timing: Timing) -> bool:
    """
    Tell whether we were stopped ourselves: a timer came much later than it was wanted.

    Then what the others sent waits unread, and none of them may be called silent.
    """
    return wanted_at is not None and now - wanted_at > timing.late_timer_s


def heard_lately(heard_at: float, suspected_at: float, timing: Timing) -> bool:
    """
    Tell whether what another member heard of a suspect shows that it is alive.

    Only half of ``drop_after_s`` counts. A member that died is heard by all for the last time
    within two heartbeats, so at the first suspicion others may have heard it "lately" as well; one
    that lives is heard within two heartbeats of any moment. (Where ``drop_after_s`` is less than
    four heartbeats the two cannot be told apart, and a member that lives may be called gone.)
    """
    return heard_at > suspected_at - timing.drop_after_s / 2


def redial_pause(failures: int, timing: Timing) -> float:
    """Return how long to wait before the next dial after so many failures in a row."""
    return min(timing.redial_max_s, timing.redial_min_s * 2.0 ** min(failures, 16))
