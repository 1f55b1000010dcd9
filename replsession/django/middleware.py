"""
The middleware that makes Django's sessions whole; it stands outside Django's own.

1. What the client has seen of its session travels in a second cookie beside Django's, of the same
   flags. A member that has less waits a moment, or asks, before the view runs.
2. With a write concern the response waits for the others, and is a 503 if too few answer.
3. What is written while a response is streamed is committed when it is closed.
4. No response gives or takes an id that another request has replaced.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.http import HttpResponse
from django.utils.cache import patch_vary_headers
from django.utils.http import http_date

from replsession.channel.waiting import Waiter
from replsession.django.arrival import CURRENT, Arrival
from replsession.django.configuration import behind, check_order
from replsession.django.exchange import token_of, wait_here
from replsession.django.store import SessionStore
from replsession.errors import ClusterStartError
from replsession.web.exchange import Unavailable
from replsession.web.refusal import NOT_STARTED, RETRY_AFTER_S


def seen_cookie() -> str:
    """Return the name of the cookie that says what the client has seen."""
    return f"{settings.SESSION_COOKIE_NAME}_seen"


class Middleware:
    """
    Freshness, write concern and streaming for the engine, under WSGI and under ASGI.

    Args:
        get_response: What stands inside.

    Raises:
        ConfigError: a setting is not allowed, or this stands inside Django's session middleware.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        check_order()
        behind()
        self.get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: Any) -> Any:
        """Answer a request, or return the coroutine that does."""
        if self._is_async:
            return self._aanswer(request)
        try:
            arrival = _arrival(request)
        except ClusterStartError:
            return _refusal(NOT_STARTED)
        mark = CURRENT.set(arrival)
        try:
            if arrival.exchange is not None:
                arrival.exchange.settle()
            response = self.get_response(request)
            for waiter in _waiters(request):
                wait_here(waiter)
            return _leave(request, response)
        except Unavailable as why:
            return _unavailable(arrival, why)
        finally:
            CURRENT.reset(mark)

    async def _aanswer(self, request: Any) -> Any:
        try:
            arrival = _arrival(request)
        except ClusterStartError:
            return _refusal(NOT_STARTED)
        mark = CURRENT.set(arrival)
        try:
            if arrival.exchange is not None:
                await arrival.exchange.asettle()
            response = await self.get_response(request)
            for waiter in _waiters(request):
                await waiter.wait()
            return _leave(request, response)
        except Unavailable as why:
            return _unavailable(arrival, why)
        finally:
            CURRENT.reset(mark)

    def process_exception(self, request: Any, error: Exception) -> Any:
        """Answer 503 where a view touched, on a filtered path, what must not be served."""
        if isinstance(error, ClusterStartError):
            return _refusal(NOT_STARTED)
        return _refusal(str(error)) if isinstance(error, Unavailable) else None


def _arrival(request: Any) -> Arrival:
    application = behind().application
    application.channel.ensure_started()
    key = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
    is_filtered = not application.valve.admits(request.path)
    if is_filtered:
        application.manager.metrics.requests_filtered += 1
    token = None if key is None else token_of(key, request.COOKIES.get(seen_cookie()))
    arrival = Arrival(key, token, application.policy, request.path, is_filtered)
    if token is not None and not is_filtered:
        arrival.exchange = arrival.open(token)
    return arrival


def _store(request: Any) -> SessionStore | None:
    store = getattr(request, "session", None)
    return store if isinstance(store, SessionStore) else None


def _waiters(request: Any) -> list[Waiter]:
    store = _store(request)
    return [] if store is None else store.waiters


def _leave(request: Any, response: Any) -> Any:
    store = _store(request)
    if store is None:
        return response
    if response.status_code < 500:
        response._resource_closers.append(store.response_closed)
    _judge_cookie(request, response, store)
    _give_seen(request, response, store)
    store.response_started()
    error = store.shortfall()
    return response if error is None else _in_place_of(response, str(error))


def _in_place_of(response: Any, why: str) -> HttpResponse:
    refused = _refusal(why)
    # What was committed stays, so its id must, too.
    refused.cookies = response.cookies
    patch_vary_headers(refused, ("Cookie",))
    refused._resource_closers = response._resource_closers
    return refused


def _judge_cookie(request: Any, response: Any, store: SessionStore) -> None:
    given = response.cookies.get(settings.SESSION_COOKIE_NAME)
    if given is None:
        return
    is_taken_away = not given.value
    if is_taken_away and not store.has_ended:
        # The browser may have got another id since it sent this one.
        del response.cookies[settings.SESSION_COOKIE_NAME]
    elif is_taken_away:
        if seen_cookie() in request.COOKIES:
            response.delete_cookie(
                seen_cookie(),
                path=settings.SESSION_COOKIE_PATH,
                domain=settings.SESSION_COOKIE_DOMAIN,
                samesite=settings.SESSION_COOKIE_SAMESITE,
            )
    elif store.is_replaced:
        del response.cookies[settings.SESSION_COOKIE_NAME]


def _give_seen(request: Any, response: Any, store: SessionStore) -> None:
    name = settings.SESSION_COOKIE_NAME
    seen = store.seen()
    if seen is None and name in response.cookies:
        # The session's is renewed; this one must not go before it.
        is_same = response.cookies[name].value == request.COOKIES.get(name)
        seen = request.COOKIES.get(seen_cookie()) if is_same else None
    if not seen or not store.session_key:
        return
    if name not in response.cookies and request.COOKIES.get(name) != store.session_key:
        if response.status_code >= 500:
            return
        # It came signed by an older secret: what it has seen belongs to the new signature.
        _set_cookie(response, name, store.session_key, store)
    _set_cookie(response, seen_cookie(), seen, store)
    patch_vary_headers(response, ("Cookie",))


def _set_cookie(response: Any, name: str, value: str, store: SessionStore) -> None:
    """Set a cookie as Django's session middleware sets the session's."""
    max_age = expires = None
    if not store.get_expire_at_browser_close():
        max_age = store.get_expiry_age()
        expires = http_date(time.time() + max_age)
    response.set_cookie(
        name,
        value,
        max_age=max_age,
        expires=expires,
        domain=settings.SESSION_COOKIE_DOMAIN,
        path=settings.SESSION_COOKIE_PATH,
        secure=settings.SESSION_COOKIE_SECURE or None,
        httponly=settings.SESSION_COOKIE_HTTPONLY or None,
        samesite=settings.SESSION_COOKIE_SAMESITE,
    )


def _unavailable(arrival: Arrival, why: Unavailable) -> HttpResponse:
    response = _refusal(str(why))
    exchange = arrival.exchange
    if exchange is not None and exchange.is_stale:
        # So that the next try is not refused.
        seen = exchange.seen()
        if seen is not None:
            _set_cookie(response, seen_cookie(), seen, SessionStore(arrival.key))
    return response


def _refusal(why: str) -> HttpResponse:
    return HttpResponse(
        f"503 Service Unavailable: {why}. Please try again.\n",
        status=503,
        content_type="text/plain; charset=utf-8",
        headers={"Retry-After": str(RETRY_AFTER_S), "Cache-Control": "no-store"},
    )
