"""What was found, for people and for programs. No secret is in either; key ids are public."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

from rich.box import SIMPLE
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from replsession.cli.doctor.facts import Facts, Heard, Peer
from replsession.cli.doctor.findings import Finding, Severity, exit_code

FORMAT: Final = 1
"""Of the JSON; it grows only when a field goes or changes its meaning."""
_STYLES: Final = {
    Severity.ERROR: "bold red",
    Severity.WARNING: "bold yellow",
    Severity.NOTE: "bold cyan",
}


def as_json(facts: Facts, findings: tuple[Finding, ...]) -> str:
    """Return all of it as one JSON object."""
    told: dict[str, Any] = {
        "format": FORMAT,
        "exit_code": exit_code(findings),
        "findings": [{**asdict(each), "severity": each.severity.value} for each in findings],
        "facts": asdict(facts),
    }
    return json.dumps(told, indent=2)


def show(facts: Facts, findings: tuple[Finding, ...], console: Console) -> None:
    """Print all of it."""
    for part in _parts(facts, findings):
        console.print(part, soft_wrap=isinstance(part, Text))


def _parts(facts: Facts, findings: tuple[Finding, ...]) -> Iterator[RenderableType]:
    yield Text(_heading(facts))
    if facts.heard or _only_dialled(facts):
        yield _table(facts)
    else:
        yield Text("")
    for finding in findings:
        yield Text.assemble(
            (finding.severity.value.upper(), _STYLES[finding.severity]),
            f" {finding.cause}: {finding.sentence}",
        )
        yield from (Text(f"    mend: {line}") for line in finding.mend)
        yield from (Text(f"    undo: {line}") for line in finding.undo)
    if not exit_code(findings):
        yield Text.assemble(("OK", "bold green"), f" {_well(facts)}")


def _heading(facts: Facts) -> str:
    asked, interface = facts.asked, facts.interface
    where = f" ({interface.name})" if interface else ""
    address = f"{facts.address}{where}"
    if facts.address is None:
        return f"Cluster {asked.name!r}: a member here would have no address"
    if not asked.group:
        return f"Cluster {asked.name!r}, without multicast, on {address}: dialled its seeds"
    return (
        f"Cluster {asked.name!r}, group {asked.group}:{asked.port}, on {address}: listened for "
        f"{asked.seconds:g} s, heard itself {facts.heard_itself} of {facts.sent} times"
    )


def _well(facts: Facts) -> str:
    where = "on this host" if facts.is_for_this_host else "from other hosts"
    answering = {peer.name for peer in facts.peers if peer.speaks == "ours"}
    members = sum(
        name in answering
        for one in facts.heard
        if one.kind == "ours" and facts.is_own(one.host) == facts.is_for_this_host
        for name in one.names
    )
    if members:
        many = f"{members} members are" if members > 1 else "1 member is"
        return f"{many} heard {where} and can be dialled"
    dialled = [p for p in _only_dialled(facts) if p.speaks == "ours" and not facts.is_own(p.host)]
    if dialled:
        return f"{'1 member' if len(dialled) == 1 else f'{len(dialled)} members'} can be dialled"
    return "nothing is wrong here"


def _only_dialled(facts: Facts) -> list[Peer]:
    """Return receivers that were dialled though nothing was heard of them."""
    heard = {name for one in facts.heard for name in one.names}
    return [
        peer for peer in facts.peers if peer.why in ("asked", "seed") and peer.name not in heard
    ]


def _table(facts: Facts) -> Table:
    table = Table(box=SIMPLE)
    for column in ("from", "what", "receiver"):
        table.add_column(column, overflow="fold")
    for column in ("datagrams", "per second", "bytes"):
        table.add_column(column, justify="right")
    for heard in facts.heard:
        sizes = sorted({heard.bytes_least, heard.bytes_most})
        table.add_row(
            heard.host + (" (here)" if facts.is_own(heard.host) else ""),
            heard.kind + (f" {heard.key_id}" if heard.kind == "other key" else ""),
            ", ".join(_receivers(heard, facts)),
            str(heard.datagrams),
            f"{heard.datagrams / facts.asked.seconds:.1f}",
            "-".join(map(str, sizes)),
        )
    for peer in _only_dialled(facts):
        said = peer.speaks or "-"
        table.add_row(peer.host, said, f"{peer.port} {peer.answer}", "0", "0.0", "")
    return table


def _receivers(heard: Heard, facts: Facts) -> Iterator[str]:
    answers = {(peer.host, peer.port): peer.answer for peer in facts.peers}
    for port in heard.receivers:
        yield f"{port} {answers.get((heard.host, port), 'not dialled')}"
