"""
One application behind its front door: what all front doors take, checked and put together once.

A front door makes one :class:`Application`, brings its channel up and down in the way of its own
world, and asks for an :class:`~replsession.web.exchange.Exchange` for each request.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, MutableMapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple, TypedDict, Unpack, cast
from urllib.parse import quote

from replsession.channel.channel import Channel
from replsession.cluster import Cluster
from replsession.concern import Concern, check_concern
from replsession.errors import ConfigError
from replsession.session.session import Session
from replsession.web.cookies import Cookies
from replsession.web.exchange import Exchange, Policy, Site
from replsession.web.listeners import Listeners
from replsession.web.local import LocalAttributes
from replsession.web.manager import Manager
from replsession.web.settings import (
    UNSET,
    Unset,
    check_bound,
    check_choice,
    check_context,
    check_name,
    check_switch,
    secrets_of,
    session_limits,
)
from replsession.web.timing import RequestTimes, TimedExchange, are_wanted
from replsession.web.tracking import take
from replsession.web.valve import DEFAULT_FILTER, Valve


class Options(TypedDict, total=False):
    """What every front door takes beside its cookie; see :class:`Application`."""

    cluster: Cluster | Unset | None
    context: str
    max_inactive_interval: float | Unset | None
    lifetime: float | None
    url_tracking: bool
    valve: Valve | str | Sequence[str] | None
    listeners: Sequence[object]
    notify_listeners_on_replication: bool
    expire_sessions_on_shutdown: bool
    max_sessions_per_principal: int | None
    required: bool
    concern: Concern
    ack_timeout_s: float
    on_shortfall: Literal["error", "warn"]
    expected_members: int | None
    stale: Literal["serve", "error"]
    primary_indicator: str | None
    local_attributes: str | None


class Application:
    """
    One application: its channel, its manager, its valve and its policy.

    Args:
        secret_key: Signs ids; with a list the first signs and all verify. Also the cluster's
            secret, unless that has its own.
        max_age: Seconds the browser keeps the cookie; None: until it ends. It is also the idle
            interval if the user gave it and no other.
        cluster: ``Cluster.local()`` by default; ``Cluster.lan("name")``; None: this process alone.
            What one was read from, as by ``Cluster.from_toml``, may say all that follows as well;
            what is given here counts.
        context: The application's name in the cluster; applications share sessions by it.
        max_inactive_interval: Seconds without a request after which a session is over. Unset:
            ``max_age`` if that was passed, else 1800; None: never.
        lifetime: Seconds after its birth at which a session is over in any case; None: never.
        url_tracking: Also take the id from ``;jsessionid=`` in the path.
        valve: Paths without session work, as regular expressions; see :class:`Valve`.
        listeners: Objects that hear of sessions; see ``replsession.web.listeners``.
        notify_listeners_on_replication: Whether they hear of what other members did.
        expire_sessions_on_shutdown: Whether a graceful stop ends, on all members, the sessions that
            this one served last, as far as it knows. Source: Tomcat's ``expireSessionsOnShutdown``.
        max_sessions_per_principal: How many sessions may have the same ``session.principal``; a
            login too many ends the least recently used one. None: any number.
        required: Whether a cluster that cannot start stops the application.
        concern: How many other members must hold a write before the response starts: ``async`` for
            none, ``one``, ``majority``, ``all``; see :mod:`replsession.concern`.
        ack_timeout_s: Longest wait for them, seconds above 0, at most 60.
        on_shortfall: If too few do: ``error`` answers 503, ``warn`` answers and logs. The write is
            never undone.
        expected_members: How many members the cluster is meant to have, for ``majority`` and
            ``all``; None: as many as were seen.
        stale: When the client has seen more than this member can get within 250 ms: ``serve`` what
            is here with ``session.stale`` set, or ``error``: 503.
        primary_indicator: Name under which the request's scope or environ says whether this member
            had served its session last, if it found one; None: it does not. Source: Tomcat's
            ``primaryIndicator``.
        local_attributes: Regular expression for names of attributes that stay on the member where
            they are written; see :mod:`replsession.web.local`. None: none do.
        session_class: What requests get, for front doors; not for users.
        channel: Of the same application with earlier settings, to go on with it; for front doors.
        takes: Options that a cluster's file may say; for front doors.

    Raises:
        ConfigError: a value is not allowed; it names field, what was given and what is allowed.
    """

    def __init__(
        self,
        secret_key: Any,
        max_age: int | None,
        *,
        session_class: type[Session] = Session,
        channel: Channel | None = None,
        takes: Collection[str] = tuple(Options.__annotations__),
        **given: Unpack[Options],
    ) -> None:
        cluster = given.get("cluster", UNSET)
        self.options = _merged(cluster, given, takes)
        """What was given, and what the cluster's own configuration says beside that."""
        make = partial(self._set_up, secret_key, max_age, session_class, channel)
        try:
            make(**self.options)
        except ConfigError as error:
            if error.field in given or not isinstance(cluster, Cluster):
                raise
            raise cluster.configuration.blamed(error) from None

    def _set_up(
        self,
        secret_key: Any,
        max_age: int | None,
        session_class: type[Session],
        channel: Channel | None,
        *,
        cluster: Cluster | Unset | None = UNSET,
        context: str = "/",
        max_inactive_interval: float | Unset | None = UNSET,
        lifetime: float | None = None,
        url_tracking: bool = False,
        valve: Valve | str | Sequence[str] | None = DEFAULT_FILTER,
        listeners: Sequence[object] = (),
        notify_listeners_on_replication: bool = True,
        expire_sessions_on_shutdown: bool = False,
        max_sessions_per_principal: int | None = None,
        required: bool = False,
        concern: Concern = "async",
        ack_timeout_s: float = 1.0,
        on_shortfall: Literal["error", "warn"] = "error",
        expected_members: int | None = None,
        stale: Literal["serve", "error"] = "serve",
        primary_indicator: str | None = None,
        local_attributes: str | None = None,
    ) -> None:
        secrets = secrets_of(secret_key)
        check_context(context)
        check_switch("url_tracking", url_tracking)
        check_switch("notify_listeners_on_replication", notify_listeners_on_replication)
        check_switch("expire_sessions_on_shutdown", expire_sessions_on_shutdown)
        check_bound("max_sessions_per_principal", max_sessions_per_principal)
        check_switch("required", required)
        check_choice("on_shortfall", on_shortfall, ("error", "warn"))
        check_choice("stale", stale, ("serve", "error"))
        check_name("primary_indicator", primary_indicator)
        asked = check_concern(concern, ack_timeout_s, expected_members)
        self.policy = Policy(asked, on_shortfall, stale)
        self.url_tracking = url_tracking
        self.valve = valve if isinstance(valve, Valve) else Valve(valve)
        limits = session_limits(max_age, max_inactive_interval, lifetime)
        heard = Listeners(listeners, context)
        self.channel = channel or _channel(cluster, secrets[0], required=required)
        if local_attributes is not None:
            local = LocalAttributes(local_attributes, self.channel)
            session_class = type(session_class.__name__, (session_class,), {"_local": local})
        self._session_class = session_class
        self.manager = Manager(
            self.channel,
            context,
            secrets,
            limits,
            heard,
            notify_on_replication=notify_listeners_on_replication,
            expire_on_stop=expire_sessions_on_shutdown,
            sessions_max=max_sessions_per_principal,
        )
        self._times = RequestTimes()
        self.primary_indicator = primary_indicator
        self.manager.tells_primary = primary_indicator is not None

    def indicate(self, exchange: Exchange, scope: MutableMapping[str, Any]) -> None:
        """Put into a request's scope whether this member had served its session last."""
        if self.primary_indicator is not None and exchange.was_here is not None:
            scope[self.primary_indicator] = exchange.was_here

    def exchange(
        self,
        cookies: Cookies,
        headers: Iterable[tuple[bytes, bytes]],
        path: str,
        *,
        token: str | None = None,
        site: Site | None = None,
    ) -> Exchange:
        """
        Return the exchange of one request, after ``channel.ensure_started()``.

        Args:
            cookies: Writes the cookie.
            headers: Of the request, names in lower case.
            path: Decoded, without an id.
            token: What stood behind ``;jsessionid=``.
            site: Where the request arrived; None: URLs are not rewritten.
        """
        is_filtered = not self.valve.admits(path)
        make = partial(TimedExchange, self._times) if are_wanted() else Exchange
        return make(
            self.manager,
            cookies,
            headers,
            token,
            site,
            path=path,
            is_filtered=is_filtered,
            policy=self.policy,
            session_class=self._session_class,
        )


class Arrived(NamedTuple):
    """A request's path without the id, and what stood in it."""

    path: str
    raw_path: bytes | None
    token: str | None
    site: Site


def arrived(
    path: str, raw_path: bytes | None, scheme: str, host: str, *, encoding: str = "utf-8"
) -> Arrived:
    """
    Take the id off the path of a request that may bring one there.

    Args:
        path: Decoded.
        raw_path: As it was sent, perhaps with a query behind it; None: the server does not say.
        scheme: ``http`` or ``https``, ``ws`` or ``wss``.
        host: What the request's ``Host`` header says; empty if there is none.
        encoding: In which *path* was decoded.
    """
    taken = take(path, raw_path, encoding=encoding)
    # ASGI lets servers leave out the raw path, and some put the query behind it.
    raw = (
        quote(taken.path)
        if taken.raw_path is None
        else taken.raw_path.partition(b"?")[0].decode("latin-1")
    )
    return Arrived(taken.path, taken.raw_path, taken.token, Site(scheme, host, raw))


def _merged(cluster: Cluster | Unset | None, given: Options, takes: Collection[str]) -> Options:
    said = cluster.configuration.application if isinstance(cluster, Cluster) else {}
    # A file says nothing but what `settings/configuration.py` knows, which a test compares.
    return cast(Options, {**{name: said[name] for name in said if name in takes}, **given})


def _channel(cluster: Cluster | Unset | None, secret: str, *, required: bool) -> Channel:
    if isinstance(cluster, Unset):
        cluster = Cluster.local()
    if cluster is None:
        return Channel(None)
    if not isinstance(cluster, Cluster):
        raise ConfigError("cluster", cluster, "Cluster.local(), Cluster.lan(name), or None")
    return cluster.attach(secret, required=required)
