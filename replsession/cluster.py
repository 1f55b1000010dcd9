"""
Cluster: the handle that an application holds. Making one starts nothing.

One member per Cluster object and process; equal settings of :meth:`Cluster.local` share one
member, so that two middlewares of one application do not become two members.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from replsession.channel import administration
from replsession.channel.administration import SessionInfo
from replsession.channel.channel import Channel
from replsession.channel.log import CLUSTER
from replsession.channel.options import check_name, local_settings, settings_of, with_secret
from replsession.channel.run_directory import AUTO
from replsession.channel.status import status_steps
from replsession.channel.steps import at_once
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
from replsession.session.principals import check_principal
from replsession.settings import environment as variables
from replsession.settings import server_xml, toml
from replsession.settings.configuration import Configuration
from replsession.settings.secrets import secret_of
from replsession.status import ClusterStatus

_TIMING = Timing()
LOCAL_NAME = "local"


class Cluster:
    """
    A cluster to belong to. Use :meth:`local`, :meth:`lan` or :meth:`from_toml` and the others.

    ::

        cluster=Cluster.local()        members on this host find each other over loopback
        cluster=Cluster.lan("shop")    members on this network find each other by multicast
        cluster=None                   one process alone
    """

    def __init__(self, settings: ClusterSettings | None) -> None:
        self._settings = settings
        self._channel: Channel | None = None
        self.configuration = Configuration()
        """Of the place that this cluster was read from, with what it says of applications."""

    def __repr__(self) -> str:
        name = "none" if self._settings is None else self._settings.name
        return f"Cluster({name!r}, {self.state})"

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
        return cls(local_settings(LOCAL_NAME, **options))

    @classmethod
    def lan(
        cls,
        name: str,
        *,
        secret: str | None = None,
        domain: str | None = None,
        bind: str = "auto",
        port: int = RECEIVER_PORT,
        auto_bind: int = AUTO_BIND_PORTS,
        member_name: str | None = None,
        multicast: tuple[str, int] | None = (MULTICAST_GROUP, MULTICAST_PORT),
        seeds: tuple[str, ...] = (),
        control: str | None = AUTO,
        heartbeat_interval_s: float = _TIMING.heartbeat_interval_s,
        drop_after_s: float = _TIMING.drop_after_s,
        **timing: float,
    ) -> Cluster:
        """
        Return a cluster of members on this network.

        Args:
            name: Name of the cluster, 1 to 64 printable characters; others are strangers.
            secret: 32 characters or more, the same on all members; None: the ``secret_key``.
            domain: A part that keeps to itself, as a cluster of the name ``name/domain`` would.
            bind: Address or interface for the receiver; ``"auto"``: the source address that the
                kernel picks for the multicast group, never a loopback address.
            port: First TCP port tried, 1 to 65535.
            auto_bind: How many ports are tried, 1 to 65535.
            member_name: Name of this member; None: host name and port.
            multicast: IPv4 group and port of the heartbeats; None: no multicast.
            seeds: Where other members may be found as well, or instead: IPv4 addresses and DNS
                names, such as ``"10.0.0.5"`` (port 4000) or ``"members.internal:4001"``. One that
                can be reached is enough. With neither these nor multicast it waits to be found.
            control: Directory of the status socket; ``"auto"``: the user's own; None: no socket.
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
                domain=domain,
                bind=bind,
                port=port,
                auto_bind=auto_bind,
                member_name=member_name,
                multicast=multicast,
                seeds=seeds,
                control=control,
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
        ``REPLSESSION_SECRET`` or ``REPLSESSION_SECRET_FILE``, ``REPLSESSION_BIND`` (address or
        interface), ``REPLSESSION_PORT``, ``REPLSESSION_SEEDS`` (with commas between them), and so
        on: every name of a TOML file, in capitals. An empty one is as one that is not set.
        ``REPLSESSION_CONFIG`` is a TOML file or a ``server.xml``, over which the variables win.

        Args:
            environment: Variables to read; None: those of the process.

        Raises:
            ConfigError: a variable has a value that is not allowed; it names the variable.
        """
        said = variables.whole(os.environ if environment is None else environment)
        is_none = said.values.get("cluster") == "none" and not said.application
        return None if is_none else cls.described(said)

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str], table: str = toml.TABLE) -> Cluster:
        """
        Return the cluster that a TOML file describes; see docs/configuration.md.

        What the file says of applications holds for each that uses this cluster, unless it is given
        to its middleware as well.

        Args:
            path: Of the file; paths in it are relative to it.
            table: Its table that is meant, such as ``tool.replsession``.

        Raises:
            ConfigError: the file says what is not known or not allowed; it names file and key.
        """
        return cls.described(toml.read(path, table))

    @classmethod
    def from_server_xml(cls, path: str | os.PathLike[str]) -> Cluster:
        """
        Return the cluster that Tomcat's ``server.xml`` describes; see docs/configuration.md.

        Its secret is the key of an EncryptInterceptor, else the ``secret_key`` of the middleware.

        Args:
            path: Of the file, with one ``<Cluster>`` in it.

        Raises:
            ConfigError: there is something in the element that is not known, not allowed or not
                supported; it names file and line. Or ``replsession[cli]`` is not installed.
        """
        return cls.described(server_xml.read(path))

    @classmethod
    def described(cls, configuration: Configuration) -> Cluster:
        """
        Return the cluster of a configuration that was read; it keeps what is for applications.

        Raises:
            ConfigError: a value is not allowed; it says where that stands.
        """
        options = configuration.member
        kind = configuration.values.get("cluster", "local")
        options.pop("secret_file", None)
        try:
            if (secret := secret_of(configuration)) is not None:
                options["secret"] = secret
            if kind == "none":
                made = cls(None)
            elif kind == "local":
                made = cls.local(**options)
            elif kind.startswith("lan:"):
                made = cls.lan(kind.removeprefix("lan:"), **options)
            else:
                raise ConfigError("cluster", kind, "local, lan:NAME, or none")
        except ConfigError as error:
            raise configuration.blamed(error) from None
        made.configuration = configuration
        for remark in configuration.remarks:
            CLUSTER.info("%s", remark)
        return made

    def start(self) -> None:
        """
        Join now, on a thread of its own, instead of at the first request.

        For a hook of a server that forks, in the process that will serve (``post_worker_init`` of
        gunicorn), and for a process that serves nobody and keeps the sessions while the servers
        are replaced. It returns when the member listens; :attr:`is_ready` says when it has the
        state. A cluster that cannot start is tried again and again.

        Raises:
            ConfigError: no application of this process uses this cluster yet, and it has no
                secret of its own.
            ClusterStartError: it cannot start, and an application requires it.
        """
        if self._channel is None:
            secret = self._settings.secret if self._settings is not None else ""
            if secret is None:
                allowed = "the secret of the members to join, if no application brings it"
                raise ConfigError("secret", secret, allowed)
            self.attach(secret, required=False)
        assert self._channel is not None
        self._channel.ensure_started()

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
        return (self._settings and self._settings.member_name) or ""

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

    def status(self) -> ClusterStatus:
        """
        Return what an administrator wants to know of this process's member, and of all others.

        It asks nobody: it is what this member knows. With very many sessions they are counted only
        now and then, which takes a moment; ``counted_s_ago`` says when that was.

        Raises:
            SessionError: no application of this process uses this cluster.
        """
        return at_once(status_steps(self._known()))

    def sessions(self, context: str | None = None) -> Iterator[SessionInfo]:
        """
        Yield the sessions that this process's member knows: in memory, so all of the cluster.

        Args:
            context: Of this application only; None: of all.

        Raises:
            SessionError: no application of this process uses this cluster.
        """
        return administration.sessions(self.channel().member, context)

    def sessions_of(self, principal: str, context: str | None = None) -> list[SessionInfo]:
        """
        Return the sessions of which ``session.principal`` is this, the last used first.

        Raises:
            SessionError: no application of this process uses this cluster.
        """
        channel = self.channel()
        names = administration.named(channel.member, channel.contexts, context)
        return administration.sessions_of(channel.member, names, check_principal(principal))

    def invalidate(self, session_id: str, context: str = "/") -> bool:
        """
        End one session on all members, by its public id (``session.id``, ``SessionInfo.id``).

        Returns:
            Whether there was one with this id.

        Raises:
            SessionError: no application of this process uses this cluster.
        """
        return administration.end(self.channel().member, context, session_id)

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
        channel = self.channel()
        names = administration.named(channel.member, channel.contexts, context)
        return administration.end_all(channel.member, names, check_principal(principal))

    def channel(self) -> Channel:
        """
        Return the channel of this process's member, which is started if need be; for front doors.

        Raises:
            SessionError: no application of this process uses this cluster.
        """
        self._known().ensure_started()
        return self._known()

    def _known(self) -> Channel:
        if self._channel is None:
            raise SessionError("no application of this process uses this cluster yet")
        return self._channel

    def attach(self, secret_key: str, *, required: bool) -> Channel:
        """
        Return the channel for an application with this secret key; called by middlewares.

        Raises:
            ConfigError: the secret will not do, or another application brought another one.
        """
        settings = self._settings
        if settings is None:
            self._channel = self._channel or Channel(None)
            return self._channel
        settings = with_secret(settings, secret_key)
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
