"""``replsession sessions``: its commands and their options."""

from __future__ import annotations

import json
import time
from itertools import islice
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from replsession.cli.asking import Member
from replsession.cli.choosing import Targets, target_options
from replsession.cli.figures import number, plain
from replsession.cli.sessions.hyphens import WithIds
from replsession.cli.sessions.pages import Session, asked, every, the_one
from replsession.cli.sessions.report import parts_of, table_of
from replsession.identity import short

ROWS: Final = 100
"""Sessions that are listed unless more are asked for."""
_IDS: Final = {"ignore_unknown_options": True}
"""An id may begin with two hyphens, too."""


@click.group()
def sessions() -> None:
    """
    List, show and end sessions, on whatever member answers.

    Ids are no credentials; the beginning of one will do. Values are shown only
    where --values asks for them.

    \b
    Examples:
      replsession sessions list --principal anna
      replsession sessions show jcPWYnJN
    """


@sessions.command("list")
@target_options
@click.option("--context", help="Of this application only.")
@click.option("--principal", help="Of this principal only.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=ROWS,
    metavar="N",
    help="At most so many (100); 0: all.",
)
@click.option("--json", "is_json", is_flag=True, help="One line of JSON for each.")
def list_(
    path: Path | None,
    url: str | None,
    name: str | None,
    secret_file: str | None,
    context: str | None,
    principal: str | None,
    limit: int,
    is_json: bool,
) -> None:
    """
    List sessions: in memory on every member, so any can tell.

    \b
    Example:
      replsession sessions list --context /shop --limit 20
    """
    member, _ = Targets(path, url, name, secret_file).one()
    # One more, to know whether there are more.
    found = every(member, context, principal, limit + 1 if limit else None)
    if is_json:
        for one in islice(found, limit or None):
            click.echo(json.dumps(one))
        return
    console = Console(highlight=False)
    rows = list(islice(found, limit or None))
    if not rows:
        console.print("There are no such sessions.")
        return
    console.print(table_of(rows, time.time()))
    if next(found, None) is not None:
        console.print(f"{number(len(rows))} are listed, and there are more: --limit 0", style="dim")


@sessions.command(cls=WithIds, context_settings=_IDS)
@target_options
@click.argument("id_", metavar="ID")
@click.option("--context", help="Of this application.")
@click.option("--values", "with_values", is_flag=True, help="Show what it holds, too.")
@click.option("--json", "is_json", is_flag=True, help="As one object of JSON.")
def show(
    path: Path | None,
    url: str | None,
    name: str | None,
    secret_file: str | None,
    id_: str,
    context: str | None,
    with_values: bool,
    is_json: bool,
) -> None:
    """
    Show one session, by its id or the beginning of it.

    \b
    Example:
      replsession sessions show jcPWYnJN --values
    """
    member, _ = Targets(path, url, name, secret_file).one()
    one = the_one(member, id_, context, with_values=with_values)
    if is_json:
        click.echo(json.dumps(one))
        return
    console = Console(highlight=False)
    for part in parts_of(one, time.time()):
        console.print(part)


@sessions.command(cls=WithIds, context_settings=_IDS)
@target_options
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--principal", help="All sessions of this principal.")
@click.option("--context", help="In this application only.")
@click.option("--yes", is_flag=True, help="Do not ask first.")
def invalidate(
    path: Path | None,
    url: str | None,
    name: str | None,
    secret_file: str | None,
    ids: tuple[str, ...],
    principal: str | None,
    context: str | None,
    yes: bool,
) -> None:
    """
    End sessions on all members, for good.

    With --principal also those on members that are cut off now.

    \b
    Example:
      replsession sessions invalidate --principal anna
    """
    if bool(ids) == (principal is not None):
        raise click.UsageError("either ids, or --principal")
    member, _ = Targets(path, url, name, secret_file).one()
    if principal is not None:
        _end_all(member, principal, context, yes)
    else:
        _end([the_one(member, each, context) for each in dict.fromkeys(ids)], member, yes)


def _end(found: list[Session], member: Member, yes: bool) -> None:
    for one in found:
        whose = "nobody" if one["principal"] is None else plain(one["principal"])
        click.echo(f"{short(one['id'])} of {plain(one['context'])}, of {whose}")
    _sure(f"End {_many(len(found))} on all members?", yes)
    ended = 0
    for one in found:
        ended += asked(member, "invalidate", id=one["id"], context=one["context"])["ended"]
    click.echo(f"{_many(ended)} ended")
    if ended < len(found):
        raise click.ClickException(f"{_many(len(found) - ended)} had ended meanwhile")


def _end_all(member: Member, principal: str, context: str | None, yes: bool) -> None:
    where = "all applications" if context is None else plain(context)
    _sure(f"End all sessions of {plain(principal)!r} in {where}, on all members?", yes)
    ended = asked(member, "invalidate_all", principal=principal, context=context)["ended"]
    click.echo(f"{_many(ended)} ended")


def _sure(question: str, yes: bool) -> None:
    if not yes:
        click.confirm(question, abort=True)


def _many(count: int) -> str:
    return "1 session" if count == 1 else f"{number(count)} sessions"
