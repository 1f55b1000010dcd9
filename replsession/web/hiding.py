"""
Takes the ids of sessions out of text that goes to a log.

::

    /cart;jsessionid=AYrLiXR4uUMNb5x1…   ──▶   /cart;jsessionid=istJeHi5***
    /cart%3BjSessionID%3DAYrLiXR4uUMN…         /cart%3BjSessionID%3DistJeHi5***
    session=AYrLiXR4uUMN…; theme=dark          session=istJeHi5***; theme=dark

1. What stands behind one of the names goes, whatever it is: another program's id is a credential,
   too. What has the form of one of our tokens goes wherever it stands.
2. Of an id of ours the first 8 characters of the session's public id stay, as our own log shows
   them, so that lines can be brought together. They are of the locator, which is no secret; the
   secret part, the signature and what the client has seen go. Of any other value 8 digits of a hash
   stay.
3. Small and capital letters, percent-encoding once or several times, and any number of places
   count: a log shows what a client sent, not what we would have taken for an id.
4. A value ends where nothing of an id can follow; in doubt more is hidden than needed. All work is
   linear in the length of the text.
"""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64decode
from collections.abc import Sequence
from functools import lru_cache

from replsession.identity import LOCATOR_BYTES, public_id, short
from replsession.web.tracking import PARAMETER

MASK = "***"
PARAMETER_NAME = PARAMETER.strip(";=")
COOKIE_NAME = "session"
"""The cookie's name where no other is configured."""

_NAME_CHARACTERS = 39
"""Of version, locator and secret part; see ``security/tokens.py``."""
_DOT = r"(?:\.|%(?:25){0,3}2[Ee])"
_LETTER = "[A-Za-z0-9_-]"
_TOKEN = rf"A[Q-Za-f]{_LETTER}{{37}}{_DOT}{_LETTER}{{43}}(?:{_DOT}{_LETTER}{{16,250}})?"
_MASKED = re.compile(rf"{_LETTER}{{8}}{re.escape(MASK)}")
_ENCODED_DEPTHS_MAX = 3
"""So often may what stands before a name be percent-encoded; the name itself, any number."""


def hidden(text: str) -> str:
    """Return a text without ids, for the names of parameter and cookie that are the default."""
    return hiding((PARAMETER_NAME, COOKIE_NAME))(text)


class Hiding:
    """
    Hides the values of certain names.

    Args:
        names: Of parameters, in path or query, and of cookies.
    """

    def __init__(self, names: Sequence[str]) -> None:
        after_encoded = "|".join(
            rf"(?<=%{'25' * depth}[0-9A-Fa-f]{{2}})" for depth in range(_ENCODED_DEPTHS_MAX + 1)
        )
        spelled = "|".join(_in_any_spelling(name) for name in names)
        self._named = re.compile(
            rf"((?:(?<![A-Za-z0-9_.-])|{after_encoded})(?:{spelled})(?:=|%(?:25)*3[Dd])"
            rf"(?:\\?[\"']|%(?:25)*2[27])?)"
            r"([^\x00-\x1f\s;,&?#/\"'<>|\\]+)"
        )
        self._tokens = re.compile(rf"(?<!{_LETTER}){_TOKEN}(?!{_LETTER})")

    def __call__(self, text: str) -> str:
        """Return the text without the values."""
        text = self._named.sub(lambda found: found[1] + _shown(found[2]), text)
        return self._tokens.sub(lambda found: _shown(found[0]), text)


@lru_cache(maxsize=16)
def hiding(names: tuple[str, ...]) -> Hiding:
    """Return what hides the values of these names; made once."""
    return Hiding(names)


def _in_any_spelling(name: str) -> str:
    return "".join(map(_letter_in_any_spelling, name))


def _letter_in_any_spelling(letter: str) -> str:
    spellings = dict.fromkeys((letter, letter.lower(), letter.upper()))
    codes = [re.escape(one) for one in spellings]
    for one in spellings:
        for byte in one.encode():
            digits = "".join(f"[{digit}{digit.upper()}]" for digit in f"{byte:02x}")
            codes.append(f"%(?:25)*{digits}")
    return f"(?:{'|'.join(codes)})"


def _shown(value: str) -> str:
    if _MASKED.fullmatch(value):
        # By another filter that saw the line before.
        return value
    name = value[:_NAME_CHARACTERS]
    if re.fullmatch(f"A[Q-Za-f]{_LETTER}{{37}}", name, re.ASCII):
        locator = urlsafe_b64decode(name + "=")[1 : 1 + LOCATOR_BYTES]
        return short(public_id(locator, b"")) + MASK
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:8] + MASK
