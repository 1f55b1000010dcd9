"""
An application whose settings stand in its framework's configuration, as in Flask and Quart.

1. The configuration is read when a request comes, since it may be filled after the extension was
   set up, and again when what was read has changed: secrets may be rotated while the process runs.
2. A change never costs a session: the member stays, and with it the cluster's secret, which is the
   first secret key that was seen unless the cluster has one of its own.
3. A key with our prefix that we do not know is an error: it would be a setting that does nothing.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from replsession.cluster import Cluster
from replsession.errors import ConfigError
from replsession.session.expiry import SECONDS_MAX
from replsession.session.session import Session
from replsession.web.application import Application, Options
from replsession.web.exchange import Exchange

PREFIX = "REPLSESSION_"
LOCAL = "local"
IDLE_MIN_S = 0.001
"""For a lifetime of zero, which means that a session is over at the next request."""

_OPTIONS = tuple(Options.__annotations__)
_CLUSTER_VARIABLES = (
    "CONFIG",
    "SECRET",
    "SECRET_FILE",
    "BIND",
    "PORT",
    "MEMBER_NAME",
    "SEEDS",
)
"""What stands beside a cluster that is given as a text, as in the environment."""
_KNOWN = (*(option.upper() for option in _OPTIONS), *_CLUSTER_VARIABLES)


class ConfiguredSession(Session):
    """A session with what Flask's and Quart's sessions have."""

    _idle_s: tuple[float | None, float | None] = (None, None)
    """Idle intervals of this application's sessions: those that end with the browser, and those
    that are permanent. Set in a subclass for each application."""
    was_refused: bool = False
    """Whether something in it could not be stored: nothing of this request is."""

    @property
    def permanent(self) -> bool:
        """Whether the browser keeps the session's cookie when it is closed."""
        accessed = self.accessed
        value = bool(self.get("_permanent", False))
        # As in Flask, the front door may ask without making the response depend on the cookie.
        self.accessed = accessed
        return value

    @permanent.setter
    def permanent(self, value: bool) -> None:
        is_other = bool(value) != self.permanent
        self["_permanent"] = bool(value)
        if is_other and self._context is not None:
            self.max_inactive_interval = self._idle_s[bool(value)]

    @property
    def exchange(self) -> Exchange:
        """The request that the session belongs to; for front doors."""
        assert isinstance(self._context, Exchange)
        return self._context

    @property
    def new(self) -> bool:
        """As :attr:`is_new`."""
        return self.is_new

    @property
    def sid(self) -> str | None:
        """As :attr:`id`: public, no credential; None before the first write."""
        return self.id


class ConfiguredApplication:
    """
    One application and its configuration.

    Args:
        config: The framework's, which may change.
        session_class: What requests get.
        options: Given in code; the configuration wins.

    Raises:
        ConfigError: an option is not known.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        session_class: type[ConfiguredSession],
        options: Mapping[str, Any],
    ) -> None:
        for option in options:
            if option not in _OPTIONS:
                raise _unknown(option, _OPTIONS)
        self._config = config
        self._session_class = session_class
        self._options = dict(options)
        self._keys: tuple[str, ...] = ()
        self._read: list[Any] = []
        self._size = -1
        self._built: Application | None = None
        self._cluster: Cluster | None = None
        self._handles: dict[tuple[str, ...], Cluster | None] = {}

    @property
    def application(self) -> Application | None:
        """
        The application as it is configured now; None without a secret key.

        Raises:
            ConfigError: a value is not allowed, or a key with our prefix is not known.
        """
        config = self._config
        if not config.get("SECRET_KEY"):
            return None
        # For each request: keys that are new, or that are there no more, show in the others.
        is_same = len(config) == self._size and self._values() == self._read
        if not is_same or self._built is None:
            self._built = self._build()
            self._keys = tuple(key for key in _READ if key in config)
            self._read, self._size = self._values(), len(config)
        return self._built

    def _values(self) -> list[Any]:
        fallbacks = self._config.get("SECRET_KEY_FALLBACKS")
        return [*map(self._config.get, self._keys), *(fallbacks or ())]

    @property
    def cluster(self) -> Cluster | None:
        """The handle of the cluster; None for a process alone, or without a secret key."""
        return self._cluster if self.application is not None else None

    def _build(self) -> Application:
        config = self._config
        for key in config:
            if key.startswith(PREFIX) and key.removeprefix(PREFIX) not in _KNOWN:
                raise _unknown(key, [PREFIX + known for known in _KNOWN])
        options = self._options | {
            option: config[PREFIX + option.upper()]
            for option in _OPTIONS
            if PREFIX + option.upper() in config
        }
        is_in_file = config.get(PREFIX + "CONFIG") is not None
        options["cluster"] = cluster = self._handle(
            options.get("cluster", "" if is_in_file else LOCAL)
        )
        secrets = [_text(config["SECRET_KEY"])]
        secrets += map(_text, config.get("SECRET_KEY_FALLBACKS") or ())
        before = self._built
        if before is not None and cluster is self._cluster:
            options["channel"] = before.channel
        name, bases = self._session_class.__name__, (self._session_class,)
        cls: type[ConfiguredSession] = types.new_class(name, bases)
        try:
            built = Application(secrets, None, session_class=cls, **options)
        except ConfigError as error:
            raise ConfigError(_key(error.field), error.given, error.allowed) from None
        idle_s = built.manager.session_limits.idle_s
        is_given = "max_inactive_interval" in built.options
        cls._idle_s = (idle_s, idle_s if is_given else _seconds(config))
        self._cluster = cluster
        return built

    def _handle(self, given: Any) -> Any:
        """Return the cluster for what the configuration says, the same one each time."""
        if not isinstance(given, str):
            for name in _CLUSTER_VARIABLES:
                if self._config.get(PREFIX + name) is not None:
                    allowed = f"only beside a {PREFIX}CLUSTER in words; a Cluster has its own"
                    raise ConfigError(PREFIX + name, "a value", allowed)
            return given
        environment = {PREFIX + "CLUSTER": given}
        for name in _CLUSTER_VARIABLES:
            value = self._config.get(PREFIX + name)
            if value is not None:
                environment[PREFIX + name] = (
                    ",".join(value) if isinstance(value, list | tuple) else str(value)
                )
        key = tuple(f"{name}={value}" for name, value in environment.items())
        if key not in self._handles:
            self._handles[key] = Cluster.from_env(environment)
        return self._handles[key]


_READ = (
    "SECRET_KEY",
    "PERMANENT_SESSION_LIFETIME",
    *(PREFIX + known for known in _KNOWN),
)


def _unknown(given: str, known: Any) -> ConfigError:
    near = difflib.get_close_matches(given, known, 1, cutoff=0.8)
    hint = f"no such setting; did you mean {near[0]}?" if near else "one of " + ", ".join(known)
    return ConfigError(given, "a value", hint)


def _text(secret: Any) -> Any:
    if not isinstance(secret, bytes):
        return secret
    try:
        return secret.decode()
    except UnicodeDecodeError:
        return secret.decode("latin-1")


def _seconds(config: Mapping[str, Any]) -> float | None:
    lifetime = config["PERMANENT_SESSION_LIFETIME"]
    seconds = lifetime.total_seconds() if isinstance(lifetime, timedelta) else lifetime
    return None if seconds >= SECONDS_MAX else max(float(seconds), IDLE_MIN_S)


def _key(field: str) -> str:
    """Return the key of the configuration for an argument's name."""
    if field in _OPTIONS:
        return PREFIX + field.upper()
    return "SECRET_KEY" if field == "secret_key" else field
