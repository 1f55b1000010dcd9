"""
Cluster: the handle that an application holds. Making one starts nothing.

One member per Cluster object and process; equal settings of :meth:`Cluster.local` share one
member, so that two middlewares of one application do not become two members.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from replsession.channel import administration
from replsession.channel.administration import SessionInfo
from replsession.channel.channel import Channel
from replsession.channel.options import check_name, is_loopback, refuse_unknown, settings_of
from replsession.config import (
    AUTO_BIND_PORTS,
    MULTICAST_GROUP,
    MULTICAST_PORT,
    RECEIVER_PORT,
    ClusterSettings,
    Timing,
)
from replsession.errors import ConfigError, SessionError
from replsession.metrics import Metrics
from replsession.security.keys import check_secret
from replsession.session.principals import check_principal

_TIMING = Timing()
LOCAL_NAME = "local"


class Cluster:
    """
    A cluster to belong to. Use :meth:`local`, :meth:`lan` or :meth:`from_env`.

    ::

        cluster=Cluster.local()        members on this host find each other over loopback
        cluster=Cluster.lan("shop")    members on this network find each other by multicast
        cluster=None                   one process alone
    """

    def __init__(self, settings: ClusterSettings) -> None:
        self._settings = settings
        self._channel: Channel | None = None

    def __repr__(self) -> str:
        return f"Cluster({self._settings.name!r}, {self.state})"

    @classmethod
    def local(cls, **options: Any) -> Cluster:
        """
        Return the cluster of all processes on this host that have the same secret.

        Args:
            options: As for :meth:`lan`, but for ``name``. The secret may be short, since nothing
                leaves the host; so ``bind`` must be a loopback address, ``"lo"`` or ``"auto"``,
                and ``seeds`` loopback addresses.

        Raises:
            ConfigError: a value is not allowed.
        """
        refuse_unknown(options)
        settings = settings_of(LOCAL_NAME, on_this_host=True, **options)
        if settings.bind not in ("auto", "lo", "lo0") and not is_loopback(settings.bind):
            raise ConfigError(
                "bind", settings.bind, "a loopback address; Cluster.lan(name) has members elsewhere"
            )
        for seed in settings.seeds:
            if not is_loopback(seed.partition(":")[0]):
                allowed = "loopback addresses; Cluster.lan(name) has members elsewhere"
                raise ConfigError("seeds", seed, allowed)
        return cls(settings)

    @classmethod
    def lan(
        cls,
        name: str,
        *,
        secret: str | None = None,
        bind: str = "auto",
        port: int = RECEIVER_PORT,
        auto_bind: int = AUTO_BIND_PORTS,
        member_name: str | None = None,
        multicast: tuple[str, int] | None = (MULTICAST_GROUP, MULTICAST_PORT),
        seeds: tuple[str, ...] = (),
        heartbeat_interval_s: float = _TIMING.heartbeat_interval_s,
        drop_after_s: float = _TIMING.drop_after_s,
        **timing: float,
    ) -> Cluster:
        """
        Return a cluster of members on this network.

        Args:
            name: Name of the cluster, 1 to 64 printable characters; members of another name are
                strangers.
            secret: At least 32 characters that nobody can guess, the same on all members. None
                takes the middleware's ``secret_key``.
            bind: Address or interface for the receiver; ``"auto"``: the source address that the
                kernel picks for the multicast group, never a loopback address.
            port: First TCP port tried, 1 to 65535.
            auto_bind: How many ports are tried, 1 to 65535.
            member_name: Name of this member; None: host name and port.
            multicast: IPv4 group and port of the heartbeats; None: no multicast.
            seeds: Where other members may be found as well, or instead: IPv4 addresses and DNS
                names, such as ``"10.0.0.5"``, ``"10.0.0.6:4001"``, ``"members.internal:4000"``;
                without a port, 4000. One that can be reached is enough: members tell each other of
                the rest. With neither multicast nor seeds a member waits for others to find it.
            heartbeat_interval_s: Seconds between two heartbeats.
            drop_after_s: Seconds of silence after which a member has disappeared.
            timing: Any other field of ``Timing``, in seconds.

        Raises:
            ConfigError: a value is not allowed.
        """
        check_name("name", name)
        return cls(
            settings_of(
                name,
                on_this_host=False,
                secret=secret,
                bind=bind,
                port=port,
                auto_bind=auto_bind,
                member_name=member_name,
                multicast=multicast,
                seeds=seeds,
                heartbeat_interval_s=heartbeat_interval_s,
                drop_after_s=drop_after_s,
                **timing,
            )
        )

    @classmethod
    def from_env(cls, environment: Mapping[str, str] | None = None) -> Cluster | None:
        """
        Return the cluster that the environment describes; None for ``REPLSESSION_CLUSTER=none``.

        ``REPLSESSION_CLUSTER`` (``local``, the default; ``lan:NAME``; ``none``),
        ``REPLSESSION_SECRET``, ``REPLSESSION_BIND`` (address or interface), ``REPLSESSION_PORT``,
        ``REPLSESSION_MEMBER_NAME``, ``REPLSESSION_SEEDS`` (with commas between them). An empty one
        is as one that is not set.

        Args:
            environment: Variables to read; None: those of the process.

        Raises:
            ConfigError: a variable has a value that is not allowed; it names the variable.
        """
        env = os.environ if environment is None else environment
        options: dict[str, Any] = {
            option: env[variable] for option, variable in _VARIABLES.items() if env.get(variable)
        }
        kind = options.pop("name", "local")
        if "port" in options:
            options["port"] = _integer(_VARIABLES["port"], options["port"])
        if "seeds" in options:
            parts = [part.strip() for part in options["seeds"].split(",")]
            options["seeds"] = tuple(part for part in parts if part)
        try:
            if kind == "none":
                return None
            if kind == "local":
                return cls.local(**options)
            if kind.startswith("lan:"):
                return cls.lan(kind.removeprefix("lan:"), **options)
        except ConfigError as error:
            field = _VARIABLES.get(error.field, error.field)
            raise ConfigError(field, error.given, error.allowed) from None
        raise ConfigError(_VARIABLES["name"], kind, "local, lan:NAME, or none")

    @property
    def settings(self) -> ClusterSettings | None:
        """What was asked for, None for no cluster; its ``repr`` does not show the secret."""
        return self._settings

    @property
    def is_ready(self) -> bool:
        """Whether this process's member has the state of the cluster and may be given traffic."""
        return self._channel is not None and self._channel.is_ready

    @property
    def state(self) -> str:
        """The state of this process's member in words."""
        return "not started" if self._channel is None else self._channel.state

    @property
    def member_name(self) -> str:
        """Name of this process's member; final once the cluster has started."""
        if self._channel is not None:
            return self._channel.member.node.me.name
        return self._settings.member_name or ""

    @property
    def members(self) -> tuple[str, ...]:
        """Names of the other members that are up, oldest first."""
        if self._channel is None:
            return ()
        member = self._channel.member
        with member.lock:
            return tuple(other.name for other in member.node.membership.view)

    @property
    def metrics(self) -> Metrics:
        """Counters of this process's member."""
        return Metrics() if self._channel is None else self._channel.metrics

    def sessions(self, context: str | None = None) -> Iterator[SessionInfo]:
        """
        Yield the sessions that this process's member knows: in memory, so all of the cluster.

        Args:
            context: Of this application only; None: of all.

        Raises:
            SessionError: no application of this process uses this cluster.
        """
        return administration.sessions(self._used().member, context)

    def sessions_of(self, principal: str, context: str | None = None) -> list[SessionInfo]:
        """
        Return the sessions of which ``session.principal`` is this, the last used first.

        Raises:
            SessionError: no application of this process uses this cluster.
        """
        channel = self._used()
        return administration.sessions_of(
            channel.member, _contexts(channel, context), check_principal(principal)
        )

    def invalidate(self, session_id: str, context: str = "/") -> bool:
        """
        End one session on all members, by its public id (``session.id``, ``SessionInfo.id``).

        Returns:
            Whether there was one with this id.

        Raises:
            SessionError: no application of this process uses this cluster.
        """
        return administration.end(self._used().member, context, session_id)

    def invalidate_all(self, principal: str, context: str | None = None) -> int:
        """
        Log somebody out everywhere: end all sessions of which ``session.principal`` is this.

        Also those on members that are cut off now, as soon as they return, and those that begin
        there meanwhile. Who logs in where this is known begins anew.

        Args:
            principal: As it was given to ``session.principal``.
            context: In this application only; None: in all.

        Returns:
            How many sessions were live here.

        Raises:
            SessionError: no application of this process uses this cluster.
        """
        channel = self._used()
        return administration.end_all(
            channel.member, _contexts(channel, context), check_principal(principal)
        )

    def _used(self) -> Channel:
        if self._channel is None:
            raise SessionError("no application of this process uses this cluster yet")
        self._channel.ensure_started()
        return self._channel

    def attach(self, secret_key: str, *, required: bool) -> Channel:
        """
        Return the channel for an application with this secret key; called by middlewares.

        Raises:
            ConfigError: the secret will not do, or another application brought another one.
        """
        settings = self._settings
        if settings.secret is None:
            settings = replace(settings, secret=secret_key)
        if not settings.on_this_host:
            assert settings.secret is not None
            check_secret(settings.secret, "secret" if self._settings.secret else "secret_key")
        if self._channel is not None:
            if self._channel.settings != settings:
                raise ConfigError(
                    "secret_key",
                    "another secret than the application before",
                    "one secret for all applications of a Cluster, or a secret= of its own",
                )
            self._channel.required = self._channel.required or required
            return self._channel
        if settings.on_this_host:
            self._channel = _local_channels.setdefault(settings, Channel(settings))
            self._channel.required = self._channel.required or required
        else:
            self._channel = Channel(settings, required=required)
        return self._channel


_local_channels: dict[ClusterSettings, Channel] = {}

_VARIABLES = {
    "name": "REPLSESSION_CLUSTER",
    "secret": "REPLSESSION_SECRET",
    "bind": "REPLSESSION_BIND",
    "port": "REPLSESSION_PORT",
    "member_name": "REPLSESSION_MEMBER_NAME",
    "seeds": "REPLSESSION_SEEDS",
}


def _contexts(channel: Channel, context: str | None) -> list[str]:
    if context is not None:
        return [context]
    return sorted({*channel.contexts, *administration.contexts(channel.member)})


def _integer(field: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ConfigError(field, text, "a whole number") from None
