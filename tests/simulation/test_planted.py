"""The checkers see what they are for: each planted bug is caught, and by whom is said here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import pytest

from replsession.replication.peers import Peers
from tests.simulation import test_scenarios_sessions as sessions
from tests.simulation.checkers import Failure
from tests.simulation.planted import PLANTED, planted
from tests.simulation.ranges import verdict_of
from tests.simulation.run import run_seed
from tests.simulation.swarm import Swarm, draw

pytestmark = [pytest.mark.simulation, pytest.mark.timeout(180)]

SEEDS_MAX = 25
"""So many seeds whose faults fit are tried at most."""


def any_swarm(swarm: Swarm) -> bool:
    """Any faults will do."""
    return True


def is_long(swarm: Swarm) -> bool:
    """Cuts last longer than tombstones."""
    return swarm.is_long


def is_skewed(swarm: Swarm) -> bool:
    """Two clocks are an hour apart."""
    return max(swarm.skews_s) - min(swarm.skews_s) > 3000


def is_long_and_skewed(swarm: Swarm) -> bool:
    """Both."""
    return is_long(swarm) and is_skewed(swarm)


def is_narrow(swarm: Swarm) -> bool:
    """Outboxes overflow."""
    limits = swarm.config.limits
    return limits.outbox_deltas_max <= 5 and limits.window_bytes <= 300


def loses_frames(swarm: Swarm) -> bool:
    """Frames are lost, or come late."""
    return swarm.weather.frame_loss + swarm.weather.frame_late > 0


def loses_pieces(swarm: Swarm) -> bool:
    """Many records travel in pieces, and frames are lost."""
    is_cut_up = swarm.large_share > 0 and swarm.config.limits.piece_bytes <= 1000
    return is_cut_up and swarm.weather.frame_loss + swarm.weather.frame_late > 0.01


CAUGHT: dict[str, tuple[Callable[[Swarm], bool], set[str]]] = {
    "last_arrival_wins": (any_swarm, {"HONEST", "NEWEST", "AGREE"}),
    "no_repair": (any_swarm, {"AGREE", "LOST"}),
    "unknown_dropped": (any_swarm, {"ACKS"}),
    "tombstone_forgotten_early": (any_swarm, {"QUIET", "LOST", "RESURRECT", "HEARD"}),
    "rule_1": (is_long, {"RESURRECT", "HEARD"}),
    "rule_1_one_scalar": (is_long_and_skewed, {"LOST"}),
    "rule_2": (is_long, {"LEAK"}),
    "rule_5": (any_swarm, {"PARTIAL"}),
    "rule_6_derived_version": (any_swarm, {"HONEST"}),
    "rule_6_last_piece": (loses_pieces, {"HONEST"}),
    "rule_9": (is_skewed, {"ACKS", "AGREE", "LOST"}),
    "rule_12_access_in_digest": (any_swarm, {"QUIET", "AGREE", "BOUNDS"}),
    "rule_12_last_since": (any_swarm, {"GAPS"}),
    "rule_12_cumulative_acknowledgement": (loses_frames, {"ACKS"}),
    "clock_not_raised": (any_swarm, {"CAUSAL", "HONEST"}),
    "version_at_gap": (any_swarm, {"HONEST"}),
    "joined_under_one_stamp": (any_swarm, {"REAL"}),
    "unbounded_outbox": (is_narrow, {"BOUNDS"}),
    "repair_not_answered": (any_swarm, {"AGREE", "LOST"}),
    "readiness_unheard": (any_swarm, {"READY"}),
    "end_joined_as_a_delta": (is_narrow, {"CRASH"}),
    "everything_buried": (any_swarm, {"LOST"}),
}
SCENARIOS: dict[str, Callable[[], None]] = {
    "rule_1": sessions.TestLongCuts().test_sessions_of_both_halves_survive_and_ended_ones_stay_dead,
    "rule_1_one_scalar": (
        sessions.TestLongCuts().test_member_with_a_slow_clock_loses_no_session_to_what_others_forgot
    ),
    "rule_1_not_inherited": (
        sessions.TestLongCuts().test_joiner_takes_over_what_its_donor_has_forgotten
    ),
    "rule_6_last_piece": (
        sessions.TestWriting().test_record_in_pieces_whose_first_piece_is_lost_claims_nothing
    ),
    "joined_under_one_stamp": (
        sessions.TestWriting().test_write_while_the_window_is_shut_does_not_pass_a_concurrent_one
    ),
}


def seeds_for(fits: Callable[[Swarm], bool]) -> Iterator[int]:
    """Yield the first seeds whose faults fit."""
    return islice((seed for seed in range(10_000) if fits(draw(seed, 3))), SEEDS_MAX)


@pytest.mark.parametrize("bug", CAUGHT)
def test_planted_bug_is_caught_by_its_checker(bug: str) -> None:
    fits, checkers = CAUGHT[bug]
    for seed in seeds_for(fits):
        verdict = verdict_of(seed, 3, bug, calm=bug == "rule_12_last_since")
        if verdict.failure is not None:
            assert verdict.checker in checkers, verdict
            return
    pytest.fail(f"{bug} went through {SEEDS_MAX} seeds")


@pytest.mark.parametrize("bug", SCENARIOS)
def test_planted_bug_breaks_its_scenario(bug: str) -> None:
    with planted(bug), pytest.raises((AssertionError, Failure)):
        SCENARIOS[bug]()
    SCENARIOS[bug]()


def test_every_planted_bug_is_caught_somewhere() -> None:
    assert {*CAUGHT, *SCENARIOS} == {*PLANTED}


def test_bug_is_taken_out_again() -> None:
    before = Peers.put_for_all
    with planted("no_stream"):
        assert Peers.put_for_all is not before
    assert Peers.put_for_all is before


@pytest.mark.parametrize("seed", range(12))
def test_nothing_in_the_fast_path_has_to_be_right(seed: int) -> None:
    # No delta ever leaves its writer: repair alone makes all promises true.
    with planted("no_stream"):
        verdict = run_seed(seed)
    assert verdict.failure is None, verdict
