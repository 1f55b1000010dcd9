"""``replsession secret``: one secret for all members of a cluster."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

import click

SECRET_BYTES: Final = 32
"""256 bits: nobody guesses them, and they are 43 characters in base64."""
_OWNER_ONLY: Final = 0o600


@click.command()
@click.option(
    "--file",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write it to this new file, which only you may read.",
)
def secret(path: Path | None) -> None:
    """
    Make a secret for a cluster: 43 random characters.

    All members need the same one. Whoever has it is a member, so keep it as you
    keep passwords.

    \b
    Examples:
      replsession secret --file secret.txt
      export REPLSESSION_SECRET=$(replsession secret)
    """
    made = secrets.token_urlsafe(SECRET_BYTES)
    if path is None:
        click.echo(made)
        return
    try:
        write_new(path, made)
    except FileExistsError:
        raise click.ClickException(f"{path} is there already, and was left as it is") from None
    except OSError as error:
        raise click.ClickException(f"cannot write {path}: {error.strerror}") from None


def write_new(path: Path, text: str) -> None:
    """
    Write a file that nobody but its owner may read, not even for a moment.

    The text stands in it without a line end, which would be part of the secret for some readers.

    Raises:
        FileExistsError: something of that name is there, be it a link that leads nowhere.
        OSError: the system refuses.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
    with open(descriptor, "w", encoding="ascii") as file:
        file.write(text)
