"""Sessions that may be empty, their expiry, and the tokens that two cookies make."""

from __future__ import annotations

import pytest
from django.contrib.sessions.backends.base import UpdateError

from replsession.channel.waiting import Waiter
from replsession.concern import Asked
from replsession.django import SessionStore, exchange
from replsession.django.configuration import behind
from replsession.django.exchange import StoreExchange, identity_of, new_identity, token_of
from replsession.django.exchange import wait_here as wait
from replsession.replication.acks import Ticket
from tests.django.project import run


def born(**values: object) -> StoreExchange:
    """Return an exchange that has begun a session."""
    exchange = StoreExchange(None)
    exchange.session.want()
    exchange.session.update(values)
    exchange.keep()
    return exchange


def key_of(exchange: StoreExchange) -> str:
    identity = exchange.session.committed_identity
    assert identity is not None
    return identity.token


def test_an_empty_session_is_born_only_if_it_is_wanted() -> None:
    exchange = StoreExchange(None)
    assert not exchange.session.is_dirty
    with pytest.raises(UpdateError):
        exchange.keep()
    exchange.session.want()
    assert exchange.session.is_dirty
    exchange.keep()
    assert not exchange.session.is_dirty
    assert StoreExchange(key_of(exchange)).is_found


def test_it_stays_when_its_last_attribute_goes_and_ends_when_it_is_ended() -> None:
    exchange = born(n=1)
    del exchange.session["n"]
    exchange.keep()
    key = key_of(exchange)
    again = StoreExchange(key)
    assert again.is_found
    assert dict(again.session) == {}
    again.session["m"] = 1
    again.session.clear()
    assert again.session.seal() == ()
    again.end()
    assert not StoreExchange(key).is_found
    exchange.keep()
    assert exchange.is_replaced
    exchange.session["m"] = 2
    with pytest.raises(UpdateError):
        exchange.keep()


def test_an_end_takes_what_was_written_with_it() -> None:
    exchange = born(n=1)
    exchange.session["m"] = 2
    exchange.end()
    assert not exchange.is_found
    assert dict(exchange.session) == {}


def test_another_request_replaced_the_id() -> None:
    exchange = born(n=1)
    other = StoreExchange(key_of(exchange))
    other.session.rotate_id()
    other.keep()
    assert not other.is_replaced
    exchange.keep()
    assert exchange.is_replaced
    exchange.session["m"] = 2
    exchange.keep()
    assert exchange.is_replaced
    assert exchange.seen() is None
    assert dict(StoreExchange(key_of(other)).session) == {"n": 1, "m": 2}


def test_the_token_of_two_cookies() -> None:
    exchange = born(n=1)
    key, seen = key_of(exchange), exchange.seen()
    assert seen is not None
    whole = token_of(key, seen)
    assert whole == f"{key}.{seen}"
    assert StoreExchange(whole).is_found
    assert token_of(key, None) == token_of(key, "") == token_of(key, "nonsense") == key
    assert token_of(key_of(born(n=1)), seen) != whole
    assert key not in repr(exchange)


def test_names() -> None:
    identity = new_identity()
    assert identity_of(identity.token) == identity
    assert identity_of(None) is None
    assert identity_of("nonsense") is None


def test_the_store_has_a_say_in_how_long_sessions_live() -> None:
    exchange = StoreExchange(None)
    exchange.age_s = 5
    assert exchange.default_limits().idle_s == 5
    exchange.age_s = -5
    assert exchange.default_limits().idle_s == 0
    store = SessionStore()
    assert store._unborn().exchange.default_limits().idle_s == store.get_session_cookie_age()


def test_a_thread_that_runs_a_loop_is_not_held_up() -> None:
    ticket = Ticket(Asked("one", 1.0, None), {}, 1, 0.0)

    async def on_a_loop() -> None:
        wait(Waiter(ticket))

    run(on_a_loop())


def test_a_key_that_would_end_a_cookie_is_none() -> None:
    key = key_of(born(n=1))
    for token in (f"x; sessionid={key}", f"{key} ", f"{key}é", "", "x" * 600):
        assert not StoreExchange(token).is_found
    assert StoreExchange(key).is_found


def test_what_pairs_of_cookies_make_is_remembered_within_bounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exchange, "REMEMBERED_MAX", 2)
    known = behind().tokens
    for number in range(5):
        assert token_of("a key", str(number)) == "a key"
        assert len(known) <= 2
    token_of("a key", "x" * 5000)
    assert all(len(seen) == 1 for _, seen in known)
