"""Planted bugs of what each writer keeps in a register of its own: counters and flashes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from replsession.config import Limits
from replsession.identity import MemberId
from replsession.session import counter, flashes
from replsession.session.change import NO_INCREMENTS
from replsession.session.counter import Base, Count
from replsession.session.delta import Delta, Write
from replsession.session.flashes import Flash, Written
from replsession.session.record import Record
from replsession.session.sealing import Sealable
from replsession.session.stamp import Stamp

Patch = tuple[Any, str, Any]
SOMEBODY = b"somebody"


def _last_arrival() -> list[Patch]:
    merge_attributes = Record._merge_attributes

    def merged(self: Record, delta: Delta) -> bool:
        applied = merge_attributes(self, delta)
        for name, write in delta.attributes.items():
            if name.startswith(counter.PREFIX):
                self.attributes[name] = write
        self.plain = None
        return applied

    return [(Record, "_merge_attributes", merged)]


def _begun_at_zero() -> list[Patch]:
    counted = counter.counted

    def anew(
        attributes: Mapping[str, Write], writer: MemberId, name: str, amount: int
    ) -> tuple[str, bytes]:
        own = counter.register_of(writer, name)
        others = {key: write for key, write in attributes.items() if key != own}
        return counted(others, writer, name, amount)

    return [(counter, "counted", anew)]


def _one_register() -> list[Patch]:
    register_of = counter.register_of
    return [(counter, "register_of", lambda writer, name: register_of(SOMEBODY, name))]


def _old_name() -> list[Patch]:
    counted = counter.counted

    def under_the_first_one(
        attributes: Mapping[str, Write], writer: MemberId, name: str, amount: int
    ) -> tuple[str, bytes]:
        # As if what was counted under the name before were not there.
        registers = [key for key in attributes if key.startswith(counter.PREFIX)]
        register, value = counted(attributes, writer, name, amount)
        return (registers[0] if registers else register), value

    return [(counter, "counted", under_the_first_one)]


def _epoch_ignored() -> list[Patch]:
    held = counter._held
    return [(counter, "_held", lambda attributes, name: held(attributes, name)._replace(epoch=b""))]


def _base_lost_with_its_writer() -> list[Patch]:
    def held_alone(
        attributes: Mapping[str, Write], counts: Iterable[tuple[str, Count]]
    ) -> dict[str, Base]:
        return {name: counter._held(attributes, name) for name, _ in counts}

    return [(counter, "_bases", held_alone)]


def _on_what_was_replaced() -> list[Patch]:
    def all_added(attributes: Mapping[str, Write]) -> dict[str, bytes]:
        sums: dict[str, int] = {}
        for register, write in attributes.items():
            count = counter.decoded(write.value or b"")
            if register.startswith(counter.PREFIX) and count is not None:
                name = register[counter._NAME_AT :]
                sums[name] = sums.get(name, 0) + count.total
        bases = {name: attributes[name].value if name in attributes else None for name in sums}
        found = {name: counter.sum_of(bases[name], total) for name, total in sums.items()}
        return {name: value for name, value in found.items() if value is not None}

    return [(counter, "shown", all_added)]


def _at_every_seal() -> list[Patch]:
    committed = Sealable.committed

    def remembering(self: Sealable) -> None:
        increments = self._increments
        committed(self)
        self._increments = increments or NO_INCREMENTS

    return [(Sealable, "committed", remembering)]


def _pop_takes_all() -> list[Patch]:
    written = flashes.written

    def everything(
        attributes: Mapping[str, Write],
        stamp: Stamp,
        flashed: Iterable[Flash],
        popped: Iterable[bytes],
        limits: Limits,
    ) -> Written:
        gone = [flash.id for flash in flashes.shown(attributes)] if popped else []
        return written(attributes, stamp, flashed, gone, limits)

    return [(flashes, "written", everything)]


def _one_list() -> list[Patch]:
    return [(flashes, "register_of", lambda writer: flashes.PREFIX + SOMEBODY.hex())]


def _pops_remembered() -> list[Patch]:
    written = flashes.written

    def remembering(
        attributes: Mapping[str, Write],
        stamp: Stamp,
        flashed: Iterable[Flash],
        popped: Iterable[bytes],
        limits: Limits,
    ) -> Written:
        found = written(attributes, stamp, flashed, popped, limits)
        before = flashes._registers(attributes).get(found.register)
        kept = flashes._decoded(found.value or b"")
        ids = [*(before.popped if before else ()), *popped, *kept.popped]
        return found._replace(value=flashes._encoded(kept._replace(popped=ids)))

    return [(flashes, "written", remembering)]


def _unbounded() -> list[Patch]:
    written = flashes.written

    def unbounded(
        attributes: Mapping[str, Write],
        stamp: Stamp,
        flashed: Iterable[Flash],
        popped: Iterable[bytes],
        limits: Limits,
    ) -> Written:
        return written(attributes, stamp, flashed, popped, replace(limits, flashes_max=10**6))

    return [(flashes, "written", unbounded)]


def _pops_unheeded() -> list[Patch]:
    written = flashes.written

    def own_alone(
        attributes: Mapping[str, Write],
        stamp: Stamp,
        flashed: Iterable[Flash],
        popped: Iterable[bytes],
        limits: Limits,
    ) -> Written:
        found = written(attributes, stamp, flashed, popped, limits)
        kept = flashes._decoded(found.value or b"")
        return found._replace(value=flashes._encoded(kept._replace(popped=[])))

    return [(flashes, "written", own_alone)]


PLANTED: dict[str, Callable[[], list[Patch]]] = {
    "counts_of_the_last_arrival": _last_arrival,
    "count_begun_at_zero": _begun_at_zero,
    "one_register_for_all": _one_register,
    "counter_of_the_old_name": _old_name,
    "epoch_ignored": _epoch_ignored,
    "base_lost_with_its_writer": _base_lost_with_its_writer,
    "counted_on_what_was_replaced": _on_what_was_replaced,
    "counted_at_every_seal": _at_every_seal,
    "pop_takes_all": _pop_takes_all,
    "one_list_of_flashes": _one_list,
    "pops_unheeded": _pops_unheeded,
    "pops_remembered": _pops_remembered,
    "flashes_unbounded": _unbounded,
}
