"""
What the counter page does with a session, whatever framework it runs under.
"""

from __future__ import annotations

import json
import math
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from demo_app.page import Neighbour, Page, neighbours
from replsession import Cluster, ConfigError, Session

CONTEXT = "/examples"
"""One name for all frameworks: their members share the sessions."""
READYZ = "/readyz"
FILTER = rf".*\.gif;.*\.js;.*\.jpg;.*\.png;.*\.css;.*\.txt;{READYZ}"
BODY_BYTES_MAX = 2 * 1024 * 1024
"""More than a whole session may have; a longer body is not read."""
TOO_LONG = f"the body has more than {BODY_BYTES_MAX} bytes"
NOT_STORED = {"Cache-Control": "no-store"}
"""Answers show the session's token, so nobody shall keep one."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the application runs: which member it is, and what it knows of others."""

    secret: str
    cluster: Cluster | None
    name: str
    neighbours: tuple[Neighbour, ...]

    @property
    def member(self) -> str:
        """Name of the member that answers."""
        return self.cluster.member_name if self.cluster is not None else self.name

    @property
    def valve(self) -> str:
        """Paths without session work: those of the cluster's configuration, or the usual ones."""
        said = {} if self.cluster is None else self.cluster.configuration.application
        valve = said.get("valve")
        if not valve:
            return FILTER
        # Whether a member is ready is no visit, whatever the filter says.
        return ";".join([*([valve.strip(";")] if isinstance(valve, str) else valve), READYZ])

    @property
    def state(self) -> tuple[dict[str, object], int]:
        """Whether this member may be given traffic, as JSON and as a status."""
        ready = self.cluster is None or self.cluster.is_ready
        state = "ready" if self.cluster is None else self.cluster.state
        return {"ready": ready, "state": state}, 200 if ready else 503

    def page(self, session: Session, host: str) -> str:
        """Return the page, for a request with this Host header."""
        assert session.id is not None and session.url_token is not None
        return Page(
            member=self.member,
            process=os.getpid(),
            members=() if self.cluster is None else self.cluster.members,
            neighbours=self.neighbours,
            host=host,
            counter=counter_of(session),
            session_id=session.id,
            url_token=session.url_token,
            is_new=session.is_new,
            attributes=session,
            encode_url=session.encode_url,
        ).html()

    def told(self, session: Session) -> dict[str, object]:
        """Return the session as JSON; without one there is no id, and there are no attributes."""
        # An empty session ends with its request.
        exists = bool(session)
        return {
            "member": self.member,
            "session_id": session.id if exists else None,
            "url_token": session.url_token if exists else None,
            "is_new": exists and session.is_new,
            "counter": counter_of(session),
            "attributes": dict(session),
        }


def place(environment: Mapping[str, str]) -> Place:
    """
    Return what the environment says of this member.

    Args:
        environment: ``REPLSESSION_…`` as in :meth:`Cluster.from_env`, with a secret there, in the
            file that is named there, or in the configuration; and ``DEMO_MEMBERS``: ``NAME=URL`` of
            all members, with blanks between them.

    Raises:
        ConfigError: the secret is missing, or a variable has a value that is not allowed.
    """
    cluster = Cluster.from_env(environment)
    settings = None if cluster is None else cluster.settings
    secret = environment.get("REPLSESSION_SECRET") or (settings and settings.secret)
    if not secret:
        raise ConfigError(
            "REPLSESSION_SECRET",
            environment.get("REPLSESSION_SECRET"),
            "32 random characters or more, the same for every member; make them with: "
            'python -c "import secrets; print(secrets.token_urlsafe(32))", or in a file with: '
            "replsession secret --file secret.txt, and name that in REPLSESSION_SECRET_FILE",
        )
    return Place(
        secret,
        cluster,
        environment.get("REPLSESSION_MEMBER_NAME") or socket.gethostname(),
        neighbours(environment.get("DEMO_MEMBERS", "")),
    )


def counter_of(session: Session) -> int:
    """Return the visits so far; whatever else was put under that name counts as none."""
    counter = session.get("counter")
    return counter if isinstance(counter, int) and not isinstance(counter, bool) else 0


def count_visit(session: Session) -> Session:
    """Count one visit, and return the session."""
    session["counter"] = counter_of(session) + 1
    return session


def json_object(body: bytes) -> dict[str, Any]:
    """
    Return the JSON object in a body.

    Raises:
        ValueError: it is anything else; the text says what.
    """
    try:
        found = json.loads(body, parse_float=_finite, parse_constant=_finite)
        # Half a surrogate pair can be written as an escape, and is nothing that can be answered.
        json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the body is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise ValueError('the body must be a JSON object, as {"name": "value"}')
    return found


def _finite(text: str) -> float:
    # NaN and numbers beyond the range of a float can be read, but JSON has no way to answer them.
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number in JSON, or too large for one")
    return number
