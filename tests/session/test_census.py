"""The census: what it counts, and that packed records are counted as objects are."""

from __future__ import annotations

from dataclasses import replace

from replsession.config import Limits, Timing
from replsession.identity import INTERNAL, Key
from replsession.session.census import Count, count, packed
from replsession.session.packing import pack
from replsession.session.record import Record
from replsession.session.stamp import Stamp
from replsession.session.store import BUCKETS, Store
from tests.harness import some_id

BORN = Stamp(1 << 40, some_id(1))


def record(number: int, context: str = "/") -> Record:
    return Record(Key(context, bytes([number]) * 12), BORN, 1.0, BORN, 1.0)


def filled() -> dict[str, Record]:
    """Return a record of each kind, by what it is."""
    made = {
        "live": record(1),
        "other": record(2, "/shop"),
        "asleep": record(3),
        "ended": record(4),
        "internal": record(5, INTERNAL + "epochs"),
    }
    made["asleep"].asleep = True
    made["ended"].destroyed = Stamp(2 << 40, some_id(1))
    return made


def test_each_kind_is_counted_once_whether_packed_or_not() -> None:
    records = filled()
    sizes = {name: len(pack(one, 0.0)) for name, one in records.items()}
    of_root = sizes["live"] + sizes["asleep"] + sizes["ended"]
    expected = {"/": Count(1, 1, 1, of_root), "/shop": Count(1, 0, 0, sizes["other"])}
    as_objects: list[tuple[Key, Record | bytes]] = [(one.key, one) for one in records.values()]
    at_rest: list[tuple[Key, Record | bytes]] = [
        (one.key, pack(one, 7.0)) for one in records.values()
    ]
    for entries in (as_objects, at_rest):
        counts: dict[str, Count] = {}
        count(packed(entries), counts)
        assert counts == expected


def test_counts_of_several_buckets_add_up() -> None:
    store = Store(replace(Limits(), warm_records_max=2), Timing())
    for one in filled().values():
        store.add(one)
    counts: dict[str, Count] = {}
    for bucket in range(BUCKETS):
        count(packed(store.entries(bucket)), counts)
    assert {name: (c.live, c.sleeping, c.ended) for name, c in counts.items()} == {
        "/": (1, 1, 1),
        "/shop": (1, 0, 0),
    }
