"""Looks at clusters, as members would tell of them."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from replsession.cli.asking import Member
from replsession.cli.choosing import Look
from replsession.metrics import Metrics


class Named:
    """A member that was asked, and is not asked again."""

    def __init__(self, where: str) -> None:
        self.where = where

    def ask(self, ask: str, **request: Any) -> dict[str, Any]:
        """Answer nothing: these looks are made by hand."""
        raise AssertionError(ask)


def other(name: str = "right", **changes: Any) -> dict[str, Any]:
    """Return what is told of another member."""
    return {
        "name": name,
        "id": name.encode().hex().ljust(16, "0")[:16],
        "incarnation": 1795507780772,
        "state": "up",
        "via": None,
        "ready": True,
        "age_s": 3600.0,
        "address": "10.0.0.2:4000",
        "lag": {"deltas": 0, "bytes": 0, "oldest_s": None},
        "outbox": {
            "deltas": 0,
            "bytes": 0,
            "deltas_max": 20_000,
            "bytes_max": 33_554_432,
            "overflows": 0,
        },
        "repaired_s_ago": 4.2,
        "is_repairing": False,
        "gets_state": None,
        **changes,
    }


def transfer(**changes: Any) -> dict[str, Any]:
    """Return what is told of a state transfer."""
    return {
        "state": "received",
        "donor": "right",
        "progress": 1.0,
        "sessions": 1234,
        "bytes": 524_288,
        "took_s": 0.35,
        "ended_s_ago": 7200.0,
        **changes,
    }


def status(name: str = "left", *others: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return what a member tells of itself; *changes* are those of ``member``."""
    return {
        "member": {
            "name": name,
            "id": name.encode().hex().ljust(16, "0")[:16],
            "incarnation": 1795507778089,
            "pid": 4711,
            "cluster": "shop",
            "state": "ready",
            "ready": True,
            "age_s": 7200.0,
            "address": "10.0.0.1:4000",
            "protocol": 1,
            "version": "0.1.0",
            **changes,
        },
        "others": list(others),
        "transfer": transfer(),
        "sessions": [
            {"context": "/shop", "live": 12_345, "sleeping": 67, "ended": 8, "bytes": 9_437_184}
        ],
        "counted_s_ago": 0.0,
        "metrics": Metrics(opens=72_000, commits=7_200, bytes_sent=14_400).as_dict(),
    }


def look(*told: dict[str, Any], problems: tuple[str, ...] = ()) -> Look:
    """Return a look at members."""
    members: list[tuple[Member, dict[str, Any]]] = [
        (Named(f"/run/{number}.sock"), deepcopy(one)) for number, one in enumerate(told)
    ]
    return Look(members, list(problems))
