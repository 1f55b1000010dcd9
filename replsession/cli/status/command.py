"""``replsession status``: its options."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from replsession.cli.choosing import CannotLook, Look, Targets, target_options
from replsession.cli.status.looks import Seen, seen
from replsession.cli.status.report import as_json, report
from replsession.cli.status.watching import INTERVAL_S_MAX, INTERVAL_S_MIN, watch


@click.command()
@target_options
@click.option("--watch", "is_watch", is_flag=True, help="Look again and again; Ctrl-C ends it.")
@click.option(
    "--interval",
    "interval_s",
    type=click.FloatRange(INTERVAL_S_MIN, INTERVAL_S_MAX),
    default=2.0,
    metavar="SECONDS",
    help="Between two looks (2).",
)
@click.option("--metrics", "shows_metrics", is_flag=True, help="Show all counters, too.")
@click.option("--json", "is_json", is_flag=True, help="One object of JSON for each look.")
@click.pass_context
def status(
    context: click.Context,
    path: Path | None,
    url: str | None,
    name: str | None,
    secret_file: str | None,
    is_watch: bool,
    interval_s: float,
    shows_metrics: bool,
    is_json: bool,
) -> None:
    """
    Show members, what they lag behind, and their sessions.

    Asks all members of yours on this host. Exit code 0: all are up and ready,
    1: something is not as it should be, 2: nobody answered.

    \b
    Example:
      replsession status --watch
    """
    targets = Targets(path, url, name, secret_file)
    console = Console(highlight=False)

    def look(before: Seen | None) -> Seen:
        return seen(targets.look(), before)

    def nobody(last: Seen) -> str:
        return targets.nobody(Look(problems=list(last.problems)))

    if is_watch:
        code = watch(
            look,
            console,
            interval_s=interval_s,
            is_json=is_json,
            shows_metrics=shows_metrics,
            nobody=nobody,
        )
        context.exit(code)
    now = look(None)
    if not now.told:
        raise CannotLook(nobody(now))
    if is_json:
        click.echo(as_json(now))
    else:
        console.print(report(now, shows_metrics=shows_metrics))
    context.exit(now.exit_code)
