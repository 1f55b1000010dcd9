"""
Django's settings, read once: ``REPLSESSION``, and those of Django that mean the same.

``REPLSESSION`` is a dict of upper-case names, as Django's own settings are: every option of
:class:`replsession.web.application.Application`, such as ``CLUSTER``, ``CONCERN``, ``STALE``.
"""

from __future__ import annotations

import os
import threading
from difflib import get_close_matches
from typing import Any, NamedTuple

from django.conf import settings
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from replsession.cluster import Cluster
from replsession.errors import ConfigError
from replsession.web.application import Application, Options
from replsession.web.cookies import CookieWriter

OPTIONS = tuple(name.upper() for name in Options.__annotations__)
SETTING = "REPLSESSION"
READ = frozenset({SETTING, "SECRET_KEY", "SECRET_KEY_FALLBACKS", "SESSION_COOKIE_AGE"})
"""Settings that the application is made of."""
SESSION_MIDDLEWARE = "django.contrib.sessions.middleware.SessionMiddleware"
MIDDLEWARE = "replsession.django.Middleware"

_OF_DJANGO = {
    "secret_key": "SECRET_KEY",
    "max_age": "SESSION_COOKIE_AGE",
    "session_cookie": "SESSION_COOKIE_NAME",
}


_IN_COOKIE_ONLY = "False: Django writes and reads its id in a cookie only"
_NOT_TOLD = "None: Django's requests are not told who served their session last"
_NOT_KEPT = "None: attributes of Django's sessions are on every member"


class Behind(NamedTuple):
    """What stands behind Django's session engine in this process."""

    application: Application
    cookies: CookieWriter
    """Has the cookie's name; Django writes the cookie."""
    follows_cookie_age: bool
    """Sessions are over when the cookie is, as in Django: no other interval was set."""
    tokens: dict[tuple[str, str], str]
    """What pairs of cookies make, as browsers send the same again and again; bounded."""


_lock = threading.Lock()
_made: list[Behind] = []


def behind() -> Behind:
    """
    Return what stands behind the engine; made when it is first asked for.

    Raises:
        ConfigError: a setting has a value that is not allowed; it names the setting.
    """
    try:
        return _made[0]
    except IndexError:
        with _lock:
            if not _made:
                _made.append(made())
            return _made[0]


def forget(*, setting: str, **changed: object) -> None:
    """Read the settings again when it is next asked for; Django's tests change them."""
    if setting in READ:
        _made.clear()


setting_changed.connect(forget)


def check_order() -> None:
    """
    Refuse a list of middlewares in which ours comes too late.

    Raises:
        ConfigError: Django's session middleware stands before it.
    """
    names = list(settings.MIDDLEWARE)
    if MIDDLEWARE in names and SESSION_MIDDLEWARE in names[: names.index(MIDDLEWARE)]:
        raise ConfigError(
            "MIDDLEWARE", f"{SESSION_MIDDLEWARE} first", f"{MIDDLEWARE} somewhere before it"
        )


def made() -> Behind:
    """Make what stands behind the engine anew, of the settings; see :func:`behind`."""
    given = getattr(settings, SETTING, {})
    if not isinstance(given, dict):
        raise ConfigError(SETTING, given, "a dict, such as {'CLUSTER': 'lan:shop'}")
    options = {_option(name): value for name, value in given.items()}
    if isinstance(options.get("cluster"), str):
        options["cluster"] = _cluster(options["cluster"])
    if isinstance(options.get("listeners"), list | tuple):
        options["listeners"] = [_listener(each) for each in options["listeners"]]
    secrets = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    try:
        application = Application(secrets, settings.SESSION_COOKIE_AGE, **options)
        cookies = CookieWriter(settings.SESSION_COOKIE_NAME)
        for option, wrong, allowed in (
            ("url_tracking", application.url_tracking, _IN_COOKIE_ONLY),
            ("primary_indicator", application.primary_indicator, _NOT_TOLD),
            ("local_attributes", application.options.get("local_attributes"), _NOT_KEPT),
        ):
            if wrong:
                error = ConfigError(option, wrong, allowed)
                is_ours = option in options
                raise error if is_ours else options["cluster"].configuration.blamed(error)
    except ConfigError as error:
        raise ConfigError(_named(error.field), error.given, error.allowed) from None
    return Behind(application, cookies, "max_inactive_interval" not in application.options, {})


def _option(name: Any) -> str:
    if name in OPTIONS:
        return str(name).lower()
    near = get_close_matches(str(name).upper(), OPTIONS, n=1)
    meant = f"did you mean {near[0]!r}? " if near else ""
    # Not the value: it may be a secret under another name.
    raise ConfigError(f"{SETTING}[{name!r}]", "an unknown name", f"{meant}{', '.join(OPTIONS)}")


def _named(field: str) -> str:
    """Return what the user wrote where an option has another name in Django."""
    if field in _OF_DJANGO:
        return _OF_DJANGO[field]
    return f"{SETTING}[{field.upper()!r}]" if field.upper() in OPTIONS else field


def _cluster(text: str) -> Cluster | None:
    try:
        return Cluster.from_env({**os.environ, "REPLSESSION_CLUSTER": text})
    except ConfigError as error:
        field = _named("cluster") if error.field == "REPLSESSION_CLUSTER" else error.field
        raise ConfigError(field, error.given, error.allowed) from None


def _listener(given: object) -> object:
    if not isinstance(given, str):
        return given
    try:
        listener = import_string(given)
    except ImportError as error:
        raise ConfigError(_named("listeners"), given, f"a dotted path ({error})") from error
    return listener() if isinstance(listener, type) else listener
