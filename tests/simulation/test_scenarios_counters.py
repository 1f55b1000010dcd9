"""Directed scenarios: what members count and flash at the same time, or apart from one another."""

from __future__ import annotations

import cbor2
import pytest

from replsession.config import Limits
from replsession.identity import Key
from replsession.session import flashes
from replsession.session.change import Change
from replsession.session.codec import encode
from replsession.session.context import Identity, Loaded
from replsession.session.flashes import ID_BYTES, Flash
from replsession.session.record import Record
from replsession.session.session import Session
from tests.session.world import LIMITS, World
from tests.simulation.cluster import Cluster
from tests.simulation.counting import exact
from tests.simulation.process import Process
from tests.simulation.stories import agree, cluster_of, create, members, values, write
from tests.simulation.swarm import Weather

pytestmark = pytest.mark.simulation


def count(process: Process, key: Key, amount: int = 1, name: str = "hits") -> None:
    """Let a request count at a member."""
    change = Change(key, {}, increments={name: amount})
    process.post(lambda node, now: process.commit(change))


def held(process: Process, key: Key) -> Record:
    """Return what a member holds of a session."""
    record = process.node.store.peek(key)
    assert record is not None
    return record


def shown(process: Process, key: Key, name: str = "hits") -> int | None:
    """Return what a request at this member is shown."""
    found = values(process, key)
    assert found is not None
    return cbor2.loads(found[name]) if name in found else None


def exactly(cluster: Cluster, key: Key, value: int | None) -> None:
    """Assert that all members agree, and show this number, which the oracle adds up, too."""
    agree(cluster)
    assert [shown(process, key) for process in cluster.live()] == [value] * len(cluster.live())
    exact(cluster.copies(), [key], cluster.oracle, cluster.alive_members())


def flash(process: Process, key: Key, *texts: str) -> None:
    """Let a request flash texts at a member; a text is its own id."""
    made = tuple(Flash(text.encode().ljust(ID_BYTES), "m", encode("", text)) for text in texts)
    process.post(lambda node, now: process.commit(Change(key, {}, flashed=made)))


def waiting(process: Process, key: Key) -> list[str]:
    """Return the texts that wait at a member."""
    record = process.open(key)
    assert record is not None
    return [flash.id.decode().strip() for flash in record.values().flashes]


def pop(process: Process, key: Key, *texts: str) -> None:
    """Let a request at a member take texts away that it was shown."""
    gone = tuple(text.encode().ljust(ID_BYTES) for text in texts)
    process.post(lambda node, now: process.commit(Change(key, {}, popped=gone)))


def flash_bytes(process: Process, key: Key) -> int:
    """Return how much all that was ever flashed takes of a member's record."""
    record = process.open(key)
    assert record is not None
    return sum(
        len(write.value or b"")
        for name, write in record.attributes.items()
        if name.startswith(flashes.PREFIX)
    )


class TestCounting:
    def test_two_halves_count_and_lose_nothing(self) -> None:
        cluster = cluster_of()
        a, b, c = members(cluster)
        key = create(a)
        count(a, key, 10)
        cluster.run(1.0)
        pairs = cluster.pairs(["a"], ["b", "c"])
        cluster.network.cut(pairs)
        for _ in range(5):
            count(a, key)
            count(b, key, 2)
            count(c, key, -1)
            cluster.run(2.0)
        assert [shown(process, key) for process in (a, b, c)] == [15, 15, 15]
        cluster.network.mend(pairs)
        cluster.run(10.0)
        exactly(cluster, key, 20)

    def test_a_burst_at_one_member_adds_up(self) -> None:
        # The window is shut: their deltas become one.
        cluster = cluster_of(limits=Limits(window_bytes=1), weather=Weather((0.05, 0.06)))
        a, b, _ = members(cluster)
        key = create(a)
        cluster.run(1.0)
        for _ in range(20):
            count(a, key)
        count(b, key, 100)
        cluster.run(2.0)
        exactly(cluster, key, 120)

    def test_a_writer_that_starts_again_goes_on_counting(self) -> None:
        cluster = cluster_of()
        a, b, _ = members(cluster)
        key = create(b)
        cluster.run(1.0)
        count(a, key, 3)
        cluster.run(1.0)
        cluster.crash("a")
        cluster.run(1.0)
        again = cluster.start("a")
        cluster.run(5.0)
        count(again, key, 4)
        cluster.run(1.0)
        exactly(cluster, key, 7)

    def test_counts_that_nobody_was_told_die_with_their_writer_alone(self) -> None:
        cluster = cluster_of()
        a, b, _ = members(cluster)
        key = create(b)
        cluster.run(1.0)
        count(a, key, 3)
        cluster.run(1.0)
        cluster.network.cut(cluster.pairs(["a"], ["b", "c"]))
        count(a, key, 50)
        cluster.run(0.1)
        cluster.crash("a")
        count(b, key, 4)
        cluster.run(8.0)
        exactly(cluster, key, 7)

    def test_who_took_another_name_goes_on_in_another_register(self) -> None:
        # docs/design.md, rule 7.
        cluster = cluster_of()
        a, _, _ = members(cluster)
        key = create(a)
        count(a, key, 3)
        cluster.run(1.0)
        before = a.node.writer
        a.node.reaper.given_up[key] = None
        a.post(lambda node, now: None)
        count(a, key, 4)
        assert a.node.writer != before
        cluster.run(1.0)
        exactly(cluster, key, 7)

    def test_a_joiner_is_given_the_sum(self) -> None:
        cluster = cluster_of("abc", started=False)
        a = cluster.start("a")
        b = cluster.start("b")
        cluster.run(3.0)
        key = create(a)
        cluster.run(1.0)
        for number in range(1, 5):
            count(a, key, number)
            count(b, key, 10 * number)
        cluster.run(1.0)
        cluster.start("c")
        cluster.run(5.0)
        exactly(cluster, key, 110)


class TestEpochs:
    def test_an_assignment_beats_what_was_counted_before_it(self) -> None:
        cluster = cluster_of()
        a, b, _ = members(cluster)
        key = create(a)
        count(a, key, 5)
        count(b, key, 6)
        cluster.run(1.0)
        assert write(b, key, hits=encode("", 100))
        assert shown(b, key) == 100
        cluster.run(1.0)
        exactly(cluster, key, 100)
        count(a, key)
        count(b, key)
        cluster.run(1.0)
        exactly(cluster, key, 102)

    def test_an_assignment_that_was_lost_with_its_writer_loses_no_count(self) -> None:
        limits = Limits(window_bytes=1, outbox_deltas_max=1)
        cluster = cluster_of(limits=limits, weather=Weather((0.05, 0.06)))
        a, b, c = members(cluster)
        key = create(a)
        cluster.run(1.0)
        count(a, key, 5)
        cluster.run(1.0)
        # The first leaves; then the window is shut, and the assignment is thrown away.
        create(a, 2)
        assert write(a, key, hits=encode("", 40))
        create(a, 3)
        count(a, key, 2)
        cluster.run(0.2)
        cluster.crash("a")
        cluster.run(8.0)
        assert "hits" not in held(b, key).attributes
        assert [shown(process, key) for process in (b, c)] == [42, 42]
        exactly(cluster, key, 42)

    def test_what_is_counted_while_somebody_assigns_goes_with_what_is_replaced(self) -> None:
        cluster = cluster_of()
        a, b, c = members(cluster)
        key = create(a, cart=b"\x01", hits=encode("", 10))
        cluster.run(1.0)
        pairs = cluster.pairs(["a"], ["b", "c"])
        cluster.network.cut(pairs)
        count(a, key, 5)
        assert write(b, key, hits=encode("", 0))
        cluster.run(0.5)
        count(c, key, 3)
        assert [shown(process, key) for process in (a, b, c)] == [15, 0, 3]
        cluster.network.mend(pairs)
        cluster.run(10.0)
        exactly(cluster, key, 3)

    def test_of_two_assignments_the_later_one_counts_with_what_was_counted_on_it(self) -> None:
        cluster = cluster_of()
        a, b, _ = members(cluster)
        key = create(a)
        cluster.run(1.0)
        pairs = cluster.pairs(["a"], ["b", "c"])
        cluster.network.cut(pairs)
        assert write(b, key, hits=encode("", 1000))
        count(b, key, 7)
        cluster.run(1.0)
        assert write(a, key, hits=encode("", 0))
        count(a, key, 2)
        cluster.network.mend(pairs)
        cluster.run(10.0)
        exactly(cluster, key, 2)

    def test_a_removal_begins_anew(self) -> None:
        cluster = cluster_of()
        a, b, _ = members(cluster)
        key = create(a)
        count(a, key, 5)
        cluster.run(1.0)
        assert write(b, key, hits=None)
        cluster.run(1.0)
        exactly(cluster, key, None)
        count(a, key, 2)
        count(b, key, 1)
        cluster.run(1.0)
        exactly(cluster, key, 3)

    def test_a_count_whose_base_is_not_here_yet_stands_for_it(self) -> None:
        # c has the register of a's count already, and not yet what that was counted on.
        cluster = cluster_of()
        a, _, c = members(cluster)
        key = create(a)
        cluster.run(1.0)
        record = a.node.store.get(key)
        assert record is not None
        assert write(a, key, hits=encode("", 40))
        count(a, key, 2)
        whole = dict(record.attributes)
        held = c.node.store.get(key)
        assert held is not None
        for name in [name for name in whole if name.startswith("\0+")]:
            held.attributes[name] = whole[name]
        held.plain = None
        assert shown(c, key) == 42
        cluster.run(2.0)
        exactly(cluster, key, 42)

    def test_what_is_no_number_hides_the_counts(self) -> None:
        cluster = cluster_of()
        a, b, _ = members(cluster)
        key = create(a)
        count(a, key, 5)
        cluster.run(1.0)
        assert write(a, key, hits=encode("", "many"))
        count(b, key)
        cluster.run(1.0)
        agree(cluster)
        for process in members(cluster):
            found = values(process, key)
            assert found is not None
            assert found["hits"] == encode("", "many")


class Worlds(World):
    """Sessions of requests to one member."""

    def __init__(self, process: Process) -> None:
        super().__init__()
        self.process = process

    def request(self, key: Key) -> Session:
        """Return the session of a request."""
        record = self.process.open(key)
        assert record is not None
        identity = Identity(key, b"s" * 16, "token")
        return Session.attached(self, Loaded(identity, record.values(), 0.0, 0.0, LIMITS))

    def apply(self, session: Session) -> tuple[Change, ...]:
        """Commit what changed, at the member."""
        changes = session.seal()
        for change in changes:
            self.process.post(lambda node, now, change=change: self.process.commit(change))  # type: ignore[misc]
        if changes:
            session.committed()
        return changes


class TestRequests:
    def test_a_request_that_commits_often_counts_once(self) -> None:
        cluster = cluster_of()
        a, _, _ = members(cluster)
        key = create(a)
        cluster.run(1.0)
        world = Worlds(a)
        session = world.request(key)
        session.increment("hits", 3)
        for number in range(3):
            session["number"] = number
            session.seal()
            world.apply(session)
        cluster.run(1.0)
        exactly(cluster, key, 3)

    def test_two_requests_that_overlap_at_one_member_both_count(self) -> None:
        cluster = cluster_of()
        a, _, _ = members(cluster)
        key = create(a)
        cluster.run(1.0)
        world = Worlds(a)
        one, two = world.request(key), world.request(key)
        assert [one.increment("hits"), two.increment("hits"), one.increment("hits")] == [1, 1, 2]
        one.flash("one")
        two.flash("two")
        world.apply(one)
        world.apply(two)
        cluster.run(1.0)
        exactly(cluster, key, 3)
        assert world.request(key).peek_flash("message") == ["one", "two"]


class TestFlashes:
    def test_two_halves_flash_and_keep_both(self) -> None:
        cluster = cluster_of()
        a, b, c = members(cluster)
        key = create(a)
        cluster.run(1.0)
        pairs = cluster.pairs(["a"], ["b", "c"])
        cluster.network.cut(pairs)
        flash(a, key, "first")
        cluster.run(0.5)
        flash(b, key, "second")
        cluster.run(0.5)
        flash(a, key, "third")
        cluster.network.mend(pairs)
        cluster.run(10.0)
        agree(cluster)
        assert all(waiting(p, key) == ["first", "second", "third"] for p in (a, b, c))

    def test_a_pop_takes_what_it_has_seen_and_no_more(self) -> None:
        cluster = cluster_of()
        a, b, c = members(cluster)
        key = create(a)
        cluster.run(1.0)
        flash(a, key, "seen")
        cluster.run(1.0)
        pairs = cluster.pairs(["a"], ["b", "c"])
        cluster.network.cut(pairs)
        pop(b, key, *waiting(b, key))
        flash(a, key, "unseen")
        assert waiting(a, key) == ["seen", "unseen"]
        cluster.network.mend(pairs)
        cluster.run(10.0)
        agree(cluster)
        assert all(waiting(p, key) == ["unseen"] for p in (a, b, c))
        flash(b, key, "late")
        pop(b, key, "unseen")
        cluster.run(1.0)
        assert all(waiting(p, key) == ["late"] for p in (a, b, c))

    def test_nothing_is_left_of_what_was_popped(self) -> None:
        cluster = cluster_of()
        a, b, _ = members(cluster)
        key = create(a)
        for number in range(12):
            flash(a, key, f"a{number}")
            flash(b, key, f"b{number}")
            cluster.run(0.5)
            popper = (a, b)[number % 2]
            pop(popper, key, *waiting(popper, key))
            cluster.run(0.5)
        for process in members(cluster):
            assert waiting(process, key) == []
            assert flash_bytes(process, key) < 100
        agree(cluster)

    def test_of_too_many_the_oldest_go(self) -> None:
        cluster = cluster_of(limits=Limits(flashes_max=3))
        a, b, _ = members(cluster)
        key = create(a)
        cluster.run(1.0)
        flash(a, key, "1", "2")
        cluster.run(1.0)
        flash(b, key, "3", "4")
        cluster.run(1.0)
        flash(a, key, "5")
        cluster.run(1.0)
        assert all(waiting(p, key) == ["3", "4", "5"] for p in members(cluster))
        assert sum(p.node.metrics.flashes_dropped for p in members(cluster)) == 2
        agree(cluster)
