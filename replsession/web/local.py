"""
Attributes that stay on the member where they are written, chosen by their names.

They are the very objects that the application put there, and need not be storable. They lie beside
the record, never in it: so no delta, no state transfer and no repair knows of them, other members
show the session without them, and so does this one after a restart. They go with their session.

*Source*: Tomcat's ``sessionAttributeNameFilter``.
"""

from __future__ import annotations

import re
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, Final

from replsession.channel.channel import Channel
from replsession.config import LOCAL_SESSIONS_MAX
from replsession.errors import ConfigError
from replsession.identity import Key

_ALLOWED: Final = "a regular expression for whole names, or None"


class LocalAttributes:
    """
    What sessions of an application have on this member only.

    Args:
        pattern: Regular expression; names that it matches as a whole stay here.
        channel: Of the application. What is kept outlives this object, as long as the channel does:
            an application that is configured anew goes on with it.

    Raises:
        ConfigError: the pattern is none.
    """

    def __init__(self, pattern: str, channel: Channel) -> None:
        try:
            self._pattern = re.compile(pattern)
        except (TypeError, re.error, OverflowError, RecursionError):
            raise ConfigError("local_attributes", pattern, _ALLOWED) from None
        self._channel = channel
        with _LOCK:
            self._kept = _KEPT.setdefault(channel, OrderedDict())

    def covers(self, name: object) -> bool:
        """Tell whether an attribute of this name stays here."""
        return isinstance(name, str) and self._pattern.fullmatch(name) is not None

    def of(self, key: Key) -> Mapping[str, Any]:
        """Return what a session has here; its turn to be dropped comes last again."""
        with _LOCK:
            found = self._kept.get(key)
            if found is None:
                return {}
            self._kept.move_to_end(key)
            return {name: value for name, value in found.items() if self.covers(name)}

    def keep(self, key: Key, values: Mapping[str, Any], removed: Iterable[str]) -> None:
        """Keep what a request has written; what others wrote under other names stays."""
        with _LOCK:
            kept = self._kept.setdefault(key, {})
            kept.update(values)
            for name in removed:
                kept.pop(name, None)
            self._kept.move_to_end(key)
            if not kept:
                del self._kept[key]
            while len(self._kept) > LOCAL_SESSIONS_MAX:
                self._kept.popitem(last=False)
                self._channel.metrics.local_attributes_dropped += 1

    def forget(self, key: Key) -> None:
        """Drop what a session has here, since it is over."""
        with _LOCK:
            self._kept.pop(key, None)


_LOCK = threading.Lock()
_KEPT: weakref.WeakKeyDictionary[Channel, OrderedDict[Key, dict[str, Any]]] = (
    weakref.WeakKeyDictionary()
)
