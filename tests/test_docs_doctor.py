"""docs/doctor.md: its example has the shape of what is printed, and its table all the causes."""

from __future__ import annotations

import io
import json
import re
from dataclasses import fields, replace

from rich.console import Console

from replsession.cli.commands import program
from replsession.cli.doctor.diagnosis import diagnosed
from replsession.cli.doctor.facts import Heard, OtherDoctor, Peer, Question
from replsession.cli.doctor.findings import Finding
from replsession.cli.doctor.report import as_json, show
from tests.cli.doctor.causes import all_causes
from tests.cli.doctor.situations import WELL, peer
from tests.layout.source import ROOT

PAGE = (ROOT / "docs" / "doctor.md").read_text("utf-8")
COMMANDS, OUTPUT = re.findall(r"```\n(.*?)```", PAGE, re.DOTALL)


def lines_of(text: str) -> list[str]:
    """Return the lines of a text without what stands at their ends."""
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def test_the_example_is_what_is_printed() -> None:
    facts = replace(WELL, peers=peer(answer="silent", speaks=""))
    file = io.StringIO()
    show(facts, diagnosed(facts), Console(file=file, width=80, highlight=False))
    assert lines_of(OUTPUT) == lines_of(file.getvalue())


def test_the_commands_are_known() -> None:
    known = {word for command in program.commands.values() for word in _words(command.name)}
    for name in re.findall(r"replsession (\w+)", COMMANDS):
        assert name in program.commands
    assert set(re.findall(r"--[\w-]+", COMMANDS)) <= known


def _words(name: str | None) -> list[str]:
    assert name is not None
    return [word for parameter in program.commands[name].params for word in parameter.opts]


def test_the_table_holds_every_cause_and_no_other() -> None:
    table = PAGE.partition("## What it finds")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    told = {cause for row in rows for cause in re.findall(r"`([\w-]+)`", row)}
    assert told == all_causes()


def test_every_field_of_the_json_is_described() -> None:
    section = PAGE.partition("## In a script")[2].partition("\n## ")[0]
    described = set(re.findall(r"`(\w+)`", section))
    told = json.loads(as_json(WELL, diagnosed(WELL)))
    assert set(told) | set(told["facts"]) <= described
    for kind in (Finding, Question, Heard, OtherDoctor, Peer):
        assert {field.name for field in fields(kind)} <= described
    columns = {row.split("|")[1] for row in section.splitlines() if row.startswith("| `")}
    first = {name for column in columns for name in re.findall(r"`(\w+)`", column)}
    assert first == set(told) | set(told["facts"])
