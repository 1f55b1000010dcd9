"""
What an element of Tomcat's ``<Cluster>`` may be here, and words that many of them share.

Every attribute has a verdict:

* ``same``: it has its effect;
* ``better``: it has none, since what it is for is here without it, and better;
* ``no meaning``: it is accepted, and there is nothing here that it could be about;
* ``not supported``: it is refused, unless it says what is so here anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from replsession.settings import readers

SAME, BETTER, NO_MEANING, NOT_SUPPORTED = "same", "better", "no meaning", "not supported"

Reader = Callable[[str], Mapping[str, Any]]
"""Returns what a text says, by the names of a configuration; ValueError: it is none."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """
    One attribute.

    Args:
        verdict: One of the four.
        says: Its effect, or why it has none.
        read: What its text says; None: nothing.
        allowed: For the error, if it says nothing that is allowed.
    """

    verdict: str
    says: str
    read: Reader | None = None
    allowed: str = ""


@dataclass(frozen=True, slots=True)
class Element:
    """
    One element with one ``className``.

    Args:
        verdict: One of the four.
        says: What it means here.
        attributes: By name; ``className`` is not among them.
        children: Tags that may stand in it.
        implies: What it says by being there, by the names of a configuration.
    """

    verdict: str
    says: str
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    children: tuple[str, ...] = ()
    implies: Mapping[str, Any] = field(default_factory=dict)


def none(verdict: str, says: str, *names: str) -> dict[str, Attribute]:
    """Return attributes without an effect."""
    return {name: Attribute(verdict, says) for name in names}


def only(says: str, allowed: str, *texts: str) -> Attribute:
    """Return an attribute that may say only what is so here anyway."""
    return Attribute(NOT_SUPPORTED, says, readers.only(*texts), allowed)


MILLISECONDS = "a whole number of milliseconds above 0"
SOCKETS = "sockets and threads look after themselves: one loop, one link for each member"
ALWAYS = "always so, without anything to set"
OPTION_FLAG = none(NO_MEANING, "there is no stack of interceptors", "optionFlag")
TUNING = (
    "rxBufSize",
    "txBufSize",
    "udpRxBufSize",
    "udpTxBufSize",
    "soKeepAlive",
    "soLingerOn",
    "soLingerTime",
    "soReuseAddress",
    "soTrafficClass",
    "tcpNoDelay",
    "ooBInline",
)
