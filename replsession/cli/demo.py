"""``replsession demo``: the counter page, for those who installed the package from a wheel."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import click
from click.core import ParameterSource

from replsession.channel.addresses import resolve_bind
from replsession.config import MULTICAST_GROUP, MULTICAST_PORT
from replsession.errors import ConfigError

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_OF_SEVERAL = ("members",)
_OF_ONE = ("secret_file", "host")


@click.command()
@click.option("--members", type=int, default=2, help="How many on this machine (2).")
@click.option("--port", type=int, default=8080, help="Of the first; others follow it (8080).")
@click.option(
    "--framework",
    type=click.Choice(["starlette", "flask", "mixed"]),
    default="starlette",
    help="What they run under.",
)
@click.option(
    "--config", type=_FILE, help="Or one member of the cluster in this server.xml or TOML."
)
@click.option("--secret-file", type=_FILE, help="File with the secret of that cluster.")
@click.option("--host", default="0.0.0.0", help="Where browsers reach that one (everywhere).")
@click.pass_context
def demo(
    context: click.Context,
    members: int,
    port: int,
    framework: str,
    config: Path | None,
    secret_file: Path | None,
    host: str,
) -> None:
    """
    Run the counter page, here or as one member of your cluster.

    Count on one, kill it, go on with the same session on another. Ctrl-C ends
    it. It needs: pip install 'replsession[cli,demo]'

    \b
    Examples:
      replsession demo --members 3
      replsession demo --config server.xml --secret-file secret.txt
    """
    _refuse(context, _OF_ONE if config is None else _OF_SEVERAL, config is None)
    if config is not None:
        _serve(config, secret_file, host, port, framework)
        return
    from demo_app.__main__ import main

    words = ["--members", str(members), "--port", str(port), "--framework", framework]
    context.exit(main(words))


def _refuse(context: click.Context, names: tuple[str, ...], is_without: bool) -> None:
    for name in names:
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            word = name.replace("_", "-")
            raise click.UsageError(f"--{word} {'needs' if is_without else 'is not for'} --config")


def _serve(config: Path, secret_file: Path | None, host: str, port: int, framework: str) -> None:
    from demo_app.__main__ import NEEDED
    from demo_app.serving import FRAMEWORKS, Serving

    if framework not in FRAMEWORKS:
        raise click.UsageError("--framework mixed is for several members on one machine")
    if not 1 <= port <= 65535:
        raise click.UsageError(f"--port: got {port}; allowed: 1 to 65535")
    if missing := [name for name in NEEDED[framework] if find_spec(name) is None]:
        needed = "pip install 'replsession[cli,demo]'"
        raise click.ClickException(f"{' and '.join(missing)} not installed: {needed}")
    secret = None if secret_file is None else str(secret_file)
    shown = _shown() if host == "0.0.0.0" else host
    told = f"The counter page is at http://{shown}:{port}/ - Ctrl-C ends it."
    try:
        Serving(str(config), secret, host, port, framework).run(lambda: click.echo(told))
    except ConfigError as problem:
        raise click.ClickException(str(problem)) from None


def _shown() -> str:
    """Return the address under which others probably reach this host."""
    try:
        return resolve_bind("auto", (MULTICAST_GROUP, MULTICAST_PORT), loopback_allowed=False)
    except OSError:
        return "127.0.0.1"
