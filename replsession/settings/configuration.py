"""
A whole configuration: one flat set of names, with one meaning wherever they were read.

The names are those of the keyword arguments: of ``Cluster.lan`` for the member, and of the
middlewares for the application. This file says which there are and of what kind their values are;
whether a value is allowed is for those who use it, and :meth:`Configuration.blamed` tells the user
where it stands.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from replsession.config import Timing
from replsession.errors import ConfigError

CLUSTER: Final = "cluster"
"""``local``, ``lan:NAME`` or ``none``."""
CONTROL: Final = "control"
SECRET: Final = "secret"
SECRET_FILE: Final = "secret_file"


@dataclass(frozen=True, slots=True)
class Kind:
    """
    What the values of a name are.

    Args:
        says: The kind in words, for a message.
        of_text: Makes a value of a text, as in the environment; ValueError: it is none.
        is_one: Whether a value that is no text, as in a TOML file, is one.
        may_be_none: There is a None: ``false`` in TOML, ``none`` as a text.
    """

    says: str
    of_text: Callable[[str], Any]
    is_one: Callable[[object], bool]
    may_be_none: bool = False

    def read(self, text: str) -> Any:
        """Return the value that a text stands for, or raise ValueError."""
        if self.may_be_none and text.lower() in ("none", "false"):
            return None
        return self.of_text(text)

    def convert(self, value: object) -> Any:
        """Return the value that a TOML value stands for, or raise ValueError."""
        if self.may_be_none and value is False:
            return None
        if not self.is_one(value):
            raise ValueError
        return self.of_text(value) if self is GROUP and isinstance(value, str) else value


def _switch(text: str) -> bool:
    try:
        return {"true": True, "false": False}[text.lower()]
    except KeyError:
        raise ValueError from None


def _texts(text: str) -> list[str]:
    return [part for part in (part.strip() for part in text.split(",")) if part]


def _group(text: str) -> tuple[str, int]:
    group, _, port = text.rpartition(":")
    return group, int(port)


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_whole(value: object) -> bool:
    return type(value) is int


def _is_number(value: object) -> bool:
    return type(value) in (int, float)


def _is_switch(value: object) -> bool:
    return isinstance(value, bool)


TEXT: Final = Kind("a text", str, _is_text)
TEXT_OR_NONE: Final = Kind("a text, or false for none", str, _is_text, True)
WHOLE: Final = Kind("a whole number", int, _is_whole)
WHOLE_OR_NONE: Final = Kind("a whole number, or false for none", int, _is_whole, True)
SECONDS: Final = Kind("a number of seconds", float, _is_number)
SECONDS_OR_NONE: Final = Kind("a number of seconds, or false for none", float, _is_number, True)
SWITCH: Final = Kind("true or false", _switch, _is_switch)
TEXTS: Final = Kind("a list of texts", _texts, _are_texts)
PATTERNS: Final = Kind(
    "a text with semicolons in it, a list of texts, or false for none",
    str,
    lambda value: _is_text(value) or _are_texts(value),
    True,
)
GROUP: Final = Kind('a text such as "228.0.0.4:45564", or false for none', _group, _is_text, True)

MEMBER: Final[Mapping[str, Kind]] = {
    SECRET: TEXT,
    SECRET_FILE: TEXT,
    "domain": TEXT,
    "bind": TEXT,
    "port": WHOLE,
    "auto_bind": WHOLE,
    "member_name": TEXT,
    "multicast": GROUP,
    "seeds": TEXTS,
    CONTROL: TEXT_OR_NONE,
    **dict.fromkeys(Timing.__dataclass_fields__, SECONDS),
}
"""What concerns the member; ``secret_file`` has the secret in its first line."""

APPLICATION: Final[Mapping[str, Kind]] = {
    "context": TEXT,
    "max_inactive_interval": SECONDS_OR_NONE,
    "lifetime": SECONDS_OR_NONE,
    "url_tracking": SWITCH,
    "valve": PATTERNS,
    "notify_listeners_on_replication": SWITCH,
    "expire_sessions_on_shutdown": SWITCH,
    "max_sessions_per_principal": WHOLE_OR_NONE,
    "required": SWITCH,
    "concern": TEXT,
    "ack_timeout_s": SECONDS,
    "on_shortfall": TEXT,
    "expected_members": WHOLE_OR_NONE,
    "stale": TEXT,
    "primary_indicator": TEXT_OR_NONE,
    "local_attributes": TEXT_OR_NONE,
}
"""What concerns the application; what is no plain value, as its listeners, is given in code."""

IN_CODE: Final[Mapping[str, str]] = {"listeners": "given in code only: they are objects"}
"""Options of the application that are no names here, and why."""

KINDS: Final[Mapping[str, Kind]] = {CLUSTER: TEXT, **MEMBER, **APPLICATION}


@dataclass(frozen=True, slots=True)
class Configuration:
    """
    What was read, of whatever place.

    Args:
        values: By name, those of ``KINDS``; only what was said. A secret may be among them, so
            they never stand in a ``repr``.
        written: By name, where it stands and what it is called there, for messages.
        remarks: What whoever reads it should know: things that were accepted without an effect.
    """

    values: Mapping[str, Any] = field(default_factory=dict, repr=False)
    written: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def under(self, other: Configuration) -> Configuration:
        """Return both together; where both say something, the other one's word counts."""
        values, written = dict(self.values), dict(self.written)
        if not {SECRET, SECRET_FILE}.isdisjoint(other.values):
            for name in (SECRET, SECRET_FILE):
                values.pop(name, None)
                written.pop(name, None)
        return Configuration(
            {**values, **other.values},
            {**written, **other.written},
            self.remarks + other.remarks,
        )

    @property
    def member(self) -> dict[str, Any]:
        """What concerns the member, but for the kind of its cluster."""
        return {name: value for name, value in self.values.items() if name in MEMBER}

    @property
    def application(self) -> dict[str, Any]:
        """What concerns the application."""
        return {name: value for name, value in self.values.items() if name in APPLICATION}

    def blamed(self, error: ConfigError) -> ConfigError:
        """Return the same error in the words of the place where the value stands."""
        name = error.field
        if name == SECRET and SECRET_FILE in self.written:
            name = SECRET_FILE
        elif name == "name":
            name = CLUSTER
        return ConfigError(self.written.get(name, name), error.given, error.allowed)


def nearest(given: str, known: Iterable[str]) -> str:
    """Return the end of the sentence "allowed: …" for a name that is not known."""
    names = tuple(known)
    lower = {name.lower(): name for name in names}
    near = difflib.get_close_matches(given.lower(), lower, 1, cutoff=0.7)
    return f"did you mean {lower[near[0]]!r}?" if near else "one of " + ", ".join(names)
