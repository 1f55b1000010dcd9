"""
A store for Litestar's server-side sessions. Read ``docs/litestar.md`` first: there is a better way.

::

    app = Litestar(
        route_handlers=[...],
        stores={"sessions": ReplicatedStore(SECRET)},
        middleware=[ServerSideSessionConfig(store="sessions").middleware],
    )

Litestar hands over the whole session as opaque bytes under an id that it takes from the client. So
of two requests at once the later one wins, whole; what is ended stays ended.
"""

from __future__ import annotations

import math
from datetime import timedelta
from types import TracebackType
from typing import Any, Unpack

from litestar.stores.base import Store

from replsession.web.opaque import OpaqueStore, StoreOptions


class ReplicatedStore(Store):
    """
    Values in the memory of every member, for ``ServerSideSessionConfig``.

    It is no general store: a key that was deleted is never used again.

    Args:
        secret_key: Where a value lies depends on it; also the cluster's secret, unless that has
            its own. With a list, values of the others are found as well.
        context: The application's name in the cluster: ``delete_all`` ends all values of it.
        options: ``cluster``, ``required``, ``concern``, ``ack_timeout_s``, ``expected_members``.

    Raises:
        ConfigError: a value is not allowed.
    """

    __slots__ = ("_values",)

    def __init__(
        self, secret_key: Any, context: str = "/litestar", **options: Unpack[StoreOptions]
    ) -> None:
        self._values = OpaqueStore(secret_key, context, **options)

    async def set(
        self, key: str, value: str | bytes, expires_in: int | timedelta | None = None
    ) -> None:
        """Put a value; a warning is logged if its key was deleted, and nothing is kept then."""
        data = value.encode() if isinstance(value, str) else value
        await self._values.put(key, data, _seconds(expires_in))

    async def get(self, key: str, renew_for: int | timedelta | None = None) -> bytes | None:
        """Return a value; with *renew_for* it lives on, once a tenth of its time has passed."""
        held = await self._values.get(key, _seconds(renew_for))
        return None if held is None else held.value

    async def delete(self, key: str) -> None:
        """End a value for good, on every member."""
        await self._values.end(key)

    async def delete_all(self) -> None:
        """End every value of this context that is known to this member."""
        await self._values.end_all()

    async def exists(self, key: str) -> bool:
        """Tell whether there is a value."""
        return await self._values.get(key) is not None

    async def expires_in(self, key: str) -> int | None:
        """Return the seconds that a value still lives; None if there is none, or for ever."""
        held = await self._values.get(key)
        return None if held is None or held.left_s is None else math.ceil(held.left_s)

    async def __aenter__(self) -> None:
        """Start the member on the application's loop."""
        await self._values.channel.start()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """Leave the cluster with a goodbye."""
        await self._values.channel.stop()


def _seconds(given: int | timedelta | None) -> float | None:
    # As in Litestar's own stores, zero is no limit.
    seconds = given.total_seconds() if isinstance(given, timedelta) else given
    return seconds or None
