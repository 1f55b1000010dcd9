"""``replsession doctor``: its options, which are those of a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource
from rich.console import Console
from rich.status import Status

from replsession.channel.options import check_name, settings_of
from replsession.cli.doctor.diagnosis import diagnosed
from replsession.cli.doctor.findings import exit_code
from replsession.cli.doctor.look import look
from replsession.cli.doctor.report import as_json, show
from replsession.cluster import Cluster
from replsession.config import (
    AUTO_BIND_PORTS,
    MULTICAST_GROUP,
    MULTICAST_PORT,
    RECEIVER_PORT,
    ClusterSettings,
)
from replsession.errors import ConfigError
from replsession.identity import Address

SECONDS_MAX: Final = 3600
"""An hour; IGMP snooping without a querier shows after some minutes."""
_BESIDE_ENV: Final = {"env", "peers", "seconds", "as_json_"}


def host_and_port(text: str) -> Address:
    """
    Return the address in ``HOST:PORT``, or in ``HOST`` with the receiver's usual port.

    Raises:
        BadParameter: it is neither.
    """
    host, _, port = text.partition(":")
    number = int(port) if port.isdecimal() else 0 if port else RECEIVER_PORT
    if not host or not 1 <= number <= 65535:
        raise click.BadParameter(f"got {text!r}; allowed: HOST:PORT")
    return Address(host, number)


@click.command()
@click.option("--env", is_flag=True, help="The cluster that REPLSESSION_* describe.")
@click.option("--name", help="Or its name, and options as a cluster has them:")
@click.option(
    "--secret-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with its secret.",
)
@click.option("--bind", default="auto", help="Address or interface of a member here.")
@click.option("--port", type=int, default=RECEIVER_PORT, help="First TCP port it would try (4000).")
@click.option(
    "--auto-bind", type=int, default=AUTO_BIND_PORTS, help="How many ports it would try (100)."
)
@click.option(
    "--multicast",
    type=host_and_port,
    default=f"{MULTICAST_GROUP}:{MULTICAST_PORT}",
    metavar="GROUP:PORT",
    help="Where heartbeats go.",
)
@click.option(
    "--peer",
    "peers",
    type=host_and_port,
    multiple=True,
    metavar="HOST:PORT",
    help="Dial this member too (repeatable).",
)
@click.option(
    "--seconds",
    type=click.FloatRange(1, SECONDS_MAX),
    default=5.0,
    metavar="N",
    help="How long to listen (5).",
)
@click.option("--json", "as_json_", is_flag=True, help="Print facts and findings as JSON.")
@click.pass_context
def doctor(
    context: click.Context,
    /,
    env: bool,
    peers: tuple[Address, ...],
    seconds: float,
    as_json_: bool,
    **options: Any,
) -> None:
    """
    Find out why members do not see each other, and how to mend it.

    Harmless beside a live cluster. Exit code 0: all is well, 1: something was
    found, 2: it could not look.

    \b
    Example:
      replsession doctor --name shop --secret-file secret.txt
    """
    try:
        settings = _from_environment(context) if env else _from_options(**options)
    except ConfigError as problem:
        raise click.UsageError(str(problem)) from None
    seeds = [host_and_port(seed) for seed in settings.seeds]
    try:
        with _patience(settings, seconds):
            facts = look(settings, seconds, peers, seeds)
    except OSError as problem:
        click.echo(f"could not look: {problem}", err=True)
        context.exit(2)
    findings = diagnosed(facts)
    if as_json_:
        click.echo(as_json(facts, findings))
    else:
        show(facts, findings, Console(highlight=False))
    context.exit(exit_code(findings))


def _patience(settings: ClusterSettings, seconds: float) -> Status:
    """Return what tells people at a terminal to wait; elsewhere nothing is shown."""
    doing = f"listening for {seconds:g} s" if settings.multicast else "dialling the seeds"
    return Console(stderr=True).status(f"{doing} …")


def _from_environment(context: click.Context) -> ClusterSettings:
    for name in context.params:
        given = context.get_parameter_source(name) is not ParameterSource.DEFAULT
        if given and name not in _BESIDE_ENV:
            word = name.replace("_", "-")
            raise click.UsageError(f"either --env or --{word}: the environment says what it is")
    cluster = Cluster.from_env()
    settings = None if cluster is None else cluster.settings
    if settings is None:
        raise click.UsageError("REPLSESSION_CLUSTER=none: there is no cluster to look at")
    return settings


def _from_options(
    name: str | None, secret_file: Path | None, multicast: Address, **options: Any
) -> ClusterSettings:
    if name is None:
        raise click.UsageError("give --name NAME, or --env")
    check_name("--name", name)
    secret = None if secret_file is None else secret_in(secret_file)
    return settings_of(
        name,
        on_this_host=False,
        secret=secret,
        multicast=(multicast.host, multicast.port),
        **options,
    )


def secret_in(path: Path) -> str:
    """Return the secret in a file: its first line, without the line end that editors put there."""
    try:
        return path.read_text(encoding="utf-8").partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError):
        raise click.UsageError(f"--secret-file: {path} cannot be read") from None
