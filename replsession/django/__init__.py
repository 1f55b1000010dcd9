"""
The front door for Django: a session engine, and the middleware that makes it whole.

::

    SESSION_ENGINE = "replsession.django"
    MIDDLEWARE = [
        "replsession.django.Middleware",  # outside Django's own, which stays
        "django.contrib.sessions.middleware.SessionMiddleware",
        ...
    ]
    REPLSESSION = {"CLUSTER": "lan:shop"}

Django's settings mean what they mean in Django. The engine alone serves what is here and commits
without waiting; what a client has seen, and a write concern, need the middleware.
"""

from __future__ import annotations

from django.utils.safestring import SafeString

from replsession.django.middleware import Middleware
from replsession.django.store import SessionStore
from replsession.session.registry import register

# Not `str`, which gives a SafeString back as it is.
register(
    "django.SafeString", SafeString, to_plain=str.__str__, from_plain=SafeString, immutable=True
)

__all__ = ["Middleware", "SessionStore"]
