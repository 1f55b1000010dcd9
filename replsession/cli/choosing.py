"""
Choosing: which members a command asks, and the options that say so.

Without an option these are all members of this user on this host, found by their control sockets;
for root, those of all users.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from replsession.channel.run_directory import places, sockets, user
from replsession.cli.asking import Gone, Member, NoAnswer, OverSocket, OverUrl
from replsession.cli.figures import plain
from replsession.errors import ConfigError
from replsession.security.keys import ClusterKeys
from replsession.settings import environment as variables
from replsession.settings.secrets import read_secret, secret_of

ASKED_AT_ONCE: Final = 16
Command = TypeVar("Command", bound=Callable[..., Any])


def target_options(command: Command) -> Command:
    """Add the options that say which members are asked."""
    for option in (
        click.option(
            "--secret-file",
            type=click.Path(exists=True, dir_okay=False),
            help="For --url; else $REPLSESSION_SECRET.",
        ),
        click.option("--name", metavar="CLUSTER", help="Members of this cluster only."),
        click.option("--url", help="Ask over this control URL of a web server."),
        click.option(
            "--socket",
            "path",
            metavar="PATH",
            type=click.Path(path_type=Path),
            help="Ask at this control socket, or at all in this directory.",
        ),
    ):
        command = option(command)
    return command


@dataclass
class Look:
    """What members told when they were asked for their status."""

    told: list[tuple[Member, dict[str, Any]]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """Who did not answer, and why."""


class Targets:
    """
    The members that are meant.

    Args:
        path: A control socket, or a directory with some.
        url: Or a control URL.
        name: Of the cluster; with a URL, the one for which requests are signed.
        secret_file: For a URL.
    """

    def __init__(
        self, path: Path | None, url: str | None, name: str | None, secret_file: str | None
    ) -> None:
        if path is not None and url is not None:
            raise click.UsageError("either --socket or --url")
        self._path = path
        self._name = None if url is not None else name
        self._over_url: OverUrl | None = None
        if url is not None:
            try:
                self._over_url = OverUrl(url, _key(name, secret_file))
            except NoAnswer as problem:
                raise click.UsageError(f"--url: {problem}") from None

    def look(self) -> Look:
        """Ask all that are there now for their status."""
        members: list[Member] = []
        if self._over_url is not None:
            members.append(self._over_url)
        else:
            members += map(OverSocket, self._paths())
        look = Look()
        with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
            for member, answer in zip(members, pool.map(_status, members), strict=True):
                self._take(look, member, answer)
        return look

    def one(self) -> tuple[Member, dict[str, Any]]:
        """
        Return a member to ask for sessions, and its status: any will do, best one that is ready.

        Raises:
            ClickException: there is none, or there are those of several clusters.
        """
        look = self.look()
        if not look.told:
            raise CannotLook(self.nobody(look))
        clusters = sorted({status["member"]["cluster"] for _, status in look.told})
        if len(clusters) > 1:
            raise CannotLook(
                f"members of several clusters run here: {plain(', '.join(clusters))}; choose one: "
                f"--name {plain(clusters[0])}"
            )
        return max(look.told, key=_fitness)

    def nobody(self, look: Look) -> str:
        """Return a sentence that says why nobody was found, and what to do."""
        if look.problems:
            return plain("; ".join(look.problems))
        if self._path is not None:
            return f"no member listens at {self._path}"
        of = "" if self._name is None else f" of the cluster {self._name!r}"
        who = "any user" if user() == 0 else "this user"
        return (
            f"no member{of} runs here as {who}; run it as the user of the web server (sudo -u), "
            "look at the member's log for 'control socket', or ask over --url"
        )

    def _paths(self) -> Iterable[Path]:
        if self._path is None:
            return [path for directory in places() for path in sockets(directory)]
        try:
            if self._path.is_dir():
                return sorted(path for path in self._path.iterdir() if path.is_socket())
        except OSError as problem:
            raise CannotLook(f"--socket {self._path}: {problem.strerror}") from None
        return [self._path]

    def _take(self, look: Look, member: Member, answer: dict[str, Any] | NoAnswer) -> None:
        if isinstance(answer, NoAnswer):
            # What a killed process left behind is nobody; what was asked for is missed.
            if not isinstance(answer, Gone) or self._path is not None:
                look.problems.append(f"{member.where}: {answer}")
        elif self._name is None or answer["member"]["cluster"] == self._name:
            look.told.append((member, answer))


class CannotLook(click.ClickException):
    """What was asked for could not be done at all."""

    exit_code = 2


def _fitness(told: tuple[Member, dict[str, Any]]) -> tuple[bool, float]:
    me = told[1]["member"]
    return me["ready"], me["age_s"]


def _status(member: Member) -> dict[str, Any] | NoAnswer:
    try:
        status: dict[str, Any] = member.ask("status")["status"]
    except NoAnswer as problem:
        return problem
    except KeyError:
        return NoAnswer("the answer is not what a member says")
    return status


def _key(name: str | None, secret_file: str | None) -> bytes:
    try:
        said = variables.whole(os.environ)
        secret = secret_of(said) if secret_file is None else read_secret(secret_file, "secret-file")
    except ConfigError as problem:
        raise click.UsageError(str(problem)) from None
    if secret is None:
        raise click.UsageError("--url needs the cluster's secret: --secret-file FILE")
    if name is None:
        name = str(said.values.get("cluster", "local")).removeprefix("lan:")
    return ClusterKeys(secret, name).control_key
