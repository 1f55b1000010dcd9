"""
The same cluster as a state machine: hypothesis chooses what happens, and shrinks what fails.

Random seeds find a failure in a story of a thousand steps; this finds it in few, and makes them
fewer. All checkers look after every input; in the end everything heals, and all must agree.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from replsession.config import Limits, NodeConfig, Timing
from replsession.identity import Key
from replsession.session.change import Change
from replsession.session.expiry import SessionLimits, encoded_limits
from replsession.session.record import INTERVAL, SECRET, Record
from replsession.session.stamp import NOTHING_SEEN, Seen, Stamp
from tests.simulation import checkers
from tests.simulation.checkers import Failure
from tests.simulation.cluster import Cluster
from tests.simulation.oracle import greatest_in
from tests.simulation.planted import planted
from tests.simulation.process import Answer, Process
from tests.simulation.stories import key_of

pytestmark = [pytest.mark.simulation, pytest.mark.timeout(300)]

MEMBERS = "abc"
FOR_EVER = encoded_limits(SessionLimits(None, None))
SETTLE_S = 30.0
LIMITS = Limits(
    value_bytes_max=1000,
    frame_bytes_max=64 * 1024,
    chunk_bytes=200,
    piece_bytes=60,
    window_bytes=300,
    outbox_deltas_max=4,
    outbox_bytes_max=2000,
    warm_records_max=2,
)
members = st.sampled_from(MEMBERS)
sessions = st.integers(0, 2)
names = st.sampled_from(["x", "y"])
values = st.binary(min_size=1, max_size=3) | st.none() | st.just(bytes(120))


class ClusterMachine(RuleBasedStateMachine):
    """Three members, three sessions, and one browser with a token for each."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster(7, tuple(MEMBERS), NodeConfig(LIMITS, Timing()))
        self.cuts: list[list[tuple[str, str]]] = []
        self.tokens: dict[Key, Seen] = {}

    @initialize()
    def start(self) -> None:
        self.cluster.start_all()

    def _up(self, name: str) -> Process | None:
        process = self.cluster.processes[name]
        return process if process.is_alive and not process.is_paused else None

    def _asked(self, name: str, session: int, then: Callable[[Process, Record], None]) -> None:
        process, key = self._up(name), key_of(session)
        if process is None:
            return

        def answered(answer: Answer) -> None:
            if answer.record is not None:
                then(process, answer.record)

        seen = self.tokens.get(key, NOTHING_SEEN)
        process.post(lambda node, now: process.ask(key, seen, answered))

    @rule(name=members, session=sessions)
    def create(self, name: str, session: int) -> None:
        process, key = self._up(name), key_of(session)
        if process is not None and key not in self.cluster.oracle.stories:
            writes: dict[str, bytes | None] = {SECRET: b"s" * 16, INTERVAL: FOR_EVER, "x": b"\0"}
            process.post(lambda node, now: process.commit(Change(key, writes, birth=True)))

    @rule(name=members, session=sessions, attribute=names, value=values)
    def write(self, name: str, session: int, attribute: str, value: bytes | None) -> None:
        key = key_of(session)

        def commit(process: Process, record: Record) -> None:
            committed = process.commit(Change(key, {attribute: value}), greatest_in(record))
            if committed is not None:
                self.tokens[key] = Seen(committed.seen(), 0)

        self._asked(name, session, commit)

    @rule(name=members, session=sessions)
    def invalidate(self, name: str, session: int) -> None:
        key = key_of(session)

        def end(process: Process, record: Record) -> None:
            process.commit(Change(key, {}, destroy=True), greatest_in(record))

        self._asked(name, session, end)

    @rule(seconds=st.sampled_from([0.003, 0.05, 0.4, 4.0]))
    def wait(self, seconds: float) -> None:
        self.cluster.run(seconds)

    @rule(name=members)
    def crash_or_start(self, name: str) -> None:
        process = self.cluster.processes[name]
        if process.is_alive:
            self.cluster.crash(name)
        else:
            self.cluster.start(name)

    @rule(name=members)
    def pause_or_resume(self, name: str) -> None:
        process = self.cluster.processes[name]
        if process.is_alive and process.is_paused:
            self.cluster.resume(name)
        elif process.is_alive:
            self.cluster.pause(name)

    @rule(one=members, other=members, both_ways=st.booleans())
    def cut(self, one: str, other: str, both_ways: bool) -> None:
        if one != other:
            cut = self.cluster.pairs if both_ways else self.cluster.one_way
            self.cuts.append(cut([one], [other]))
            self.cluster.network.cut(self.cuts[-1])

    @precondition(lambda self: self.cuts)
    @rule()
    def mend(self) -> None:
        self.cluster.network.mend(self.cuts.pop())

    @rule(name=members)
    def reset(self, name: str) -> None:
        process = self._up(name)
        if process is not None:
            for end in self.cluster.network.ends_of(process):
                self.cluster.network.reset(end, "connection reset")

    @invariant()
    def bounds_are_kept(self) -> None:
        for process in self.cluster.live():
            checkers.bounds(process.name, process.node)

    def teardown(self) -> None:
        while self.cuts:
            self.mend()
        for process in list(self.cluster.processes.values()):
            if process.is_paused and process.is_alive:
                self.cluster.resume(process.name)
        due = self._due()
        for name in MEMBERS:
            if name in self.cluster.processes and not self.cluster.processes[name].is_alive:
                self.cluster.start(name)
        self.cluster.run(SETTLE_S)
        copies = self.cluster.copies()
        if copies:
            checkers.ready(copies)
            checkers.agree(copies)
            checkers.newest(copies, due)
            checkers.lost(copies, due, self.cluster.oracle)

    def _due(self) -> dict[Key, dict[str, Stamp]]:
        copies, alive = self.cluster.copies(), self.cluster.alive_members()
        due: dict[Key, dict[str, Stamp]] = {}
        for key in self.cluster.oracle.stories:
            records = [copy.records[key] for copy in copies if key in copy.records]
            if any(checkers.is_served(record) for record in records):
                due[key] = self.cluster.oracle.newest(key, alive, records)
        return due


PLAN = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def test_no_sequence_of_steps_breaks_a_promise() -> None:
    run_state_machine_as_test(ClusterMachine, settings=PLAN)


def test_a_planted_bug_is_found_by_steps() -> None:
    # Without shrinking, which is for people; and the same examples each time: so few of them see
    # the bug that by luck none of some hundred does.
    quick = settings(PLAN, max_examples=1500, phases=[Phase.generate], derandomize=True)
    with planted("last_arrival_wins"), pytest.raises(Failure):
        run_state_machine_as_test(ClusterMachine, settings=quick)
