"""
What a WSGI server says of a request, read for the rooms behind: cookie, path, id in the path.

1. The strings of WSGI are bytes that were decoded as latin-1; text is UTF-8 behind that.
2. An id is taken off ``PATH_INFO`` and off the URI as it was sent, in place, so that neither the
   application nor the server's access log sees it.
3. Only the URI as it was sent says which ``;`` is a delimiter. It may be absolute, with a query.

Source: PEP 3333, "Unicode Issues" and "URL Reconstruction".
"""

from __future__ import annotations

from typing import Any

from replsession.errors import ConfigError
from replsession.web.application import Arrived, arrived

Environ = dict[str, Any]

URI_KEYS = ("RAW_URI", "REQUEST_URI")
"""Where servers put the URI as it was sent: gunicorn; Werkzeug, waitress, uWSGI, Apache."""


def cookies_in(environ: Environ) -> list[tuple[bytes, bytes]]:
    """Return the request's cookie header as one of a list of headers, empty without any."""
    line = environ.get("HTTP_COOKIE")
    # What is no latin-1 came from no server; no token has a question mark.
    return [(b"cookie", line.encode("latin-1", "replace"))] if line else []


def path_of(environ: Environ) -> str:
    """Return the whole path of a request as text, below the server and not below a mount."""
    path: str = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return path if path.isascii() else path.encode("latin-1", "replace").decode("utf-8", "replace")


def take_id(environ: Environ) -> Arrived:
    """
    Take the id off the path of a request, in place.

    Raises:
        ConfigError: the server does not say how the path was sent.
    """
    path = environ.get("PATH_INFO", "")
    host = environ.get("HTTP_HOST") or f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}"
    came: Arrived | None = None
    for key in URI_KEYS:
        raw = environ.get(key)
        if raw:
            scheme = environ["wsgi.url_scheme"]
            found = arrived(
                path, raw.encode("latin-1", "replace"), scheme, host, encoding="latin-1"
            )
            if found.path != path and found.raw_path is not None:
                environ[key] = found.raw_path.decode("latin-1")
                environ["PATH_INFO"] = found.path
            if came is None or found.path != path:
                came = found
    if came is None:
        raise ConfigError(
            "url_tracking",
            True,
            "False with this server, as it gives neither RAW_URI nor REQUEST_URI, the path as it "
            "was sent; gunicorn, waitress, uWSGI and Werkzeug's server do",
        )
    return came
