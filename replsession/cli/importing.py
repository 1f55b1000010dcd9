"""``replsession import``: what a Tomcat's ``server.xml`` says, as our own file."""

from __future__ import annotations

import click

from replsession.errors import ConfigError
from replsession.settings import server_xml
from replsession.settings.toml import to_toml


@click.command("import")
@click.argument("path", type=click.Path(exists=True, dir_okay=False))
@click.option("--show-secret", is_flag=True, help="Print the secret, too, if there is one.")
def import_(path: str, show_secret: bool) -> None:
    """
    Print the TOML for the <Cluster> of a Tomcat's server.xml.

    What has no meaning here stands above it as comments, with the reason.

    \b
    Example:
      replsession import conf/server.xml > replsession.toml
    """
    try:
        configuration = server_xml.read(path)
    except ConfigError as problem:
        raise click.ClickException(str(problem)) from None
    click.echo(to_toml(configuration, shows_secret=show_secret), nl=False)
