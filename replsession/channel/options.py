"""Options of a cluster, checked: each wrong one is a ConfigError that names it."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import replace
from typing import Any

from replsession.channel.addresses import check_bind
from replsession.channel.multicast import check_group
from replsession.channel.resolver import check_seeds
from replsession.channel.run_directory import AUTO
from replsession.config import (
    AUTO_BIND_PORTS,
    MULTICAST_GROUP,
    MULTICAST_PORT,
    RECEIVER_PORT,
    ClusterSettings,
    NodeConfig,
    Timing,
    is_number,
)
from replsession.errors import ConfigError
from replsession.security.keys import check_secret

NAME_CHARACTERS_MAX = 64

_OPTIONS = (
    "secret",
    "bind",
    "port",
    "auto_bind",
    "member_name",
    "multicast",
    "seeds",
    "control",
    *Timing.__dataclass_fields__,
)


def refuse_unknown(options: dict[str, Any]) -> None:
    """Refuse options that a cluster does not have."""
    for option, value in options.items():
        if option not in _OPTIONS:
            # Not the value itself: it may be a secret under another name.
            given = f"a {type(value).__name__}"
            raise ConfigError(option, given, f"no such option, but {', '.join(_OPTIONS)}")


def is_loopback(host: str) -> bool:
    """Tell whether a host is this one, as seen by itself alone."""
    try:
        return ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        return host == "localhost"


def settings_of(
    name: str,
    *,
    on_this_host: bool,
    secret: str | None = None,
    bind: str = "auto",
    port: int = RECEIVER_PORT,
    auto_bind: int = AUTO_BIND_PORTS,
    member_name: str | None = None,
    multicast: tuple[str, int] | None = (MULTICAST_GROUP, MULTICAST_PORT),
    seeds: tuple[str, ...] = (),
    domain: str | None = None,
    control: str | None = AUTO,
    **timing: float,
) -> ClusterSettings:
    """
    Return the settings of a cluster; see :meth:`replsession.Cluster.lan`.

    Raises:
        ConfigError: a value is not allowed.
    """
    refuse_unknown(dict(timing))
    if secret is not None and (not isinstance(secret, str) or not secret):
        raise ConfigError("secret", f"a {type(secret).__name__}", "a text that is not empty")
    check_bind(bind)
    _check_integer("port", port, 1, 65535)
    _check_integer("auto_bind", auto_bind, 1, 65535)
    if member_name is not None:
        check_name("member_name", member_name)
    if multicast is not None:
        if not isinstance(multicast, tuple) or len(multicast) != 2:
            raise ConfigError("multicast", multicast, "(group, port), or None")
        check_group(*multicast)
    seeds = check_seeds(seeds)
    _check_control(control)
    if not on_this_host and secret is not None:
        check_secret(secret)
    return ClusterSettings(
        _whole_name(name, domain),
        secret,
        bind,
        port,
        auto_bind,
        member_name,
        multicast,
        on_this_host,
        NodeConfig(timing=Timing(**timing)),
        seeds,
        control,
    )


def local_settings(name: str, /, **options: Any) -> ClusterSettings:
    """
    Return the settings of a cluster of one host; see :meth:`replsession.Cluster.local`.

    Raises:
        ConfigError: a value is not allowed, such as an address of other hosts.
    """
    refuse_unknown(options)
    settings = settings_of(name, on_this_host=True, **options)
    if settings.bind not in ("auto", "lo", "lo0") and not is_loopback(settings.bind):
        raise ConfigError(
            "bind", settings.bind, "a loopback address; Cluster.lan(name) has members elsewhere"
        )
    for seed in settings.seeds:
        if not is_loopback(seed.partition(":")[0]):
            allowed = "loopback addresses; Cluster.lan(name) has members elsewhere"
            raise ConfigError("seeds", seed, allowed)
    return settings


def with_secret(settings: ClusterSettings, secret_key: str) -> ClusterSettings:
    """
    Return settings with a secret: their own, else that of the application.

    Raises:
        ConfigError: the secret will not do.
    """
    has_own = settings.secret is not None
    if not has_own:
        settings = replace(settings, secret=secret_key)
    if not settings.on_this_host:
        assert settings.secret is not None
        check_secret(settings.secret, "secret" if has_own else "secret_key")
    return settings


def _check_control(control: object) -> None:
    is_path = isinstance(control, str) and os.path.isabs(control) and "\0" not in control
    if control not in (None, AUTO) and not is_path:
        allowed = f"{AUTO!r}, the absolute path of a directory, or None"
        raise ConfigError("control", control, allowed)


def _whole_name(name: str, domain: str | None) -> str:
    if domain is None:
        return name
    check_name("domain", domain)
    whole = f"{name}/{domain}"
    if "/" in domain or len(whole) > NAME_CHARACTERS_MAX:
        allowed = f"a name without '/', {NAME_CHARACTERS_MAX - 1} characters with the cluster's"
        raise ConfigError("domain", domain, allowed)
    return whole


def check_name(field: str, name: object) -> None:
    """Refuse a name that is no short, printable text."""
    if (
        not isinstance(name, str)
        or not 1 <= len(name) <= NAME_CHARACTERS_MAX
        or not name.isprintable()
    ):
        raise ConfigError(field, name, f"1 to {NAME_CHARACTERS_MAX} printable characters")


def _check_integer(field: str, value: object, least: int, most: int) -> None:
    if not is_number(value) or not isinstance(value, int) or not least <= value <= most:
        raise ConfigError(field, value, f"a whole number, {least} to {most}")
