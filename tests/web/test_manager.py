"""The manager: one application's sessions are found, committed, logged and told."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest

from replsession.channel import member as member_module
from replsession.channel.channel import Channel
from replsession.channel.member import StateMissing
from replsession.concern import Asked, Concern
from replsession.errors import SessionTooLarge, UnserializableAttribute
from replsession.messages import Deltas
from replsession.session.change import Change
from replsession.session.context import Identity, Loaded
from replsession.session.expiry import SessionLimits
from replsession.session.record import SECRET
from replsession.session.session import Session
from replsession.session.stamp import Seen
from replsession.web.listeners import SessionEvent
from replsession.web.manager import Pending
from tests.web.rooms import App, cookie_in, name_of, started
from tests.web.wired import Wired


class Text(str):
    pass


class Thing:
    """May not be stored."""


class Told:
    """A listener that writes down what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, SessionEvent]] = []

    def session_created(self, event: SessionEvent) -> None:
        """Write it down."""
        self.events.append(("created", event))

    def session_destroyed(self, event: SessionEvent) -> None:
        """Write it down."""
        self.events.append(("destroyed", event))

    def attribute_added(self, event: SessionEvent) -> None:
        """Write it down."""
        self.events.append(("added", event))

    def attribute_replaced(self, event: SessionEvent) -> None:
        """Write it down."""
        self.events.append(("replaced", event))

    def attribute_removed(self, event: SessionEvent) -> None:
        """Write it down."""
        self.events.append(("removed", event))

    @property
    def short(self) -> list[tuple[str, str | None]]:
        """Kind and attribute of each event."""
        return [(kind, event.name) for kind, event in self.events]


class Clock:
    """The monotonic clock of members, moved by hand."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def monotonic(self) -> float:
        """Return the time."""
        return time.monotonic() + self.ahead_s

    def time(self) -> float:
        """Return Unix seconds."""
        return time.time() + self.ahead_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that is put in the place of that of members."""
    moved = Clock()
    monkeypatch.setattr(member_module, "time", moved)
    return moved


def test_a_session_is_found_by_its_token() -> None:
    app = App()
    token = app.born(n=1, cart=[{"price": 2}])
    loaded = app.manager.find([token])
    assert isinstance(loaded, Loaded)
    assert (loaded.identity.token, sorted(loaded.values)) == (name_of(token), ["cart", "n"])
    assert not any(name.startswith("\0") for name in loaded.values)
    assert app.read(token) == {"n": 1, "cart": [{"price": 2}]}


def test_the_first_text_that_is_known_counts() -> None:
    app = App()
    token, other = app.born(n=1), app.born(n=2)
    unknown = App().born(n=3)
    forged = token[:-1] + ("A" if token[-1] != "A" else "B")
    before = app.manager.metrics.as_dict()

    loaded = app.manager.find([forged, "x", unknown, token, other])

    assert isinstance(loaded, Loaded) and loaded.identity.token == name_of(token)
    after = app.manager.metrics
    assert (after.opens - before["opens"], after.tokens_unknown - before["tokens_unknown"]) == (
        2,
        1,
    )


@pytest.mark.parametrize("text", ["", "x", "null", "." * 83, "a" * 10_000, "é" * 83, "\n"])
def test_a_text_that_we_did_not_sign_asks_nobody(text: str) -> None:
    app = App()
    assert app.manager.find([text]) is None
    assert (app.manager.metrics.opens, app.manager.metrics.tokens_unknown) == (0, 0)


def test_a_text_stands_for_names_whether_or_not_they_are_known() -> None:
    app = App()
    identity = app.manager.new_identity()
    opens = app.manager.metrics.opens
    assert app.manager.identity(identity.token) == identity
    assert app.manager.identity(app.born(n=1)) is not None
    for text in ("", "nonsense", App(secrets=("another",)).born(n=1)):
        assert app.manager.identity(text) is None
    assert app.manager.metrics.opens == opens


def test_the_first_secret_signs_and_all_verify() -> None:
    channel = Channel(None)
    old = App(secrets=("old",), channel=channel)
    both = App(secrets=("new", "old"), channel=channel)
    new = App(secrets=("new",), channel=channel)
    token = old.born(n=1)
    assert both.manager.find([token]) is not None
    assert new.manager.find([token]) is None
    assert new.manager.find([both.born(n=2)]) is not None


def test_applications_share_sessions_by_their_context() -> None:
    channel = Channel(None)
    shop, other = App(context="/shop", channel=channel), App(context="/other", channel=channel)
    token = shop.born(n=1)
    assert other.manager.find([token]) is None
    assert App(context="/shop", channel=channel).manager.find([token]) is not None


# Tokens, and what their clients have seen.


def test_a_token_is_the_signed_name_and_what_was_seen() -> None:
    manager = App().manager
    identity, member = manager.new_identity(), b"memberid"
    token = manager.token(identity, Seen({member: 5}, 5))

    assert token.startswith(f"{identity.token}.")
    assert manager._signer.verify(token) == (identity, Seen({member: 5}, 5))


def test_a_printed_token_is_covered_by_the_next_commit_alone() -> None:
    app = App()
    exchange = app.request(app.born(n=1))
    identity = exchange.session.committed_identity
    assert identity is not None
    verified = app.manager._signer.verify(app.manager.printed_token(identity))
    assert verified is not None
    record = next(iter(app.channel.member.node.store.records()))
    (writer,) = record.version
    before = record.version[writer]
    exchange.session["n"] = 2
    started(exchange)

    assert verified[0] == identity
    assert before < verified[1].version[writer] < record.version[writer]


def test_what_was_promised_is_committed_though_nothing_changed() -> None:
    app = App()
    session = app.request(app.born(n=1)).session
    assert app.manager.commit(session) is None
    committed = app.manager.commit(session, is_printed=True)

    assert committed is not None
    assert dict(session) == {"n": 1}
    assert not session.modified


@pytest.mark.parametrize("ended", [True, False])
def test_where_there_is_no_session_nothing_was_promised(ended: bool) -> None:
    app = App()
    session = app.request(app.born(n=1) if ended else None).session
    if ended:
        session.clear()
        assert app.manager.commit(session) is not None
    commits = app.manager.metrics.commits

    assert app.manager.commit(session, is_printed=True) is None
    assert app.manager.metrics.commits == commits


def test_a_promise_to_a_session_that_others_have_ended_is_void() -> None:
    app = App()
    token = app.born(n=1)
    reader, ender = app.request(token), app.request(token)
    assert dict(reader.session) == {"n": 1}
    ender.session.clear()
    started(ender)

    assert app.manager.commit(reader.session, is_printed=True) is None


def test_a_session_that_others_may_have_is_pending(monkeypatch: pytest.MonkeyPatch) -> None:
    wired = Wired(monkeypatch, 1, 2)
    wired.network.hold("m1", Deltas)
    one, two = wired.app("m1").manager, wired.app("m2").manager
    token, other = wired.app("m1").born(n=1), App().born(n=2)
    found = two.find(["forged", token, other])
    assert isinstance(found, Pending)
    assert (found.rest, found.identity.token) == ([other], name_of(token))
    assert two.metrics.tokens_unknown == 0
    wired.network.run(1.0)
    assert found.waiter.is_over
    loaded = two.found_at_last(found)

    assert isinstance(loaded, Loaded) and loaded.identity == found.identity
    assert one.metrics.tokens_unknown == two.metrics.tokens_unknown == 0


def test_when_a_wait_comes_to_nothing_the_next_text_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    wired = Wired(monkeypatch, 1, 2)
    app = wired.app("m2")
    known = app.born(n=1)
    found = app.manager.find([App().born(n=2), known])
    assert isinstance(found, Pending)
    wired.network.run(1.0)
    loaded = app.manager.found_at_last(found)

    assert isinstance(loaded, Loaded) and loaded.identity.token == name_of(known)
    assert app.manager.metrics.tokens_unknown == 1


def test_a_member_without_its_state_can_not_say_what_there_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wired = Wired(monkeypatch)
    wired.add(1)
    manager = wired.app("m1").manager
    found = manager.find([App().born(n=1)])
    assert isinstance(found, Pending)
    with pytest.raises(StateMissing):
        manager.found_at_last(found)
    wired.network.run(1.5)

    assert manager.found_at_last(found) is None


@pytest.mark.parametrize("concern", ["one", "majority", "all"])
def test_a_commit_with_a_concern_says_for_whom_to_wait(
    concern: Concern, monkeypatch: pytest.MonkeyPatch
) -> None:
    wired = Wired(monkeypatch, 1, 2)
    app = wired.app("m1")
    exchange = app.request()
    exchange.session["n"] = 1
    committed = app.manager.commit(exchange.session, Asked(concern))
    assert committed is not None and committed.waiter is not None

    assert committed.waiter.ticket.is_met
    assert committed.waiter.ticket.asked.concern == concern


def test_names_of_new_sessions_never_repeat_and_a_rotation_keeps_the_key() -> None:
    manager = App().manager
    identities = [manager.new_identity() for _ in range(200)]
    for part in (lambda i: i.key, lambda i: i.secret_hash, lambda i: i.token):
        assert len({part(identity) for identity in identities}) == 200  # type: ignore[no-untyped-call]
    rotated = manager.new_secret(identities[0])
    assert rotated.key == identities[0].key
    assert rotated.secret_hash != identities[0].secret_hash
    assert rotated.token != identities[0].token


def test_an_id_is_current_until_it_is_rotated_or_its_session_ends() -> None:
    app = App()
    token = app.born(n=1)
    exchange = app.request(token)
    identity = exchange.session.committed_identity
    assert identity is not None
    opens = app.manager.metrics.opens
    assert app.manager.is_current(identity)
    assert app.manager.metrics.opens == opens

    exchange.session.rotate_id()
    started(exchange)
    rotated = exchange.session.committed_identity
    assert rotated is not None
    assert (app.manager.is_current(identity), app.manager.is_current(rotated)) == (False, True)

    exchange.session.clear()
    exchange.proceed()
    assert not app.manager.is_current(rotated)
    assert not app.manager.is_current(Identity(app.manager.new_identity().key, b"", ""))


def test_members_keep_only_a_hash_of_the_secret_part() -> None:
    app = App()
    token = app.born(n=1)
    record = next(iter(app.channel.member.node.store.records()))
    identity = app.request(token).session.committed_identity
    assert identity is not None
    assert record.value(SECRET) == identity.secret_hash
    assert token not in repr(identity)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("x", Thing(), "'x' (tests.web.test_manager.Thing)"),
        ("cart", [1, {"price": Thing()}], "'cart[1].price' (tests.web.test_manager.Thing)"),
        ("x", Text(), "'x' (tests.web.test_manager.Text (it would come back as str))"),
    ],
)
@pytest.mark.parametrize("found", [True, False])
def test_a_value_that_may_not_be_stored_is_logged(
    name: str, value: Any, told: str, found: bool, caplog: pytest.LogCaptureFixture
) -> None:
    app = App()
    exchange = app.request(app.born(n=1) if found else None)
    commits = app.manager.metrics.commits
    exchange.session[name] = value
    exchange.session["n"] = 2

    with pytest.raises(UnserializableAttribute, match="what may be stored: None, bool"):
        app.manager.commit(exchange.session)

    session_id = exchange.session.id
    assert session_id is not None
    shown = session_id[:8] if found else "(new)"
    assert caplog.record_tuples == [
        (
            "replsession.manager",
            logging.ERROR,
            f"Unable to serialize attribute {told} of session {shown}",
        )
    ]
    assert app.manager.metrics.commits == commits


def test_a_session_that_is_too_large_is_refused_whole() -> None:
    app = App()
    token = app.born(n=1)
    exchange = app.request(token)
    exchange.session["x"] = "x" * 300_000
    exchange.session["n"] = 2
    with pytest.raises(SessionTooLarge):
        app.manager.commit(exchange.session)
    assert app.read(token) == {"n": 1}


def test_what_commit_returns() -> None:
    app = App()
    exchange = app.request()
    assert app.manager.commit(exchange.session) is None
    exchange.session["n"] = 1
    secret_hash = hash_committed(app, exchange.session)
    identity = exchange.session.committed_identity
    assert identity is not None
    assert secret_hash == identity.secret_hash
    assert app.manager.commit(exchange.session) is None

    late = app.request(identity.token)
    exchange.session.rotate_id()
    assert hash_committed(app, exchange.session) not in (b"", secret_hash)
    late.session["m"] = 2
    rotated = exchange.session.committed_identity
    assert rotated is not None
    assert hash_committed(app, late.session) == rotated.secret_hash

    exchange.session.clear()
    assert hash_committed(app, exchange.session) == b""
    late.session["m"] = 3
    assert (app.manager.commit(late.session), late.session.was_lost) == (None, True)


def hash_committed(app: App, session: Session) -> bytes:
    """Commit, and return the hash of the current id's secret part, as the commit tells it."""
    committed = app.manager.commit(session)
    assert committed is not None
    assert committed.waiter is None
    return committed.secret_hash


def test_ending_what_has_ended_already_finds_nothing() -> None:
    app = App()
    token = app.born(n=1)
    first, second = app.request(token), app.request(token)
    first.session.clear()
    assert hash_committed(app, first.session) == b""
    second.session.clear()
    assert (app.manager.commit(second.session), second.session.was_lost) == (None, True)


def test_a_session_that_follows_one_that_has_ended_already_is_born() -> None:
    told = Told()
    app = App(told)
    token = app.born(n=1)
    first, second = app.request(token), app.request(token)
    first.session.clear()
    started(first)
    second.session.clear()
    second.session["n"] = 2
    new = cookie_in(started(second))
    assert new is not None
    assert app.read(new) == {"n": 2}


def test_listeners_are_told_in_the_request() -> None:
    told = Told()
    app = App(told)
    token = app.born(a=1, b=2)
    exchange = app.request(token)
    session_id = exchange.session.id
    assert [(e.session_id, e.origin) for _, e in told.events] == [(session_id, "local")] * 3

    exchange.session["a"] = 3
    del exchange.session["b"]
    exchange.session["c"] = [4]
    started(exchange)
    exchange.session["c"].append(5)
    exchange.proceed()

    assert [(kind, e.name, e.value, e.old) for kind, e in told.events] == [
        ("created", None, None, None),
        ("added", "a", 1, None),
        ("added", "b", 2, None),
        ("replaced", "a", 3, 1),
        ("removed", "b", None, 2),
        ("added", "c", [4], None),
        ("replaced", "c", [4, 5], [4]),
    ]


def test_a_value_in_an_event_is_a_copy() -> None:
    told = Told()
    app = App(told)
    token = app.born(cart=[1])
    told.events[1][1].value.append("listener")
    assert app.read(token) == {"cart": [1]}


def test_reading_tells_nothing() -> None:
    told = Told()
    app = App(told)
    token = app.born(a=1)
    del told.events[:]
    started(app.request(token))
    app.read(token)
    assert told.events == []


def test_listeners_hear_of_an_end_and_of_the_session_after_it() -> None:
    told = Told()
    app = App(told)
    token = app.born(a=1)
    exchange = app.request(token)
    old_id = exchange.session.id
    exchange.session.clear()
    exchange.session["b"] = 2
    started(exchange)
    assert told.short[2:] == [("destroyed", None), ("created", None), ("added", "b")]
    assert told.events[2][1].session_id == old_id
    assert told.events[2][1].reason == "invalidated"
    assert {e.session_id for _, e in told.events[3:]} == {exchange.session.id} != {old_id}


def test_with_a_rotation_listeners_hear_the_new_id() -> None:
    told = Told()
    app = App(told)
    exchange = app.request(app.born(a=1))
    old_id = exchange.session.id
    exchange.session.rotate_id()
    exchange.session["user"] = "anna"
    started(exchange)
    kind, event = told.events[-1]
    assert (kind, event.name) == ("added", "user")
    assert event.session_id == exchange.session.id != old_id


def test_what_was_not_committed_is_not_told() -> None:
    told = Told()
    app = App(told)
    token = app.born(a=1)
    late, refused = app.request(token), app.request(token)
    app_end = app.request(token)
    refused.session["x"] = Thing()
    refused.session["a"] = 5
    with pytest.raises(UnserializableAttribute):
        started(refused)
    app_end.session.clear()
    started(app_end)
    late.session["a"] = 2
    late.session.clear()
    started(late)
    assert told.short == [("created", None), ("added", "a"), ("destroyed", None)]


def test_an_undecodable_attribute_is_logged_counted_and_left_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = App()
    token = app.born(good=1, bad=2)
    loaded = app.manager.find([token])
    assert isinstance(loaded, Loaded)
    app.channel.commit((Change(loaded.identity.key, {"bad": b"\xff"}),))
    exchange = app.request(token)

    assert dict(exchange.session) == {"good": 1}

    session_id = exchange.session.id
    assert session_id is not None
    assert caplog.messages[0].startswith(
        f"Unable to decode attribute 'bad' of session {session_id[:8]}:"
    )
    assert session_id not in caplog.text
    assert app.manager.metrics.values_undecodable == 1


@pytest.mark.parametrize(
    ("limits", "ahead_s", "lives"),
    [
        (SessionLimits(60, None), 59, True),
        (SessionLimits(60, None), 61, False),
        (SessionLimits(None, None), 10**7, True),
        (SessionLimits(None, 60), 61, False),
        (SessionLimits(0, None), 0, False),
    ],
)
def test_a_session_is_over(
    limits: SessionLimits, ahead_s: float, lives: bool, clock: Clock
) -> None:
    app = App(limits=limits)
    token = app.born(n=1)
    clock.ahead_s = ahead_s
    assert (app.manager.find([token]) is not None) is lives


def test_each_request_keeps_a_session_alive_but_not_beyond_its_lifetime(clock: Clock) -> None:
    app = App(limits=SessionLimits(60, 200))
    token = app.born(n=1)
    for _ in range(3):
        clock.ahead_s += 50
        assert app.read(token) == {"n": 1}
    clock.ahead_s += 51
    assert app.manager.find([token]) is None


def test_a_session_has_the_interval_it_was_given(clock: Clock) -> None:
    app = App(limits=SessionLimits(60, None))
    token = app.born(n=1)
    exchange = app.request(token)
    assert exchange.session.max_inactive_interval == 60
    exchange.session.max_inactive_interval = 500
    started(exchange)
    clock.ahead_s = 400
    later = app.request(token)
    assert later.session.max_inactive_interval == 500
    assert dict(later.session) == {"n": 1}


def test_times_of_a_session(clock: Clock) -> None:
    app = App()
    before = clock.time()
    token = app.born(n=1)
    clock.ahead_s = 100
    app.read(token)
    clock.ahead_s = 300
    session = app.request(token).session
    assert session.created_at is not None and session.last_accessed_at is not None
    assert session.created_at - before == pytest.approx(0, abs=30)
    assert session.last_accessed_at - session.created_at == pytest.approx(100, abs=30)


def test_listeners_hear_that_a_session_has_expired(clock: Clock) -> None:
    told = Told()
    app = App(told, limits=SessionLimits(60, None))
    exchange = app.request(app.born(n=1))
    session_id = exchange.session.id
    del told.events[:]
    clock.ahead_s = 200
    # A process alone has no timer: requests keep the time, and each may look at one bucket.
    for _ in range(600):
        clock.ahead_s += 1
        app.manager.find([app.born(n=2)])
        if ("destroyed", None) in told.short:
            break
    _, event = next(pair for pair in told.events if pair[0] == "destroyed")
    assert (event.session_id, event.reason, event.origin) == (session_id, "expired", "local")


def test_a_counter_and_a_session_s_own_expiry_are_there_for_the_next_request() -> None:
    told = Told()
    app = App(told)
    token = app.born(a=1)
    del told.events[:]
    one, two = app.request(token), app.request(token)
    assert (one.session.increment("hits"), two.session.increment("hits", 2)) == (1, 2)
    one.session.set_expiry(500)
    started(one)
    token = cookie_in(started(two)) or ""
    session = app.request(token).session
    assert dict(session) == {"a": 1, "hits": 3}
    assert session.max_inactive_interval == 500
    # Each request tells what it sees.
    assert [(kind, e.name, e.value, e.old) for kind, e in told.events] == [
        ("added", "hits", 1, None),
        ("added", "hits", 2, None),
    ]
