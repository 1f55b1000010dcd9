"""The checkers see what they are for: each planted bug is caught, and by whom is said here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import pytest

from replsession.errors import WireError
from replsession.replication.peers import Peers
from replsession.session.stamp import HLC_MAX
from tests.simulation import test_scenarios_counters as counters
from tests.simulation import test_scenarios_expiry as expiry
from tests.simulation import test_scenarios_join as join
from tests.simulation import test_scenarios_membership as membership
from tests.simulation import test_scenarios_principals as principals
from tests.simulation import test_scenarios_repair as repair
from tests.simulation import test_scenarios_sessions as sessions
from tests.simulation import test_scenarios_waits as waits
from tests.simulation.checkers import Failure
from tests.simulation.planted import PLANTED, planted
from tests.simulation.ranges import verdict_of
from tests.simulation.run import run_seed
from tests.simulation.swarm import Swarm, draw

pytestmark = [pytest.mark.simulation, pytest.mark.timeout(180)]

SEEDS_MAX = 60
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


def joins_in_many_chunks(swarm: Swarm) -> bool:
    """Donors die in the middle of transfers."""
    return "crash_donor" in swarm.faults and swarm.config.limits.chunk_bytes <= 500


def joins_and_loses_frames(swarm: Swarm) -> bool:
    """Both: some chunk is missing between two others."""
    return joins_in_many_chunks(swarm) and loses_frames(swarm)


def exchanges_in_many_steps(swarm: Swarm) -> bool:
    """Repair takes several messages for what fits into one with other bounds."""
    limits = swarm.config.limits
    return limits.chunk_bytes <= 500 and limits.repair_digests_max <= 4


def is_mortal(swarm: Swarm) -> bool:
    """Sessions end by themselves."""
    return swarm.is_mortal


def is_mortal_and_skewed(swarm: Swarm) -> bool:
    """The same, and two clocks are an hour apart."""
    return is_mortal(swarm) and is_skewed(swarm)


CAUGHT: dict[str, tuple[Callable[[Swarm], bool], set[str]]] = {
    "last_arrival_wins": (any_swarm, {"HONEST", "NEWEST", "AGREE"}),
    "no_repair": (any_swarm, {"AGREE", "LOST"}),
    "unknown_dropped": (any_swarm, {"ACKS"}),
    "tombstone_forgotten_early": (any_swarm, {"QUIET", "LOST", "RESURRECT", "HEARD", "HONEST"}),
    "rule_1": (is_long, {"RESURRECT", "HEARD"}),
    "rule_1_one_scalar": (is_long_and_skewed, {"LOST"}),
    "rule_2": (is_long, {"LEAK"}),
    "rule_5": (any_swarm, {"PARTIAL"}),
    "rule_6_derived_version": (any_swarm, {"HONEST"}),
    "rule_6_last_piece": (loses_pieces, {"HONEST"}),
    "rule_6_last_piece_in_repair": (exchanges_in_many_steps, {"HONEST"}),
    "rule_9": (is_skewed, {"ACKS", "AGREE", "LOST"}),
    "rule_12_access_in_digest": (any_swarm, {"QUIET", "AGREE", "BOUNDS"}),
    "rule_12_last_since": (any_swarm, {"GAPS"}),
    "rule_12_cumulative_acknowledgement": (loses_frames, {"ACKS"}),
    "clock_not_raised": (any_swarm, {"CAUSAL", "HONEST"}),
    "version_at_gap": (any_swarm, {"HONEST"}),
    "joined_under_one_stamp": (any_swarm, {"REAL"}),
    "unbounded_outbox": (is_narrow, {"BOUNDS"}),
    "repair_not_answered": (any_swarm, {"AGREE", "LOST"}),
    "left_keys_forgotten": (exchanges_in_many_steps, {"EXACT"}),
    "repair_one_way_only": (any_swarm, {"EXACT"}),
    "settled_too_early": (exchanges_in_many_steps, {"EXACT"}),
    "leaves_left_out": (exchanges_in_many_steps, {"EXACT"}),
    "rule_6_pieces_believed_in_repair": (exchanges_in_many_steps, {"HONEST"}),
    "bucket_skipped": (joins_in_many_chunks, {"STATE"}),
    "bucket_counted_early": (joins_in_many_chunks, {"STATE"}),
    "missing_chunk_unseen": (joins_and_loses_frames, {"STATE"}),
    "readiness_unheard": (any_swarm, {"READY"}),
    "end_joined_as_a_delta": (is_narrow, {"CRASH"}),
    "everything_buried": (any_swarm, {"LOST"}),
    "tokens_not_compared": (any_swarm, {"FRESH"}),
    "token_clock_not_raised": (any_swarm, {"CAUSAL"}),
    "unknown_at_once": (any_swarm, {"FOUND"}),
    "waits_without_end": (any_swarm, {"PROMPT"}),
    "acknowledged_with_gaps": (loses_frames, {"HELD"}),
    "any_batch_acknowledges": (any_swarm, {"HELD"}),
    "sent_counts_as_held": (any_swarm, {"HELD"}),
    "suspicion_never_ends": (any_swarm, {"BOUNDS"}),
    "relay_echoes": (any_swarm, {"BOUNDS", "QUIET"}),
    "rule_3_never_dropped": (is_mortal, {"LEAK"}),
    "rule_3_wakes_by_itself": (is_mortal, {"FLAP"}),
    "rule_4_clocks_decide": (is_mortal_and_skewed, {"EXPIRED", "EARLY", "AGREE", "QUIET"}),
    "rule_4_old_ones_taken": (is_mortal, {"FLAP"}),
    "rule_4_notice_obeyed": (is_mortal, {"EARLY"}),
    "rule_4_accesses_untold": (is_mortal, {"EARLY"}),
    "unbounded_sleep": (is_mortal, {"BOUNDS"}),
    "judged_at_requests_only": (any_swarm, {"PRINCIPAL"}),
    "ends_without_reason": (any_swarm, {"PRINCIPAL"}),
    "counts_of_the_last_arrival": (any_swarm, {"HONEST", "COUNT", "NEWEST", "AGREE"}),
    "count_begun_at_zero": (any_swarm, {"COUNT"}),
    "epoch_ignored": (any_swarm, {"COUNT"}),
    "counted_on_what_was_replaced": (any_swarm, {"COUNT"}),
    "pop_takes_all": (any_swarm, {"FLASH"}),
    "pops_unheeded": (any_swarm, {"FLASH"}),
}
SCENARIOS: dict[str, Callable[[], None]] = {
    "count_begun_at_zero": counters.TestCounting().test_a_burst_at_one_member_adds_up,
    "one_register_for_all": counters.TestCounting().test_two_halves_count_and_lose_nothing,
    "counted_at_every_seal": counters.TestRequests().test_a_request_that_commits_often_counts_once,
    "epoch_ignored": counters.TestEpochs().test_an_assignment_beats_what_was_counted_before_it,
    "counted_on_what_was_replaced": (
        counters.TestEpochs().test_an_assignment_beats_what_was_counted_before_it
    ),
    "base_lost_with_its_writer": (
        counters.TestEpochs().test_an_assignment_that_was_lost_with_its_writer_loses_no_count
    ),
    "counter_of_the_old_name": (
        counters.TestCounting().test_who_took_another_name_goes_on_in_another_register
    ),
    "pop_takes_all": counters.TestFlashes().test_a_pop_takes_what_it_has_seen_and_no_more,
    "one_list_of_flashes": counters.TestFlashes().test_two_halves_flash_and_keep_both,
    "pops_remembered": counters.TestFlashes().test_nothing_is_left_of_what_was_popped,
    "flashes_unbounded": counters.TestFlashes().test_of_too_many_the_oldest_go,
    "strangers_given_up": waits.TestFreshness().test_writer_that_was_never_met_may_be_on_its_way,
    "token_of_the_version_alone": (
        waits.TestFreshness().test_what_was_shown_after_a_gap_is_in_the_token
    ),
    "any_answer_answers": (
        waits.TestFreshness().test_answer_from_before_it_came_there_does_not_make_it_unknown
    ),
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
    "left_keys_forgotten": lambda: (
        repair.TestDiffering().test_a_round_trip_for_each_record_and_all_agree_after_one_round(
            repair.TINY
        )
    ),
    "lost_member_unheeded": lambda: (
        repair.TestDyingWriter().test_survivors_level_out_at_once_when_it_dies_between_two_frames(
            "abc"
        )
    ),
    "bucket_skipped": lambda: (
        join.TestDonorDies().test_at_every_chunk_and_the_next_one_sends_the_rest(5)
    ),
    "joined_from_nothing": lambda: (
        join.TestDonorDies().test_at_every_chunk_and_the_next_one_sends_the_rest(5)
    ),
    "rule_3_dropped": expiry.TestSleeping().test_write_in_the_half_that_went_idle_is_not_lost,
    "rule_3_dropped_early": (
        expiry.TestSleeping().test_write_in_the_half_that_went_idle_is_not_lost
    ),
    "rule_3_joiners_not_counted": (
        expiry.TestSleeping().test_member_that_is_not_ready_must_be_told_as_well
    ),
    "rule_3_not_woken": expiry.TestNotices().test_a_fresher_access_is_the_answer_and_wakes,
    "rule_3_not_transferred": expiry.TestSleeping().test_joiner_is_given_what_sleeps_as_sleeping,
    "rule_3_not_given": (
        expiry.TestSleeping().test_who_lacks_something_of_a_sleeping_session_gets_it
    ),
    "rule_3_pieces_kept": (
        expiry.TestSleeping().test_record_of_which_pieces_were_dropped_claims_nothing
    ),
    "rule_4_latest_estimate": expiry.TestAges().test_news_that_were_held_back_make_no_access_later,
    "rule_4_stamps_decide": (
        expiry.TestAges().test_clocks_an_hour_apart_neither_lose_nor_prolong_a_session
    ),
    "rule_4_notice_obeyed": expiry.TestNotices().test_a_fresher_access_is_the_answer_and_wakes,
    "rule_4_notice_unanswered": (
        expiry.TestAges().test_clocks_an_hour_apart_neither_lose_nor_prolong_a_session
    ),
    "rule_4_another_access_told": (
        expiry.TestAges().test_access_here_is_told_though_a_fast_clock_names_an_older_one
    ),
    "rule_4_first_access_untold": (
        expiry.TestAges().test_first_access_here_is_told_however_fresh_the_session_looks
    ),
    "rule_4_accesses_elsewhere_stand_for_ours": (
        expiry.TestAges().test_request_counts_though_an_access_elsewhere_looks_as_fresh
    ),
    "rule_7": expiry.TestNames().test_who_dropped_what_only_it_had_goes_on_under_another_name,
    "rule_7_joined_over_names": (
        expiry.TestNames().test_writes_from_before_and_after_stay_apart_while_the_window_is_shut
    ),
    "clock_follows_to_the_end": lambda: (
        expiry.TestPoisonedClock().test_who_was_shown_the_end_of_time_is_refused_by_nobody(
            HLC_MAX - 1
        )
    ),
    "rule_10": (
        principals.TestEndOfAll().test_a_session_begun_on_the_other_side_of_a_cut_ends_when_they_meet
    ),
    "rule_10_one_scalar": principals.TestEndOfAll().test_two_ends_in_two_halves_both_count,
    "rule_10_login_stamp": lambda: (
        principals.TestEndOfAll().test_clocks_an_hour_apart_change_nothing((0.0, 3600.0))
    ),
    "epochs_buried": (principals.TestEndOfAll().test_what_is_forgotten_of_others_does_not_bury_it),
    "joined_under_one_stamp": (
        sessions.TestWriting().test_write_while_the_window_is_shut_does_not_pass_a_concurrent_one
    ),
    "testimony_ignored": (
        membership.TestPartialCut().test_pair_that_cannot_meet_stays_in_view_and_shares_every_write
    ),
    "last_words_count": (
        membership.TestSuspicion().test_dead_host_is_gone_and_no_testimony_of_its_last_words_counts
    ),
    "own_pause_unnoticed": (
        membership.TestSuspicion().test_process_that_hung_while_it_suspected_begins_anew
    ),
    "departed_come_back": (
        membership.TestGoodbye().test_neighbour_who_has_not_heard_the_goodbye_brings_nobody_back
    ),
    "unreachable_for_ever": membership.TestPartialCut().test_who_dies_behind_another_one_is_gone,
    "neighbours_untold": membership.TestHints().test_halves_that_never_met_merge_over_one_seed,
    "seeds_given_up": membership.TestHints().test_member_alone_looks_for_its_seed_for_ever,
    "dead_link_stays": membership.TestSuspicion().test_link_that_one_end_lost_is_replaced_at_once,
    "old_link_kept": membership.TestGoodbye().test_restart_on_the_same_address_closes_the_old_link,
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
    with planted(bug), pytest.raises((AssertionError, Failure, WireError)):
        SCENARIOS[bug]()
    SCENARIOS[bug]()


def test_every_planted_bug_is_caught_somewhere() -> None:
    assert {*CAUGHT, *SCENARIOS} == {*PLANTED}


def test_bug_is_taken_out_again() -> None:
    before = Peers.put_for_all
    with planted("no_stream"):
        assert Peers.put_for_all is not before
    assert Peers.put_for_all is before


@pytest.mark.parametrize("seed", [seed for seed in range(30) if not draw(seed, 3).is_mortal][:12])
def test_nothing_in_the_fast_path_has_to_be_right(seed: int) -> None:
    # No delta ever leaves its writer: repair alone makes all promises true. But that a session was
    # used is no difference between two records, so those that may end by themselves need deltas.
    with planted("no_stream"):
        verdict = run_seed(seed)
    assert verdict.failure is None, verdict
