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

from replsession.cli.doctor.facts import Facts, Heard
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
    if facts.heard:
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
    address = f"{facts.address}{where}" if facts.address else "no address"
    return (
        f"Cluster {asked.name!r}, group {asked.group}:{asked.port}, on {address}: listened for "
        f"{asked.seconds:g} s, heard itself {facts.heard_itself} of {facts.sent} times"
    )


def _well(facts: Facts) -> str:
    where = "on this host" if facts.asked.on_this_host else "from other hosts"
    heard = [
        one
        for one in facts.heard
        if one.kind == "ours" and facts.is_own(one.host) == facts.asked.on_this_host
    ]
    members = sum(len(one.receivers) for one in heard)
    if not members:
        return "nothing is wrong here"
    many = f"{members} members are" if members > 1 else "1 member is"
    return f"{many} heard {where} and can be dialled"


def _table(facts: Facts) -> Table:
    table = Table(box=SIMPLE)
    for column in ("from", "what", "receivers"):
        table.add_column(column)
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
    return table


def _receivers(heard: Heard, facts: Facts) -> Iterator[str]:
    answers = {(peer.host, peer.port): peer.answer for peer in facts.peers}
    for port in heard.receivers:
        yield f"{port} {answers.get((heard.host, port), 'not dialled')}"
