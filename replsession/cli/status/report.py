"""The status, for people and for programs. Names of others are made harmless before they show."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from rich.box import SIMPLE
from rich.console import Group, JustifyMethod, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from replsession.cli.figures import NOTHING, duration, number, plain, rate, size
from replsession.cli.status.looks import Seen, Told

FORMAT: Final = 1
"""Of the JSON; it grows only when a field goes or changes its meaning."""
LINKS_MAX: Final = 24
"""Rows of the table of links; those with nothing to say are left out first."""
_BAR_CHARACTERS: Final = 40
_STATES: Final = {
    "ready": "green",
    "up": "green",
    "state transfer": "yellow",
    "suspected": "bold yellow",
    "unreachable": "bold red",
}


def as_json(look: Seen) -> str:
    """Return one look as one line of JSON."""
    told: dict[str, Any] = {
        "format": FORMAT,
        "exit_code": look.exit_code,
        "wrong": look.wrong,
        "members": [
            {
                "asked": one.where,
                **one.status,
                "rates": {"seconds": one.over_s, "per_second": one.rates},
            }
            for one in look.told
        ],
    }
    return json.dumps(told)


def report(look: Seen, *, shows_metrics: bool = False) -> Group:
    """Return one look as tables."""
    return Group(*_parts(look, shows_metrics))


def _parts(look: Seen, shows_metrics: bool) -> Iterator[RenderableType]:
    for name, told in look.clusters.items():
        yield Text(_heading(name, told))
        yield _members(told)
        yield from _transfers(told)
        if any(one.status["others"] for one in told):
            yield from _links(told)
        yield _sessions(told)
        yield _rates(told)
        if shows_metrics:
            yield from (_metrics(one) for one in told)
    for sentence in look.wrong:
        yield Text.assemble(("WARNING", "bold yellow"), f" {plain(sentence)}")
    if look.told and not look.wrong:
        yield Text.assemble(("OK", "bold green"), " all members are up and ready")


def _heading(name: str, told: list[Told]) -> str:
    known = {other["id"] for one in told for other in one.status["others"]}
    known |= {one.status["member"]["id"] for one in told}
    what = f"Cluster {plain(name)!r}" if name else "One process alone"
    many = f"{len(known)} members" if len(known) > 1 else "1 member"
    version = told[0].status["member"]["version"]
    protocol = told[0].status["member"]["protocol"]
    asked = f"{len(told)} asked" if len(known) > 1 else "asked"
    return f"{what}: {many}, {asked}; replsession {plain(version)}, protocol {protocol}"


def _table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    table = Table(box=SIMPLE)
    for column in columns:
        # Folded, not cut: names of members often differ at their ends only.
        is_figure = column in right
        justify: JustifyMethod = "right" if is_figure else "left"
        table.add_column(column, justify=justify, no_wrap=is_figure, overflow="fold")
    return table


def _members(told: list[Told]) -> Table:
    table = _table("member", "state", "age", "address", "incarnation", "pid", right=("age", "pid"))
    shown: dict[str, None] = {}
    for one in told:
        me = one.status["member"]
        shown[me["id"]] = None
        style = _STATES.get(me["state"], "bold red")
        table.add_row(
            plain(me["name"]),
            Text(plain(me["state"]), style),
            duration(me["age_s"]),
            plain(me["address"]),
            str(me["incarnation"]),
            str(me["pid"]),
        )
    for one in told:
        for other in one.status["others"]:
            if other["id"] not in shown:
                shown[other["id"]] = None
                table.add_row(
                    plain(other["name"]),
                    _state_of(other),
                    duration(other["age_s"]),
                    plain(other["address"]),
                    str(other["incarnation"]),
                )
    return table


def _state_of(other: dict[str, Any]) -> Text:
    state = other["state"]
    if state == "up":
        words = "ready" if other["ready"] else "state transfer"
        return Text(words, _STATES[words])
    through = f" (through {plain(other['via'])})" if other["via"] else ""
    return Text(f"{plain(state)}{through}", _STATES.get(state, "bold red"))


def _transfers(told: list[Told]) -> Iterator[RenderableType]:
    for one in told:
        name, transfer = plain(one.status["member"]["name"]), one.status["transfer"]
        if transfer["state"] in ("looking", "running"):
            yield Text(f"{name} {_came(transfer)}")
            yield ProgressBar(total=1.0, completed=transfer["progress"], width=_BAR_CHARACTERS)
        elif transfer["state"] != "none":
            yield Text(f"{name} {_came(transfer)}", "dim")


def _came(transfer: dict[str, Any]) -> str:
    much = f"{number(transfer['sessions'])} sessions, {size(transfer['bytes'])}"
    took, ago = duration(transfer["took_s"]), duration(transfer["ended_s_ago"])
    match transfer["state"]:
        case "looking":
            return "looks for a member to get the state from"
        case "running":
            share = f"{transfer['progress']:.0%}"
            return f"gets its state from {plain(transfer['donor'])}: {share}, {much}, {took} so far"
        case "received":
            return f"got its state from {plain(transfer['donor'])} {ago} ago: {much}, in {took}"
        case "skipped":
            return f"was the first member, {ago} ago"
    return f"got no state in time, {ago} ago: {much} came"


def _links(told: list[Told]) -> Iterator[RenderableType]:
    table = _table(
        *("from", "to", "lag", "oldest", "outbox", "overflows", "repaired"),
        right=("lag", "oldest", "outbox", "overflows", "repaired"),
    )
    links = [(one, other) for one in told for other in one.status["others"]]
    # Those that say something come first, and all others in their order.
    links.sort(key=lambda link: not _is_notable(link[1]))
    for one, other in links[:LINKS_MAX]:
        table.add_row(
            plain(one.status["member"]["name"]), plain(other["name"]), *_figures_of(other)
        )
    yield table
    if len(links) > LINKS_MAX:
        yield Text(f"  … and {len(links) - LINKS_MAX} more links", "dim")


def _is_notable(other: dict[str, Any]) -> bool:
    lag, outbox = other["lag"], other["outbox"]
    is_behind = lag is None or lag["deltas"] > 0
    return is_behind or outbox["overflows"] > 0 or other["gets_state"] is not None


def _figures_of(other: dict[str, Any]) -> tuple[str, ...]:
    lag, outbox = other["lag"], other["outbox"]
    repaired = duration(other["repaired_s_ago"])
    if other["repaired_s_ago"] is not None:
        repaired += " ago"
    if other["is_repairing"]:
        repaired = "now"
    if other["gets_state"] is not None:
        repaired = f"sends state, {other['gets_state']:.0%}"
    if lag is None:
        return ("no link", NOTHING, NOTHING, NOTHING, repaired)
    waits = f"{number(outbox['deltas'])}, {outbox['bytes'] / outbox['bytes_max']:.0%}"
    return (
        number(lag["deltas"]),
        duration(lag["oldest_s"]),
        waits if outbox["deltas"] else "0",
        number(outbox["overflows"]),
        repaired,
    )


def _sessions(told: list[Told]) -> RenderableType:
    first = next((one for one in told if one.status["member"]["ready"]), told[0])
    if not first.status["sessions"]:
        return Text("  no sessions yet\n", "dim")
    figures = ("sessions", "sleeping", "ended", "size")
    table = _table("application", *figures, right=figures)
    for context in first.status["sessions"]:
        table.add_row(
            plain(context["context"]),
            *(number(context[name]) for name in ("live", "sleeping", "ended")),
            size(context["bytes"]),
        )
    if first.status["counted_s_ago"] >= 1:
        table.caption = f"counted {duration(first.status['counted_s_ago'])} ago"
        table.caption_justify = "left"
    return table


def _rates(told: list[Told]) -> Table:
    names = ("requests/s", "writes/s", "deltas out/s", "in/s", "sent/s")
    table = _table("member", *names, right=names)
    for one in told:
        rates = one.rates
        table.add_row(
            plain(one.status["member"]["name"]),
            *(rate(rates[n]) for n in ("opens", "commits", "deltas_sent", "deltas_received")),
            size(rates["bytes_sent"]),
        )
    table.caption = f"over the last {duration(told[0].over_s)}"
    table.caption_justify = "left"
    return table


def _metrics(one: Told) -> Table:
    table = _table(f"counted by {plain(one.status['member']['name'])}", "times", right=("times",))
    for name, value in one.status["metrics"].items():
        if value:
            table.add_row(plain(name), number(value))
    return table
