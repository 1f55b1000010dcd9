"""
URL tracking: the session token in the path, as in ``/cart;jsessionid=TOKEN?page=2``.

1. Only a parameter of the *last* segment counts, its name in exactly these letters. ``%3B`` is no
   delimiter, since a proxy in front sees none either: what is raw decides, never what is decoded.
2. Every such parameter of that segment is taken off, whatever its value is, so that a link with an
   old or damaged id still leads to its page. Only a value that looks like a token is handed on, and
   none if two differ.
3. Where the raw path is missing, or says something else than the decoded one, nothing is taken.
4. A segment that would become ``.`` or ``..`` is left alone: nothing after us may see a path that
   climbs where the proxy in front saw none.
5. An id is written only into a URL of which *every* reader says that it stays on this origin.

Source: Tomcat's ``CoyoteAdapter.parsePathParameters`` and ``Response.encodeURL``, which take the
parameter from any segment; the last one is where ``encode_url`` puts it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

PARAMETER = ";jsessionid="
TOKEN_LENGTH_MAX = 512
TOKEN_CHARACTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"

_PARAMETER_BYTES = PARAMETER.encode()
_NAME_BYTES = _PARAMETER_BYTES[1:]
_DOTS = frozenset({".", ".."})
_DEFAULT_PORTS = {"http": ":80", "https": ":443", "ws": ":80", "wss": ":443"}
_SAFE_IN_SEGMENT = "%!$&()*+,;=:@-._~"

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_AUTHORITY = re.compile(r"//([^/]+)")
_HOST = re.compile(r"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?")
_UNSURE = re.compile(r"[\x00-\x1f\x7f\\]|^ | $")
"""What browsers remove, or turn into ``/``, before they read a URL. Source: WHATWG URL standard."""


@dataclass(frozen=True, slots=True)
class Taken:
    """
    A request's path without the id.

    Args:
        path: The decoded path, for the valve and the application.
        raw_path: The path as it was sent, the same.
        token: What stood there, if it looks like a token; it is not verified.
    """

    path: str
    raw_path: bytes | None
    token: str | None = None


def looks_like_token(value: bytes) -> bool:
    """Tell whether *value* has 1 to 512 characters of ``A-Z a-z 0-9 . _ -`` and no others."""
    return not value.translate(None, TOKEN_CHARACTERS) and 0 < len(value) <= TOKEN_LENGTH_MAX


def take(path: str, raw_path: bytes | None, *, encoding: str = "utf-8") -> Taken:
    """
    Take the ids off the last segment of a request's path.

    The decoded path is changed at its end alone, because servers put a ``root_path`` before it.

    Args:
        path: ``scope["path"]``.
        raw_path: ``scope["raw_path"]``; ASGI lets a server leave it out. A query in it is kept.
        encoding: In which *path* was decoded; ``latin-1`` for the strings of WSGI.

    Returns:
        What the application shall see, and the token if there was one and only one.
    """
    if raw_path is None or _PARAMETER_BYTES not in raw_path:
        return Taken(path, raw_path)
    raw, mark, query = raw_path.partition(b"?")
    before, slash, segment = raw.rpartition(b"/")
    bare, values = _split(segment)
    decoded, decoded_bare = _decoded(segment, encoding), _decoded(bare, encoding)
    climbs = decoded_bare.rpartition("/")[2] in _DOTS
    if not slash or not values or climbs or not path.endswith("/" + decoded):
        return Taken(path, raw_path)
    one = values[0] if all(value == values[0] for value in values) else b""
    return Taken(
        path[: len(path) - len(decoded)] + decoded_bare,
        before + slash + bare + mark + query,
        one.decode("ascii") if looks_like_token(one) else None,
    )


def encode_url(url: str, token: str, *, scheme: str, host: str, current_path: str) -> str:
    """
    Put the token into a URL, after its path and before ``?`` and ``#``.

    Unchanged come back: a fragment alone (``#top``), another origin, another scheme, and everything
    that a browser might read otherwise than we do (control characters, backslashes, blanks around).

    Args:
        url: As it would stand in a page, relative or absolute.
        token: The client's token.
        scheme: Of the request, for example ``https``.
        host: Of the request, as in its Host header, with the port if it is not the default one.
        current_path: The request's path without an id, still percent-encoded. A reference without
            a path (``?page=2``) means this page, so its last segment is written out: the browser
            may know this page by a URL that has no token yet.

    Returns:
        The URL with the token in place of any other one, or *url* itself.
    """
    assert looks_like_token(token.encode()), "a token has other characters"
    if url.startswith("#") or _UNSURE.search(url):
        return url
    cut = min((at for at in (url.find("?"), url.find("#")) if at >= 0), default=len(url))
    origin, path = _origin_and_path(url[:cut], scheme, host)
    if path is None:
        return url
    if not path and not origin:
        path = _this_page(current_path)
    return origin + _with_token(path or "/", token) + url[cut:]


def _split(segment: bytes) -> tuple[bytes, list[bytes]]:
    """Return a raw segment without the ids, and the ids."""
    name, *parameters = segment.split(b";")
    kept = [each for each in parameters if not each.startswith(_NAME_BYTES)]
    values = [each[len(_NAME_BYTES) :] for each in parameters if each.startswith(_NAME_BYTES)]
    return b";".join([name, *kept]), values


def _decoded(raw: bytes, encoding: str) -> str:
    return unquote_to_bytes(raw).decode(encoding, "replace")


def _origin_and_path(base: str, scheme: str, host: str) -> tuple[str, str | None]:
    """Split a URL without query and fragment; the path is None if it leads elsewhere, or may."""
    rest = base
    found = _SCHEME.match(base)
    if found:
        if found[1].lower() != scheme.lower():
            return "", None
        rest = base[found.end() :]
    if not found and not rest.startswith("//"):
        return "", rest
    authority = _AUTHORITY.match(rest)
    if not authority or not _same_host(authority[1], host, scheme.lower()):
        return "", None
    end = len(base) - len(rest) + authority.end()
    return base[:end], base[end:]


def _same_host(one: str, other: str, scheme: str) -> bool:
    # Nothing equals a host with a user before it, or with characters that browsers map to others.
    plain = _HOST.fullmatch(one) and _HOST.fullmatch(other)
    return bool(plain) and _with_port(one, scheme) == _with_port(other, scheme)


def _with_port(host: str, scheme: str) -> str:
    has_port = ":" in host.rpartition("]")[2]
    return host.lower() + ("" if has_port else _DEFAULT_PORTS.get(scheme, ""))


def _this_page(current_path: str) -> str:
    # "./" because a colon in the segment would make it look like a scheme.
    return "./" + quote(current_path.rpartition("/")[2], safe=_SAFE_IN_SEGMENT)


def _with_token(path: str, token: str) -> str:
    before, slash, segment = path.rpartition("/")
    bare = _split(segment.encode("utf-8", "surrogatepass"))[0].decode("utf-8", "surrogatepass")
    if bare.lower().replace("%2e", ".") in _DOTS:
        # "..;jsessionid=…" is no way up any more; "../" says the same as ".."
        bare += "/"
    return f"{before}{slash}{bare}{PARAMETER}{token}"
