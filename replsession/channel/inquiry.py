"""
Inquiries: what an administrator asks a member, over its control socket or its URL, and the answers.

Requests and answers are objects of JSON. The table is the whole protocol; what may be left out is
null then.

::

    ask             with                                   answer
    status                                                 status
    sessions        context, principal, after, limit       sessions, after
    session         id (its beginning), context, values    found
    invalidate      id, context                            ended (true or false)
    invalidate_all  principal, context                     ended (how many were live here)
    anything else, and what is wrong                       error (a sentence)

Nothing of a session's values is in an answer, unless ``values`` asks for them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import asdict
from typing import Any, Final

from replsession.channel import administration
from replsession.channel.search import find_steps, page_steps
from replsession.channel.status import Asked, status_steps
from replsession.config import CONTROL_PAGE_SESSIONS
from replsession.errors import ReplsessionError
from replsession.session.principals import check_principal

Answer = dict[str, Any]
Steps = Generator[None, None, Answer]


class Refused(Exception):
    """A request that is none; its text is for the one who asked."""


class Inquiries:
    """
    Answers what administrators ask.

    Args:
        channel: Of the member that answers.
    """

    def __init__(self, channel: Asked) -> None:
        self._channel = channel

    def steps(self, request: object) -> Steps:
        """Answer a request, in steps; the answer is the value at their end. It never raises."""
        try:
            if not isinstance(request, dict):
                raise Refused("a request is one object of JSON")
            ask = request.get("ask")
            answering = _ANSWERING.get(ask) if isinstance(ask, str) else None
            if answering is None:
                raise Refused(f"ask one of {', '.join(_ANSWERING)}")
            return (yield from answering(self, request))
        except (Refused, ReplsessionError) as problem:
            return {"error": str(problem)}

    def _status(self, request: Mapping[str, Any]) -> Steps:
        status = yield from status_steps(self._channel)
        return {"status": status.as_dict()}

    def _sessions(self, request: Mapping[str, Any]) -> Steps:
        context, principal = _text(request, "context"), _text(request, "principal")
        limit = request.get("limit")
        if limit is None:
            limit = CONTROL_PAGE_SESSIONS
        if type(limit) is not int or limit < 1:
            raise Refused("limit: a whole number above 0")
        contexts = None if context is None else [context]
        if principal is not None:
            principal, contexts = _principal(principal), self._named(context)
        try:
            page = yield from page_steps(
                self._channel.member,
                contexts,
                principal,
                _text(request, "after"),
                min(limit, CONTROL_PAGE_SESSIONS),
            )
        except ValueError:
            raise Refused("after: as the page before said it") from None
        return {"sessions": [asdict(info) for info in page.sessions], "after": page.after}

    def _session(self, request: Mapping[str, Any]) -> Steps:
        found = yield from find_steps(
            self._channel.member,
            _needed(request, "id"),
            _text(request, "context"),
            shows_values=request.get("values") is True,
        )
        return {
            "found": [
                {**asdict(one.info), "sizes": one.sizes, "values": one.values} for one in found
            ]
        }

    def _invalidate(self, request: Mapping[str, Any]) -> Steps:
        yield
        context, session_id = _needed(request, "context"), _needed(request, "id")
        return {"ended": administration.end(self._channel.member, context, session_id)}

    def _invalidate_all(self, request: Mapping[str, Any]) -> Steps:
        yield
        principal = _principal(_needed(request, "principal"))
        names = self._named(_text(request, "context"))
        return {"ended": administration.end_all(self._channel.member, names, principal)}

    def _named(self, context: str | None) -> list[str]:
        return administration.named(self._channel.member, self._channel.contexts, context)


def _text(request: Mapping[str, Any], name: str) -> str | None:
    value = request.get(name)
    if value is None:
        return None
    # NUL begins the names under which members keep things for themselves.
    if not isinstance(value, str) or "\0" in value or not _is_unicode(value):
        raise Refused(f"{name}: a text without NUL, or null")
    return value


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _principal(name: str) -> str:
    try:
        return check_principal(name)
    except ValueError as problem:
        raise Refused(str(problem)) from None


def _needed(request: Mapping[str, Any], name: str) -> str:
    value = _text(request, name)
    if not value:
        raise Refused(f"{name}: it is needed")
    return value


_ANSWERING: Final[Mapping[str, Callable[[Inquiries, Mapping[str, Any]], Steps]]] = {
    "status": Inquiries._status,
    "sessions": Inquiries._sessions,
    "session": Inquiries._session,
    "invalidate": Inquiries._invalidate,
    "invalidate_all": Inquiries._invalidate_all,
}
