"""Planted bugs of principals: how somebody's sessions could live on, or die for nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from replsession.replication import principals as principals_module
from replsession.replication.intake import Intake
from replsession.replication.principals import Principals
from replsession.replication.requests import Requests
from replsession.session.delta import Delta
from replsession.session.principals import Epochs, Login, epochs_in, epochs_key, login_of
from replsession.session.record import PRINCIPAL, Record

Patch = tuple[Any, str, Any]


def _rule_10() -> list[Patch]:
    def only_here(self: Requests, context: str, name: str, now: float) -> int:
        return self.principals.end_all(epochs_key(context, name), now)

    return [(Requests, "end_all", only_here)]


def _rule_10_one_scalar() -> list[Patch]:
    def covered(login: Login, epochs: Epochs) -> bool:
        return max(login.seen.values(), default=0) >= max(epochs.values(), default=0)

    return [(principals_module, "covers", covered)]


def _rule_10_login_stamp() -> list[Patch]:
    def covered(self: Principals, record: Record) -> bool:
        login = record.attributes.get(PRINCIPAL)
        if login is None or record.indexed is None:
            return True
        named = login_of(record)
        assert named is not None
        epochs = epochs_in(self.store.peek(epochs_key(record.key.context, named.name)))
        return all(login.hlc > hlc for hlc in epochs.values())

    return [(Principals, "_is_covered", covered)]


def _judged_at_requests_only() -> list[Patch]:
    def later(self: Principals, record: Record, now: float) -> None:
        return None

    return [(Principals, "came", later)]


def _ends_without_reason() -> list[Patch]:
    def covered(login: Login, epochs: Epochs) -> bool:
        return not epochs

    return [(principals_module, "covers", covered)]


def _epochs_buried() -> list[Patch]:
    bury = Intake._bury

    def everything(self: Intake, delta: Delta, now: float) -> bool:
        return bury(self, delta, now) or self.store.is_forgotten(delta.born)

    return [(Intake, "_bury", everything)]


PLANTED: dict[str, Callable[[], list[Patch]]] = {
    "rule_10": _rule_10,
    "rule_10_one_scalar": _rule_10_one_scalar,
    "rule_10_login_stamp": _rule_10_login_stamp,
    "judged_at_requests_only": _judged_at_requests_only,
    "ends_without_reason": _ends_without_reason,
    "epochs_buried": _epochs_buried,
}
