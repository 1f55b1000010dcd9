"""
Readers of Tomcat's attributes: each makes of a text what it says, by the names of a configuration.

They raise ValueError for a text that says nothing that is allowed here. Some names are not those of
a configuration but halves of one, which ``server_xml.py`` puts together.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Final

from replsession.settings.configuration import CLUSTER, SECRET, Kind

Said = Mapping[str, Any]

LAN: Final = "lan:"
_ASYNCHRONOUS, _USE_ACK, _SYNC_ACK = 8, 2, 4
_BEHIND: Final = 1 | 16
"""Raw bytes, and secure: how it travels here in any case."""
_FLAGS: Final = {
    "none": 0,
    "byte_message": 1,
    "byte": 1,
    "use_ack": _USE_ACK,
    "synchronized_ack": _SYNC_ACK,
    "sync_ack": _SYNC_ACK,
    "sync": _SYNC_ACK,
    "asynchronous": _ASYNCHRONOUS,
    "async": _ASYNCHRONOUS,
    "secure": 16,
}
"""Source: Tomcat's ``Channel``, ``getSendOptionValue``; ``sync_ack`` is what people write."""
_KEY: Final = re.compile("(?:[0-9a-f]{32}|[0-9a-f]{48}|[0-9a-f]{64})", re.ASCII)


def as_is(name: str) -> Callable[[str], Said]:
    """Return a reader of a text."""
    return lambda text: {name: _some(text)}


def sets(name: str, kind: Kind) -> Callable[[str], Said]:
    """Return a reader of values of a kind."""
    return lambda text: {name: kind.read(text)}


def milliseconds(name: str) -> Callable[[str], Said]:
    """Return a reader of milliseconds."""
    return lambda text: {name: _above_zero(text) / 1000}


def seconds(name: str) -> Callable[[str], Said]:
    """Return a reader of seconds."""
    return lambda text: {name: float(_above_zero(text))}


def only(*texts: str) -> Callable[[str], Said]:
    """Return a reader that takes what is so in any case, and no more."""

    def read(text: str) -> Said:
        if text.lower() not in texts:
            raise ValueError
        return {}

    return read


def refused(text: str) -> Said:
    """Refuse whatever it says."""
    raise ValueError


def name(text: str) -> Said:
    """Read the name of a cluster."""
    return {CLUSTER: LAN + _some(text)}


def context(text: str) -> Said:
    """Read the name of a manager, with a host's before it or not; the root's is empty."""
    return {"context": text.rpartition("#")[2] or "/"}


def idle_interval(text: str) -> Said:
    """Read seconds, of which none mean for ever."""
    interval_s = int(text)
    return {"max_inactive_interval": float(interval_s) if interval_s > 0 else None}


def auto_bind(text: str) -> Said:
    """Read how many ports are tried; Tomcat tries one in any case."""
    return {"auto_bind": max(int(text), 1)}


def send_options(text: str) -> Said:
    """Read what Tomcat's cluster asks of the other members for each message."""
    flags = _flags(text)
    if flags & _ASYNCHRONOUS or not flags & (_USE_ACK | _SYNC_ACK):
        return {"concern": "async"}
    return {"concern": "all", "on_shortfall": "warn"}


def map_send_options(text: str) -> Said:
    """Read the same of a manager that has one backup of each session."""
    return {"concern": "one", "on_shortfall": "warn"} if _waits(text) else {"concern": "async"}


def start_options(text: str) -> Said:
    """Read which parts of a channel are started: all, or all without the membership's."""
    parts = int(text, 0)
    if parts not in (15, 3):
        raise ValueError
    return {"multicast": None} if parts == 3 else {}


def provider(text: str) -> Said:
    """Read the name of a provider of members of a cloud."""
    short = text.rpartition(".")[2].lower()
    if short not in ("dns", "kubernetes", "dnsmembershipprovider", "kubernetesmembershipprovider"):
        raise ValueError
    return {"service": True}


def encryption_key(text: str) -> Said:
    """Read a key, which becomes the secret as it is written, but for capitals."""
    key = text.strip().lower()
    if not _KEY.fullmatch(key):
        raise ValueError
    return {SECRET: key}


def name_filter(text: str) -> Said:
    """Read an expression for names that are replicated: all others stay local."""
    if not text:
        return {}
    others = rf"(?!(?:{text})\Z)(?s:.*)"
    _check_pattern(others)
    return {"local_attributes": others}


def pattern(name: str) -> Callable[[str], Said]:
    """Return a reader of regular expressions that mean the same in Java and in Python."""

    def read(text: str) -> Said:
        for part in text.split(";"):
            _check_pattern(part)
        return {name: text}

    return read


def _check_pattern(text: str) -> None:
    if "&&" in text:
        # Sets that are cut with one another are Java's alone; Python would see two ampersands.
        raise ValueError
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", FutureWarning)
            re.compile(text)
    except (re.error, FutureWarning, OverflowError, RecursionError):
        raise ValueError from None


def _waits(text: str) -> bool:
    return bool(send_options(text)["concern"] != "async")


def _flags(text: str) -> int:
    parts = [part.strip().lower() for part in text.split(",")]
    try:
        flags = int(text, 0)
    except ValueError:
        flags = 0
        for part in parts:
            if part not in _FLAGS:
                raise ValueError from None
            flags |= _FLAGS[part]
    if flags & ~(_ASYNCHRONOUS | _USE_ACK | _SYNC_ACK | _BEHIND):
        raise ValueError
    return flags


def _above_zero(text: str) -> int:
    number = int(text)
    if number <= 0:
        raise ValueError
    return number


def _some(text: str) -> str:
    if not text.strip():
        raise ValueError
    return text.strip()
