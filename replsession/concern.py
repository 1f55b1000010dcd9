"""
Write concerns: how many other members must hold a write before the response may start.

=============  =====================================================  ======================
concern        waits for                                              Tomcat
=============  =====================================================  ======================
``async``      nobody: the write is on its way                        channelSendOptions 8
``one``        one other member                                       –
``majority``   so many that they and this member are more than half   –
               of all member names known
``all``        every member that is up and ready                      channelSendOptions 2, 6
=============  =====================================================  ======================

Rules of this file, as functions of numbers:

1. ``majority`` counts *names* that were seen in the last hour, and at least ``expected_members``;
   it does not shrink when members vanish. So of two halves of a partition at most one has it, and
   a process that crashed and restarted three times is one name.
2. ``all`` counts those who are up: it follows the view. Alone, a member is all there is, unless
   ``expected_members`` says otherwise.
3. What cannot be met any more fails at once instead of waiting for its time-out.

Source: Pekko's ``WriteMajority`` with its minimum, Kafka's ``min.insync.replicas``.
"""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple, TypeAlias

from replsession.config import is_number
from replsession.errors import ConfigError

Concern: TypeAlias = Literal["async", "one", "majority", "all"]
CONCERNS: Final[tuple[Concern, ...]] = ("async", "one", "majority", "all")
MEMBERS_MAX: Final = 1000
TIMEOUT_MAX_S: Final = 60.0


class Asked(NamedTuple):
    """What is asked of the other members."""

    concern: Concern = "async"
    timeout_s: float = 1.0
    expected_members: int | None = None
    """How many members the cluster is meant to have; None: as many as were seen."""


NOTHING_ASKED: Final = Asked()


def check_concern(concern: Any, timeout_s: Any, expected_members: Any) -> Asked:
    """
    Return what was asked for, checked.

    Raises:
        ConfigError: a value is not allowed.
    """
    if concern not in CONCERNS:
        raise ConfigError("concern", concern, ", ".join(map(repr, CONCERNS)))
    if not is_number(timeout_s) or not 0 < timeout_s <= TIMEOUT_MAX_S:
        raise ConfigError("ack_timeout_s", timeout_s, f"seconds above 0, at most {TIMEOUT_MAX_S:g}")
    if expected_members is not None and (
        type(expected_members) is not int or not 1 <= expected_members <= MEMBERS_MAX
    ):
        raise ConfigError("expected_members", expected_members, f"1 to {MEMBERS_MAX}, or None")
    return Asked(concern, float(timeout_s), expected_members)


def others_needed(asked: Asked, known: int, up: int) -> int:
    """
    Return how many other members must hold the write.

    Args:
        asked: The concern.
        known: Names of other members that were seen in the last hour and did not say goodbye.
        up: Names of other members that are up and ready.
    """
    expected = (asked.expected_members or 1) - 1
    match asked.concern:
        case "async":
            return 0
        case "one":
            return 1
        case "majority":
            return (max(known, expected) + 1) // 2
        case "all":
            return max(up, expected)
