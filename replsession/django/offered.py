"""Names of our own sessions that Django's store offers as they are."""

from __future__ import annotations

from typing import Any


class Offered:
    """
    A name of our own session that the store offers, as it is there: a method, or a property.

    Names that Django's sessions have mean what they mean in Django.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, store: Any, owner: type | None = None) -> Any:
        """Return what the session has under this name."""
        return self if store is None else getattr(store._session, self._name)

    def __set__(self, store: Any, value: Any) -> None:
        setattr(store._session, self._name, value)
