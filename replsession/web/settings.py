"""What a front door was told, checked: each wrong value is a ConfigError that names its field."""

from __future__ import annotations

from typing import Any, Final

from replsession.config import MAX_INACTIVE_INTERVAL_S, is_number
from replsession.errors import ConfigError
from replsession.session.expiry import SECONDS_MAX, SessionLimits

CONTEXT_CHARACTERS_MAX = 128


class Default(int):
    """A default that can be told from the same number given by the user."""


class Unset:
    """No value was given, and None is one."""

    def __repr__(self) -> str:
        return "<unset>"


DEFAULT_MAX_AGE: Final = Default(14 * 24 * 60 * 60)
UNSET: Final = Unset()


def secrets_of(secret_key: Any) -> list[str]:
    """
    Return the application's secrets as a list; the first signs, all verify.

    Raises:
        ConfigError: there is none, or one is empty. The error never shows a secret.
    """
    given = secret_key if isinstance(secret_key, list | tuple) else [secret_key]
    allowed = "a text that is not empty, or a list of them: the first signs, all verify"
    if not given:
        raise ConfigError("secret_key", "an empty list", allowed)
    secrets: list[str] = []
    for secret in given:
        if not _says_its_text(secret):
            kind = "an empty text" if isinstance(secret, str) else f"a {type(secret).__name__}"
            raise ConfigError("secret_key", kind, allowed)
        secrets.append(str(secret))
    return secrets


def _says_its_text(secret: Any) -> bool:
    if isinstance(secret, str):
        return bool(str(secret))
    # As starlette.datastructures.Secret does. Others say an address in memory, which is another one
    # in each process, or asterisks, which are the same for everybody.
    says = getattr(type(secret), "__str__", None) is not object.__str__
    builtin = type(secret).__module__ == "builtins"
    return says and not builtin and bool(str(secret).strip("*"))


def session_limits(
    max_age: int | None, max_inactive_interval: float | Unset | None, lifetime: float | None
) -> SessionLimits:
    """
    Return how long sessions of an application live.

    The idle interval is what was given, else ``max_age`` if that was given, else 1800 s, Tomcat's.
    A ``max_age`` of zero or less means over at once, as it does in Starlette.

    Raises:
        ConfigError: a value is not allowed.
    """
    if not isinstance(max_inactive_interval, Unset):
        _check_seconds("max_inactive_interval", max_inactive_interval)
        idle_s = max_inactive_interval
    elif max_age is not None and not isinstance(max_age, Default):
        idle_s = max(max_age, 0)
    else:
        idle_s = MAX_INACTIVE_INTERVAL_S
    _check_seconds("lifetime", lifetime)
    return SessionLimits(idle_s, lifetime)


def _check_seconds(field: str, seconds: Any) -> None:
    if seconds is not None and (not is_number(seconds) or not 0 < seconds < SECONDS_MAX):
        raise ConfigError(field, seconds, "seconds above 0, or None for ever")


def check_context(context: Any) -> None:
    """Refuse a name of an application that is none: ``/``, ``/shop`` …"""
    if (
        not isinstance(context, str)
        or not context.startswith("/")
        or len(context) > CONTEXT_CHARACTERS_MAX
        or not context.isprintable()
    ):
        raise ConfigError(
            "context", context, f"a text that begins with '/', at most {CONTEXT_CHARACTERS_MAX}"
        )


def check_switch(field: str, value: Any) -> None:
    """Refuse what is neither True nor False."""
    if not isinstance(value, bool):
        raise ConfigError(field, value, "True or False")


def check_choice(field: str, value: Any, choices: tuple[str, ...]) -> None:
    """Refuse what is none of the choices."""
    if value not in choices:
        raise ConfigError(field, value, " or ".join(map(repr, choices)))


def check_name(field: str, value: Any) -> None:
    """Refuse what is neither a text with something in it, nor None."""
    if value is not None and (not isinstance(value, str) or not value):
        raise ConfigError(field, value, "a text that is not empty, or None")


def check_bound(field: str, value: Any) -> None:
    """Refuse what is neither a whole number above 0, nor None for no bound."""
    if value is not None and (not is_number(value) or not isinstance(value, int) or value < 1):
        raise ConfigError(field, value, "a whole number above 0, or None")
