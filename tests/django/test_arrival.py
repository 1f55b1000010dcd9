"""How a request's middleware and its store find each other."""

from __future__ import annotations

from replsession.django import SessionStore
from replsession.django.arrival import CURRENT, Arrival, taken
from replsession.django.exchange import StoreExchange
from replsession.web.exchange import DEFAULT_POLICY


def arrived(key: str | None) -> Arrival:
    return Arrival(key, key, DEFAULT_POLICY, "/page", False)


def test_only_the_first_store_of_the_requests_key_takes_it() -> None:
    assert taken("a key") is None
    arrival = arrived("a key")
    mark = CURRENT.set(arrival)
    assert taken("another key") is None
    assert taken("a key") is arrival
    assert taken("a key") is None
    CURRENT.reset(mark)
    assert taken("a key") is None


def test_what_was_found_is_given_once_and_to_nobody_else() -> None:
    store = SessionStore()
    store["n"] = 1
    store.save()
    arrival = arrived(store.session_key)
    found = arrival.exchange = StoreExchange(store.session_key)
    other = arrival.open(None)
    assert not other.is_found
    assert arrival.open(store.session_key) is found
    again = arrival.open(store.session_key)
    assert again is not found
    assert again.session["n"] == 1
