"""The exchange where a request waits: for fresh state before it, for other members after it."""

from __future__ import annotations

import asyncio
import threading

import anyio
import pytest

from replsession.concern import Asked, Concern
from replsession.config import Timing
from replsession.errors import ConfigError, ReplicationTimeout, SessionError
from replsession.messages import Acknowledge, Deltas, RecordAnswer
from replsession.replication.freshness import Lookup
from replsession.session.session import Session
from replsession.web.exchange import Exchange, Policy, Site, Unavailable
from tests.channel.running import PATIENCE_S
from tests.harness import some_id
from tests.web.rooms import App, cookie_in, name_of, started
from tests.web.wired import Wired

HERE = Site("http", "here", "/page")
TIMING = Timing()
ERROR = Policy(stale="error")


@pytest.fixture
def wired(monkeypatch: pytest.MonkeyPatch) -> Wired:
    """Two members that are ready."""
    return Wired(monkeypatch, 1, 2)


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> Wired:
    """Three members that are ready."""
    return Wired(monkeypatch, 1, 2, 3)


def written(app: App, token: str, **values: object) -> str:
    """Let a request write; return the client's new token."""
    exchange = app.request(token)
    exchange.session.update(values)
    cookie = cookie_in(started(exchange))
    assert cookie is not None
    return cookie


def gone_on(exchange: Exchange) -> Session:
    """Go on after a wait that is over; return the session."""
    assert exchange.waiter is not None and exchange.waiter.is_over
    exchange.go_on()
    assert exchange.waiter is None
    return exchange.session


def cut_off(wired: Wired, token: str, **values: object) -> str:
    """Let the first member take a write that the second one will not get."""
    wired.network.part("m1", "m2")
    return written(wired.app("m1"), token, **values)


# Before the application.


def test_what_is_here_is_waited_for_by_nobody(wired: Wired) -> None:
    token = wired.app("m1").born(n=1)
    exchange = wired.app("m2").request(token)

    assert exchange.waiter is None
    assert (dict(exchange.session), exchange.session.stale) == ({"n": 1}, False)


def test_a_cookie_says_what_the_client_has_seen(wired: Wired) -> None:
    one, two = wired.app("m1"), wired.app("m2")
    token = one.born(n=1)
    assert list(wired.seen(one, token).version) == [some_id(1)]
    later = written(two, token, n=2)
    before, after = wired.seen(one, token).version, wired.seen(one, later).version

    assert sorted(after) == [some_id(1), some_id(2)]
    assert after[some_id(1)] == before[some_id(1)] < after[some_id(2)]
    assert name_of(later) == name_of(token)


def test_a_request_waits_for_what_its_client_has_seen(wired: Wired) -> None:
    one, two = wired.app("m1"), wired.app("m2")
    token = one.born(n=1)
    wired.network.hold("m1", Deltas)
    token = written(one, token, n=2)
    exchange = two.request(token)
    assert exchange.waiter is not None and not exchange.waiter.is_over
    wired.network.release("m1")

    session = gone_on(exchange)
    assert (dict(session), session.stale) == ({"n": 2}, False)
    assert cookie_in(started(exchange)) is None


def test_a_session_that_was_born_a_moment_ago_is_found(wired: Wired) -> None:
    wired.network.hold("m1", Deltas)
    token = wired.app("m1").born(n=1)
    exchange = wired.app("m2").request(token)
    assert exchange.waiter is not None
    wired.network.run(TIMING.fresh_wait_s)

    session = gone_on(exchange)
    assert (dict(session), session.is_new, session.stale) == ({"n": 1}, False, False)


def test_what_can_not_be_had_is_served_as_stale_and_the_cookie_asks_for_no_more(
    wired: Wired,
) -> None:
    token = wired.app("m1").born(n=1)
    token = cut_off(wired, token, n=2)
    two = wired.app("m2")
    exchange = two.request(token)
    wired.network.run(TIMING.fresh_timeout_s)
    session = gone_on(exchange)
    assert (dict(session), session.stale) == ({"n": 1}, True)

    replaced = cookie_in(started(exchange))
    assert replaced is not None and name_of(replaced) == name_of(token)
    again = two.request(replaced)
    assert again.waiter is None
    assert (dict(again.session), again.session.stale) == ({"n": 1}, False)
    # What the client writes is later than all it has seen, also of what is gone.
    assert wired.seen(two, replaced).clock >= wired.seen(two, token).clock
    assert wired.channel("m2").metrics.requests_stale == 1


def test_a_write_to_what_is_stale_is_merged_and_covers_itself(wired: Wired) -> None:
    token = cut_off(wired, wired.app("m1").born(n=1), n=2)
    two = wired.app("m2")
    exchange = two.request(token)
    wired.network.run(TIMING.fresh_timeout_s)
    gone_on(exchange)["m"] = 3
    replaced = cookie_in(started(exchange))
    assert replaced is not None
    assert wired.seen(two, replaced).version[some_id(2)] > wired.seen(two, token).clock
    wired.network.meet("m1", "m2")
    wired.network.run(10.0)

    for name in ("m1", "m2"):
        assert wired.app(name).read(replaced) == {"n": 2, "m": 3}


def test_what_is_stale_is_refused_and_the_cookie_lets_the_next_try_pass(wired: Wired) -> None:
    token = cut_off(wired, wired.app("m1").born(n=1), n=2)
    two = wired.app("m2", policy=ERROR)
    exchange = two.request(token)
    wired.network.run(TIMING.fresh_timeout_s)
    with pytest.raises(Unavailable, match="does not have the newest state of your session"):
        exchange.go_on()

    (cookie,) = exchange.refusal_headers()
    replaced = cookie_in([cookie])
    assert replaced is not None and replaced != token
    again = two.request(replaced)
    assert (again.waiter, dict(again.session)) == (None, {"n": 1})


def test_a_refusal_of_an_id_from_the_url_sets_no_cookie(wired: Wired) -> None:
    token = cut_off(wired, wired.app("m1").born(n=1), n=2)
    exchange = wired.app("m2", policy=ERROR).request(url=token, site=HERE)
    wired.network.run(TIMING.fresh_timeout_s)
    with pytest.raises(Unavailable):
        exchange.go_on()

    assert exchange.refusal_headers() == []


def test_what_all_others_call_unknown_is_unknown(wired: Wired) -> None:
    token = App(channel=None).born(n=1)
    two = wired.app("m2", policy=ERROR)
    exchange = two.request(token)
    wired.network.run(TIMING.fresh_wait_s)
    session = gone_on(exchange)

    assert (dict(session), session.is_new, session.stale) == ({}, True, False)
    assert cookie_in(started(exchange)) is None
    assert two.request(token).waiter is None, "it is remembered for a moment"
    assert two.manager.metrics.tokens_unknown == 2


@pytest.mark.parametrize("stale", ["serve", "error"])
def test_where_nobody_has_answered_it_is_not_known_to_be_unknown(wired: Wired, stale: str) -> None:
    wired.network.part("m1", "m2")
    token = wired.app("m1").born(n=1)
    exchange = wired.app("m2", policy=Policy(stale=stale)).request(token)
    wired.network.run(TIMING.fresh_timeout_s)
    assert exchange.waiter is not None and exchange.waiter.is_over
    if stale == "error":
        with pytest.raises(Unavailable):
            exchange.go_on()
        assert exchange.refusal_headers() == [], "the cookie may be good on another member"
        return
    session = gone_on(exchange)
    assert (dict(session), session.stale) == ({}, True)
    assert cookie_in(started(exchange)) is None, "nor is it taken away"


def test_a_member_without_its_state_refuses_what_it_does_not_find(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wired = Wired(monkeypatch)
    token = App().born(n=1)
    wired.add(1)
    exchange = wired.app("m1").request(token)
    lookup = exchange.waiter
    assert lookup is not None and not lookup.is_over
    # As if its driver had ended the wait before the state was there.
    lookup.finish()
    with pytest.raises(Unavailable, match="still receiving the sessions of the others"):
        exchange.go_on()
    assert exchange.refusal_headers() == []

    other = wired.app("m1").request(token)
    wired.network.run(1.5)
    assert gone_on(other).is_new, "now it knows that it is the first"


@pytest.mark.parametrize("known", [True, False])
def test_after_a_cookie_that_leads_nowhere_the_url_is_asked_for(wired: Wired, known: bool) -> None:
    one, two = wired.app("m1"), wired.app("m2")
    wired.network.hold("m1", Deltas)
    url = one.born(n="url") if known else App().born(n=1)
    exchange = two.request(App().born(n=1), url=url, site=HERE)
    for _ in range(2):
        wired.network.run(TIMING.fresh_wait_s)
        assert exchange.waiter is not None and exchange.waiter.is_over
        exchange.go_on()

    assert exchange.waiter is None
    assert dict(exchange.session) == ({"n": "url"} if known else {})
    assert not exchange.session.stale


def test_of_two_cookies_the_second_is_asked_for_when_the_first_is_unknown(wired: Wired) -> None:
    one, two = wired.app("m1"), wired.app("m2")
    wired.network.hold("m1", Deltas)
    unknown, known = App().born(n=1), one.born(n=2)
    line = f"session={unknown}; session={known}".encode()
    exchange = two.request(headers=[(b"cookie", line)])
    for _ in range(2):
        wired.network.run(TIMING.fresh_wait_s)
        exchange.go_on()

    assert dict(exchange.session) == {"n": 2}


# A filtered path, where the session is looked up when it is touched.


@pytest.mark.anyio
async def test_in_the_middle_of_a_line_a_loop_is_not_held_up(wired: Wired) -> None:
    one, two = wired.app("m1"), wired.app("m2")
    token = one.born(n=1)
    wired.network.hold("m1", Deltas)
    token = written(one, token, n=2)
    exchange = two.request(token, is_filtered=True)
    assert exchange.waiter is None
    before = wired.network.now

    assert (dict(exchange.session), exchange.session.stale) == ({"n": 1}, True)
    assert wired.network.now == before
    assert cookie_in(started(exchange)) is not None


def test_in_the_middle_of_a_line_a_thread_waits(wired: Wired) -> None:
    one, two = wired.app("m1"), wired.app("m2")
    token = one.born(n=1)
    wired.network.hold("m1", Deltas)
    token = written(one, token, n=2)
    exchange = two.request(token, is_filtered=True)
    member = wired.channel("m2").member
    found: list[dict[str, object]] = []
    thread = threading.Thread(target=lambda: found.append(dict(exchange.session)), daemon=True)
    thread.start()
    while not any(waiter._call for waiter in list(member.waiters.values())):
        assert thread.is_alive()
    wired.network.release("m1")
    thread.join(PATIENCE_S)

    assert (found, exchange.session.stale) == ([{"n": 2}], False)


# After the application: write concern.


def asking(concern: Concern, on_shortfall: str = "error", **options: int) -> Policy:
    return Policy(Asked(concern, 1.0, options.get("expected")), on_shortfall)


def test_without_a_concern_nobody_is_waited_for(wired: Wired) -> None:
    exchange = wired.app("m1").request()
    exchange.session["n"] = 1

    assert exchange.start([]) is None


@pytest.mark.parametrize("concern", ["one", "majority", "all"])
def test_a_response_that_changed_nothing_waits_for_nobody(wired: Wired, concern: Concern) -> None:
    app = wired.app("m1", policy=asking(concern))
    token = app.born(n=1)
    wired.network.hold("m2")
    for act in (lambda s: None, dict, lambda s: s.update(n=1)):
        exchange = app.request(token)
        act(exchange.session)
        assert exchange.start([]) is None


@pytest.mark.parametrize("concern", ["one", "majority", "all"])
def test_a_response_starts_when_its_write_is_held(wired: Wired, concern: Concern) -> None:
    app = wired.app("m1", policy=asking(concern))
    wired.network.hold("m2", Acknowledge)
    exchange = app.request()
    exchange.session["n"] = 1
    waiter = exchange.start([])
    assert waiter is not None and not waiter.is_over
    wired.network.release("m2")

    assert waiter.is_over
    assert exchange.shortfall(waiter) is None
    assert waiter.ticket.acknowledged == ("m2",)


@pytest.mark.parametrize("on_shortfall", ["error", "warn"])
def test_a_shortfall_is_an_error_or_a_line_in_the_log(
    three: Wired, on_shortfall: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = three.app("m1", policy=asking("all", on_shortfall))
    three.network.hold("m2", Acknowledge)
    exchange = app.request()
    exchange.session["n"] = 1
    headers: list[tuple[bytes, bytes]] = []
    waiter = exchange.start(headers)
    assert waiter is not None
    three.network.run(1.0)
    assert waiter.is_over
    error = exchange.shortfall(waiter)

    said = (
        "write concern 'all': 1 of 2 other members hold the write, missing: m2; it is kept, and "
        "replicated later"
    )
    assert caplog.messages == [f"A response to '/page' started without its {said}"]
    if on_shortfall == "warn":
        assert error is None
    else:
        assert isinstance(error, ReplicationTimeout)
        assert str(error) == said
        assert (error.needed, error.acknowledged, error.missing) == (2, ("m3",), ("m2",))
    token = cookie_in(headers)
    assert token is not None and three.app("m3").read(token) == {"n": 1}, "it is not undone"


def test_alone_a_concern_that_nobody_can_meet_fails_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wired = Wired(monkeypatch, 1)
    exchange = wired.app("m1", policy=asking("one")).request()
    exchange.session["n"] = 1
    waiter = exchange.start([])

    assert waiter is not None and waiter.is_over
    assert str(exchange.shortfall(waiter)).startswith(
        "write concern 'one': 0 of 1 other members hold the write, missing: no further member is up"
    )


def test_what_is_written_after_the_start_is_waited_for_by_nobody(wired: Wired) -> None:
    app = wired.app("m1", policy=asking("all"))
    exchange = app.request(app.born(n=1))
    started(exchange)
    wired.network.hold("m2")
    exchange.session["n"] = 2
    exchange.proceed()

    assert wired.channel("m1").metrics.commits_waited == 1, "that of the birth"


# The session's own commit.


def committed(exchange: Exchange, concern: Concern | None = None, *, way: str = "async") -> None:
    """Let the session commit by itself, by one of its two ways."""
    if way == "async":
        asyncio.run(exchange.session.commit(concern))
    else:
        exchange.session.commit_blocking(concern)


@pytest.mark.parametrize("way", ["async", "blocking"])
@pytest.mark.parametrize("concern", ["async", "one", "majority", "all", None])
def test_a_session_commits_by_itself(wired: Wired, way: str, concern: Concern | None) -> None:
    app = wired.app("m1")
    exchange = app.request(app.born(n=1))
    exchange.session["n"] = 2
    committed(exchange, concern, way=way)

    record = next(iter(wired.network.nodes["m2"].store.records()))
    assert record.values()["n"] == b"\x02"
    assert wired.channel("m1").metrics.commits_waited == (concern not in ("async", None))
    token = cookie_in(started(exchange))
    assert token is not None
    assert wired.seen(app, token).version == record.version


@pytest.mark.parametrize("way", ["async", "blocking"])
def test_without_a_concern_of_its_own_it_has_that_of_the_front_door(wired: Wired, way: str) -> None:
    app = wired.app("m1", policy=asking("all", expected=3))
    exchange = app.request()
    exchange.session["n"] = 1
    with pytest.raises(ReplicationTimeout) as caught:
        committed(exchange, way=way)

    assert (caught.value.concern, caught.value.needed) == ("all", 2)
    assert (caught.value.acknowledged, caught.value.missing) == ((), ("m2",))


@pytest.mark.parametrize("concern", ["", "none", "ALL", 1, b"all"])
def test_a_concern_that_is_none_is_refused_and_nothing_committed(
    wired: Wired, concern: Concern
) -> None:
    exchange = wired.app("m1").request()
    exchange.session["n"] = 1
    for way in ("async", "blocking"):
        with pytest.raises(ConfigError, match="concern: got"):
            committed(exchange, concern, way=way)

    assert wired.channel("m1").metrics.commits == 0


def test_nothing_to_commit_waits_for_nobody(wired: Wired) -> None:
    app = wired.app("m1")
    exchange = app.request(app.born(n=1))
    wired.network.hold("m2")
    assert exchange.session["n"] == 1
    committed(exchange, "all")
    committed(exchange, "all", way="blocking")

    assert wired.channel("m1").metrics.commits_waited == 0


@pytest.mark.parametrize("way", ["async", "blocking"])
def test_what_was_committed_can_be_asked_for_again_with_more(wired: Wired, way: str) -> None:
    app = wired.app("m1")
    exchange = app.request(app.born(n=1))
    exchange.session["n"] = 2
    wired.network.hold("m2", Acknowledge)
    committed(exchange, "async", way=way)
    wired.network.release("m2")
    before = wired.channel("m1").metrics.commits
    committed(exchange, "all", way=way)
    wired.network.part("m1", "m2")
    wired.network.run(6.0)
    with pytest.raises(ReplicationTimeout):
        committed(exchange, "one", way=way)

    assert wired.channel("m1").metrics.commits == before, "there was nothing new to commit"


def test_a_change_in_place_can_be_asked_for_again_too(wired: Wired) -> None:
    app = wired.app("m1")
    exchange = app.request(app.born(cart=[]))
    exchange.session["cart"].append(1)
    committed(exchange, "async")
    wired.network.part("m1", "m2")
    wired.network.run(6.0)

    with pytest.raises(ReplicationTimeout):
        committed(exchange, "one")


def test_the_client_of_a_change_in_place_sees_it_on_every_member(wired: Wired) -> None:
    one, two = wired.app("m1"), wired.app("m2")
    token = one.born(cart=[])
    exchange = one.request(token)
    exchange.session["cart"].append(1)
    wired.network.hold("m1", Deltas)
    token = cookie_in(started(exchange)) or token
    other = two.request(token)
    wired.network.release("m1")
    if other.waiter is not None:
        other.go_on()

    assert dict(other.session) == {"cart": [1]} or other.session.stale


@pytest.mark.anyio
async def test_a_loop_is_not_blocked(wired: Wired) -> None:
    exchange = wired.app("m1").request()
    exchange.session["n"] = 1
    with pytest.raises(SessionError, match="this thread runs a loop; use await commit"):
        exchange.session.commit_blocking("all")
    assert wired.channel("m1").metrics.commits == 0

    await anyio.to_thread.run_sync(exchange.session.commit_blocking, "all")
    assert wired.channel("m1").metrics.commits == 1


def test_a_commit_by_itself_may_begin_and_end_a_session(wired: Wired) -> None:
    app = wired.app("m1")
    exchange = app.request()
    exchange.session["n"] = 1
    committed(exchange, "all")
    token = cookie_in(started(exchange))
    assert token is not None and wired.app("m2").read(token) == {"n": 1}
    ending = app.request(token)
    ending.session.clear()
    committed(ending, "all")

    assert cookie_in(started(ending)) == "null"
    assert wired.app("m2").read(token) == {}


# What is printed on a page.


def test_a_printed_token_covers_the_commit_of_its_request(wired: Wired) -> None:
    one, two = wired.app("m1"), wired.app("m2")
    exchange = one.request(one.born(n=1))
    printed = exchange.session.url_token
    exchange.session["n"] = 2
    wired.network.hold("m1", Deltas)
    started(exchange)
    assert printed is not None
    other = two.request(url=printed, site=HERE)
    assert other.waiter is not None and not other.waiter.is_over
    wired.network.release("m1")

    assert dict(gone_on(other)) == {"n": 2}


@pytest.mark.parametrize(
    "take", [lambda s: s.url_token, lambda s: [s.encode_url("/a"), s.encode_url("/b")]]
)
def test_a_request_that_prints_and_only_reads_makes_one_commit_without_a_write(
    wired: Wired, take: object
) -> None:
    one, two = wired.app("m1"), wired.app("m2")
    token = one.born(n=1)
    commits = one.manager.metrics.commits
    exchange = one.request(url=token, site=HERE)
    assert callable(take)
    printed = take(exchange.session)
    assert cookie_in(started(exchange)) is None
    exchange.proceed()

    assert one.manager.metrics.commits == commits + 1
    (*_, last) = wired.network.frames_of("m1", Deltas)
    assert [dict(delta.attributes) for delta in last.deltas] == [{}]
    for text in [printed] if isinstance(printed, str) else printed:
        url_token = text.partition("=")[2] or text
        other = two.request(url=url_token, site=HERE)
        assert (other.waiter, dict(other.session)) == (None, {"n": 1})


def test_all_links_of_a_page_have_one_token(wired: Wired) -> None:
    one = wired.app("m1")
    exchange = one.request(url=one.born(n=1), site=HERE)
    session = exchange.session

    assert session.encode_url("/a") == f"/a;jsessionid={session.url_token}"


def test_what_is_printed_while_streaming_is_committed_at_the_end(wired: Wired) -> None:
    one, two = wired.app("m1"), wired.app("m2")
    exchange = one.request(one.born(n=1))
    started(exchange)
    printed = exchange.session.url_token
    assert printed is not None
    assert two.request(url=printed, site=HERE).waiter is not None
    exchange.proceed()

    assert two.request(url=printed, site=HERE).waiter is None


def test_a_printed_token_that_nothing_will_ever_cover_holds_nobody_up_for_long(
    wired: Wired,
) -> None:
    one, two = wired.app("m1"), wired.app("m2")
    exchange = one.request(one.born(n=1))
    printed = exchange.session.url_token
    # The request fails before its response starts: nothing is committed.
    other = two.request(url=printed, site=HERE)
    wired.network.run(TIMING.fresh_timeout_s)

    assert dict(gone_on(other)) == {"n": 1}
    assert len(wired.network.frames_of("m1", RecordAnswer)) == 1


def test_a_lookup_is_what_is_waited_for_before_and_a_ticket_after(wired: Wired) -> None:
    wired.network.hold("m1", Deltas)
    before = wired.app("m2").request(wired.app("m1").born(n=1))
    assert before.waiter is not None and isinstance(before.waiter.waiting, Lookup)
    with pytest.raises(AssertionError):
        _ = before.waiter.ticket
