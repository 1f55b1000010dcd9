"""
Cookies: a reader that does less than others, and a writer of Starlette's very text.

Reading, as RFC 6265bis describes what browsers send:

1. ``;`` ends a pair, always, between quotation marks as well. Blanks and tabs around a pair go.
2. The name is compared byte for byte; a blank on either side of ``=`` makes it another one.
3. Quotation marks and backslashes are never unwrapped. A value that does not look like a token
   (tracking.py) is passed over: it cannot verify, and other readers might see another value in it.
4. The headers of a request are read as one, in order, up to 16 KiB and 180 pairs; no more than 8
   different values come back, as each costs its reader a signature. All work is linear.

The parser of the standard library is not used: it decodes octal escapes in quoted values, and takes
seconds for some headers of 64 KiB (CPython issue 123067).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Protocol

from replsession.errors import ConfigError
from replsession.web.tracking import looks_like_token

HEADER_BYTES_MAX = 16 * 1024
"""Bytes of ``Cookie`` headers that are read; what is cut off there is not taken for a pair."""
PAIRS_MAX = 180
"""Pairs that are read: what browsers keep for one site, in Chromium's count."""
VALUES_MAX = 8
"""Different values handed on; a browser has one for each path and domain that set our name."""

_BLANKS = b" \t"
_START = (b"", b";")
_TOKEN_GRAMMAR = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_AV_OCTETS = re.compile(r"[ -:<-~]*")
_NEVER = "expires=Thu, 01 Jan 1970 00:00:00 GMT"


def find(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> tuple[str, ...]:
    """
    Return the different values of a cookie in a request, in the order in which they stand.

    Browsers send the one with the longest path first. With more than one, somebody else may have
    set one of them: the caller takes the first that verifies and is known.

    Args:
        headers: ``scope["headers"]``, names in lower case.
        name: Of the cookie.
    """
    return values_in(cookie_line(headers), name)


def cookie_line(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return a request's ``cookie`` header, several joined as one, empty without any."""
    line = b""
    for key, value in headers:
        if key == b"cookie":
            line = line + b";" + value if line else value
            if len(line) > HEADER_BYTES_MAX:
                break
    return line


def values_in(line: bytes, name: bytes) -> tuple[str, ...]:
    """As :func:`find`, in what :func:`cookie_line` returned."""
    prefix = name + b"="
    at = line.find(prefix)
    if at < 0:
        return ()
    if len(line) > HEADER_BYTES_MAX or line.find(prefix, at + 1) >= 0:
        return _scan(line, prefix)
    # The usual case: one place where it can stand, so the pairs need not be cut apart.
    if at and (
        line[:at].rstrip(_BLANKS)[-1:] not in _START or line.count(b";", 0, at) >= PAIRS_MAX
    ):
        return ()
    end = line.find(b";", at)
    value = line[at + len(prefix) : end if end >= 0 else None].rstrip(_BLANKS)
    return (value.decode(),) if looks_like_token(value) else ()


def _scan(line: bytes, prefix: bytes) -> tuple[str, ...]:
    pairs = line[:HEADER_BYTES_MAX].split(b";", PAIRS_MAX)
    if len(pairs) > PAIRS_MAX or len(line) > HEADER_BYTES_MAX:
        del pairs[-1]
    found: list[str] = []
    for pair in pairs:
        stripped = pair.strip(_BLANKS)
        value = stripped[len(prefix) :]
        if stripped.startswith(prefix) and looks_like_token(value):
            text = value.decode()
            if text not in found:
                found.append(text)
            if len(found) == VALUES_MAX:
                break
    return tuple(found)


class Cookies(Protocol):
    """What writes an application's cookie."""

    @property
    def name(self) -> bytes:
        """Name of the cookie."""

    def set(self, value: str) -> bytes:
        """Return the header's value that gives the cookie a value."""

    def delete(self) -> bytes:
        """Return the header's value that makes the browser forget the cookie."""


class CookieWriter:
    """
    Writes the values of ``Set-Cookie`` headers, as Starlette's ``SessionMiddleware`` writes them.

    Args:
        name: Of the cookie. With the prefix ``__Host-`` or ``__Secure-`` the other settings must be
            what browsers ask for, else they would drop the cookie without a word.
        path: Below which the browser sends it.
        same_site: ``lax``, ``strict`` or ``none``, in any case; written as given. ``none`` without
            *https_only* is taken, as Starlette takes it, though browsers refuse such a cookie.
        https_only: Adds ``secure``.
        domain: None for this host alone.
        partitioned: Adds ``partitioned``.
        max_age: Seconds the browser keeps it, 0 or less to drop it; None for as long as it runs.

    Raises:
        ConfigError: A setting has another type, or characters that would end the attribute.

    Source: ``starlette/middleware/sessions.py`` for text and order, RFC 6265bis for the grammar.
    """

    __slots__ = ("_after", "_before", "_deletion", "name")

    def __init__(
        self,
        name: str,
        path: str = "/",
        same_site: str = "lax",
        https_only: bool = False,
        domain: str | None = None,
        partitioned: bool = False,
        max_age: int | None = None,
    ) -> None:
        if not isinstance(name, str) or not _TOKEN_GRAMMAR.fullmatch(name):
            raise ConfigError("session_cookie", name, "letters, digits and !#$%&'*+-.^_`|~")
        _check_attribute("path", path)
        if domain is not None:
            _check_attribute("domain", domain)
        if not isinstance(same_site, str) or same_site.lower() not in ("lax", "strict", "none"):
            raise ConfigError("same_site", same_site, "'lax', 'strict' or 'none'")
        for field, flag in (("https_only", https_only), ("partitioned", partitioned)):
            if not isinstance(flag, bool):
                raise ConfigError(field, flag, "True or False")
        if max_age is not None and (not isinstance(max_age, int) or isinstance(max_age, bool)):
            raise ConfigError("max_age", max_age, "whole seconds, or None")
        _check_prefix(name, path, https_only, domain)

        flags = "httponly; samesite=" + same_site
        flags += "; secure" if https_only else ""
        flags += f"; domain={domain}" if domain is not None else ""
        flags += "; partitioned" if partitioned else ""
        kept = f"Max-Age={max_age}; " if max_age is not None else ""
        self.name = name.encode()
        self._before = f"{name}=".encode()
        self._after = f"; path={path}; {kept}{flags}".encode()
        self._deletion = f"{name}=null; path={path}; {_NEVER}; {flags}".encode()

    def set(self, value: str) -> bytes:
        """
        Return the header's value that gives the cookie a value.

        Args:
            value: A token that we signed, so it has no character that could end the value.
        """
        return self._before + value.encode("ascii") + self._after

    def delete(self) -> bytes:
        """Return the header's value that makes the browser forget the cookie."""
        return self._deletion


def add_vary(headers: list[tuple[bytes, bytes]], value: bytes = b"Cookie") -> None:
    """
    Name a request header on which the response depends, in place.

    All ``vary`` headers become one, where the first stood.
    Source: Starlette's ``MutableHeaders.add_vary_header``.

    Args:
        headers: Of the response, names in lower case.
        value: Name of the request header.
    """
    for name, _ in headers:
        if name == b"vary":
            break
    else:
        headers.append((b"vary", value))
        return
    found = [at for at, header in enumerate(headers) if header[0] == b"vary"]
    headers[found[0]] = (b"vary", b", ".join([*(headers[at][1] for at in found), value]))
    for at in reversed(found[1:]):
        del headers[at]


def _check_attribute(field: str, value: object) -> None:
    if not isinstance(value, str) or not _AV_OCTETS.fullmatch(value):
        raise ConfigError(field, value, "printable ASCII characters without a semicolon")


def _check_prefix(name: str, path: str, https_only: bool, domain: str | None) -> None:
    # Browsers compare the prefixes without regard to case.
    host, secure = (name.lower().startswith(prefix) for prefix in ("__host-", "__secure-"))
    if (host or secure) and not https_only:
        raise ConfigError("https_only", https_only, f"True, for a cookie named {name!r}")
    if host and path != "/":
        raise ConfigError("path", path, f"'/', for a cookie named {name!r}")
    if host and domain is not None:
        raise ConfigError("domain", domain, f"None, for a cookie named {name!r}")
