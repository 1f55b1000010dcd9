"""All commands of the program; each is in a module of its own."""

from __future__ import annotations

from importlib.util import find_spec

import click

from replsession.cli.demo import demo
from replsession.cli.doctor.command import doctor
from replsession.cli.importing import import_
from replsession.cli.secret import secret
from replsession.cli.sessions.command import sessions
from replsession.cli.status.command import status


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
    epilog="Each command says more: replsession doctor --help",
)
@click.version_option(package_name="replsession", prog_name="replsession")
def program() -> None:
    """
    Tools for a cluster of members that share their sessions.

    \b
    Example: a secret for all members, and a look at this machine
      replsession secret --file secret.txt
      replsession doctor --name shop --secret-file secret.txt
    """


program.add_command(secret)
program.add_command(doctor)
program.add_command(status)
program.add_command(sessions)
program.add_command(import_)
if find_spec("demo_app") is not None:
    program.add_command(demo)
