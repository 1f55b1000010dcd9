"""
How a request's middleware and its store find each other.

Django's session middleware makes the store from nothing but the key in the cookie. So what our
middleware, outside it, has found already waits in a context variable until the store asks: it is
the same in the request's coroutine and in the threads that Django runs for it.
"""

from __future__ import annotations

from contextvars import ContextVar

from replsession.django.exchange import StoreExchange
from replsession.web.exchange import Policy


class Arrival:
    """
    A request with our middleware.

    Args:
        key: Value of its session cookie; None without one.
        token: The key, and what the client has seen.
        policy: What the application was told about waiting.
        path: Of the request.
        is_filtered: The valve keeps it away from session work.
    """

    def __init__(
        self, key: str | None, token: str | None, policy: Policy, path: str, is_filtered: bool
    ) -> None:
        self.key = key
        self.path = path
        self.policy = policy
        self.is_filtered = is_filtered
        self.token = token
        self.exchange: StoreExchange | None = None
        """What was found; None on a filtered path, where nobody looks before it is touched."""
        self.is_taken = False

    def open(self, token: str | None) -> StoreExchange:
        """Return what was found already, if it was looked for by this token; else look for it."""
        exchange = self.exchange
        if exchange is not None and token == self.token:
            self.exchange = None
            return exchange
        return self.another(token)

    def another(self, token: str | None) -> StoreExchange:
        """Look for a session in the name of the request."""
        return StoreExchange(
            token, path=self.path, is_filtered=self.is_filtered, policy=self.policy
        )


CURRENT: ContextVar[Arrival | None] = ContextVar("replsession.django", default=None)


def taken(key: str | None) -> Arrival | None:
    """Return the arrival for the first store that is made with the request's key."""
    arrival = CURRENT.get()
    if arrival is None or arrival.is_taken or arrival.key != key:
        return None
    arrival.is_taken = True
    return arrival
