"""
Browsers that hop to a random member at each request, in a process of their own.

::

    python -m tests.cluster.load member-1=http://10.77.0.1:8080 member-2=http://10.77.0.2:8080

It reads commands from standard input, one JSON object a line, and answers each with a line
``answer NUMBER {…}``:

``start``   let browsers loose; ``browsers``, ``seed``, ``pause_s``; ``through``: the names of whom
            they ask, such as a balancer, if not all
``count``   how many requests each member has answered so far
``stop``    let each finish its request
``probe``   ask every member for every session, ended ones too
``write``   write all requests into a ``file``, a JSON object a line, see ``history.Operation``
``get``     ask ``members`` for a ``path``

1. A request that fails goes to another member, as behind a balancer. One that failed gets no
   traffic for a moment, and one that is busy only what no other takes. A failed write is never sent
   again: the next one has another token.
2. A browser keeps the cookie of each of its sessions, and sends the one it got last.
3. Every second session is shared: another browser writes its own attribute of it at the same time.
4. With ``in_url``, every other browser sends no cookies, but ``;jsessionid=`` in the path. With
   ``closing``, each request has a connection of its own.
5. Behind a balancer, the answer says which member it is from. One that failed is the balancer's.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from random import Random
from typing import Any, Literal

import httpx

from tests.cluster.history import Operation

CONNECT_S = 1.0
"""After so long a member is not reached; a request may go elsewhere."""
ANSWER_S = 4.0
"""After so long a member does not answer: longer than any wait that the product allows itself."""
REST_S = 2.0
"""How long a member that failed gets no traffic."""
IN_FLIGHT_MAX = 3
"""Requests at a member at a time, so that one that hangs does not hold all browsers."""
OPEN_MAX = 3
"""Sessions that a browser begins to use before it has left another."""
VISITS = (8, 30)
"""Requests of a browser in one session, at least and at most."""
APPENDS, ENDS, SHARED = 0.6, 0.4, 0.5
"""Shares: of requests that write, of sessions that are ended, of sessions with two writers."""
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class Member:
    """One member, as the balancer knows it."""

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self.rests_until = 0.0
        self.in_flight = 0
        self.http = httpx.AsyncClient(
            base_url=url,
            timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S),
            trust_env=False,
            verify=False,
            # None is kept here: many browsers share these connections, each with its own cookies.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        )

    @property
    def is_busy(self) -> bool:
        """Whether others should be asked first."""
        return self.in_flight >= IN_FLIGHT_MAX or self.rests_until > time.monotonic()


@dataclass
class Shared:
    """A session, as its browsers know it."""

    id: str
    is_ended: bool = False


@dataclass
class Visit:
    """A session in the hands of one browser."""

    session: Shared
    cookie: str
    requests_left: int


class Browsers:
    """All browsers of one load, and everything they did."""

    def __init__(
        self,
        members: Sequence[Member],
        browsers: int,
        seed: int,
        pause_s: float,
        in_url: bool = False,
        closing: bool = False,
    ) -> None:
        self.members = members
        self.pause_s = pause_s
        self.in_url = in_url
        self.closing = closing
        self.operations: list[Operation] = []
        self.answered = Counter(dict.fromkeys((member.name for member in members), 0))
        self.is_stopping = False
        self.all = [Browser(self, number, Random(f"{seed} {number}")) for number in range(browsers)]
        self.tasks = [asyncio.ensure_future(browser.run()) for browser in self.all]

    def partner_of(self, number: int) -> Browser | None:
        """Return the browser with which this one shares sessions."""
        partner = number ^ 1
        return self.all[partner] if partner < len(self.all) else None

    async def stop(self) -> None:
        """Let each browser finish its request."""
        self.is_stopping = True
        await asyncio.gather(*self.tasks)

    async def probe(self) -> None:
        """Ask every member for every session, each with its cookie."""
        await asyncio.gather(*(browser.probe() for browser in self.all))


@dataclass
class Browser:
    """One user, who waits for each answer."""

    among: Browsers
    number: int
    rng: Random
    open: list[Visit] = field(default_factory=list)
    left: list[Visit] = field(default_factory=list)
    tokens: int = 0

    async def run(self) -> None:
        """Make requests until told to stop."""
        while not self.among.is_stopping:
            await self._step()
            await asyncio.sleep(self.among.pause_s * self.rng.expovariate(1.0))

    async def probe(self) -> None:
        """Read each session once on every member."""
        for visit in (*self.open, *self.left):
            for member in self.among.members:
                await self._ask("read", member, visit)

    async def _step(self) -> None:
        for visit in [visit for visit in self.open if visit.session.is_ended]:
            self._leave(visit)
        if len(self.open) < OPEN_MAX and self.rng.random() < 1 / (1 + len(self.open)):
            await self._begin()
            return
        visit = self.rng.choice(self.open)
        visit.requests_left -= 1
        if visit.requests_left > 0:
            await self._try("append" if self.rng.random() < APPENDS else "read", visit)
            return
        self._leave(visit)
        if self.rng.random() < ENDS:
            visit.session.is_ended = True
            await self._try("invalidate", visit)

    def _leave(self, visit: Visit) -> None:
        self.open.remove(visit)
        self.left.append(visit)

    async def _begin(self) -> None:
        for member in self._route():
            operation, cookie = await self._ask("append", member, None)
            if operation.session is not None:
                shared = Shared(operation.session)
                self._take(shared, cookie)
                partner = self.among.partner_of(self.number)
                if partner is not None and self.rng.random() < SHARED:
                    partner._take(shared, cookie)
                return

    def _take(self, shared: Shared, cookie: str) -> None:
        self.open.append(Visit(shared, cookie, self.rng.randint(*VISITS)))

    async def _try(self, kind: Literal["append", "read", "invalidate"], visit: Visit) -> None:
        for member in self._route():
            operation, cookie = await self._ask(kind, member, visit)
            visit.cookie = cookie or visit.cookie
            if operation.status == 200:
                return

    def _route(self) -> Iterator[Member]:
        """Yield members in a random order, those that rest or are busy at last."""
        shuffled = self.rng.sample(self.among.members, len(self.among.members))
        yield from sorted(shuffled, key=lambda member: member.is_busy)

    async def _ask(
        self, kind: Literal["append", "read", "invalidate"], member: Member, visit: Visit | None
    ) -> tuple[Operation, str]:
        asked = None if visit is None else visit.session.id
        told = {"session": asked}
        if kind == "append":
            self.tokens += 1
            told |= {"attribute": f"w{self.number}", "token": f"{self.number}-{self.tokens}"}
        path, headers = self._sent(kind, visit)
        start = time.monotonic()
        found: dict[str, Any] = {"status": 0}
        cookie = ""
        member.in_flight += 1
        try:
            response = await member.http.post(path, json=told, headers=headers)
        except httpx.TransportError as error:
            member.rests_until = time.monotonic() + REST_S
            found |= {"error": repr(error), "was_sent": not isinstance(error, NOT_SENT)}
        else:
            found = _told(response)
            cookie = _cookies_of(response, "" if visit is None else visit.cookie)
        finally:
            member.in_flight -= 1
        operation = Operation(
            kind,
            f"{self.number}",
            found.pop("member", member.name),
            start,
            time.monotonic(),
            asked=asked,
            attribute=told.get("attribute") or "",
            token=told.get("token") or "",
            **found,
        )
        self.among.operations.append(operation)
        self.among.answered[operation.member] += operation.status != 0
        return operation, cookie

    def _sent(self, kind: str, visit: Visit | None) -> tuple[str, dict[str, str]]:
        """Return path and headers of a request."""
        headers = {"Connection": "close"} if self.among.closing else {}
        if visit is None:
            return f"/{kind}", headers
        if self.among.in_url and self.number % 2:
            return f"/{kind};jsessionid={_pairs(visit.cookie)['session']}", headers
        return f"/{kind}", {**headers, "Cookie": visit.cookie}


def _told(response: httpx.Response) -> dict[str, Any]:
    if response.status_code not in (200, 404):
        return {"status": response.status_code, "error": response.text[:200]}
    return {"status": response.status_code, **response.json()}


def _cookies_of(response: httpx.Response, before: str) -> str:
    """Return the cookies of a session after an answer; a sticky balancer may add one of its own."""
    cookies = _pairs(before)
    for given in response.headers.get_list("set-cookie"):
        # An ended session's cookie is taken away; the browser keeps it, to see that it is dead.
        cookies |= {k: v for k, v in _pairs(given.partition(";")[0]).items() if v != "null"}
    return "; ".join(f"{name}={value}" for name, value in cookies.items())


def _pairs(cookies: str) -> dict[str, str]:
    found = (pair.partition("=") for pair in cookies.split("; ") if pair)
    return {name: value for name, _, value in found}


class Runner:
    """Carries out commands."""

    def __init__(self, members: Sequence[Member]) -> None:
        self._members = members
        self._browsers: Browsers | None = None

    async def do(self, command: dict[str, Any]) -> dict[str, Any]:
        """Carry out one command; return the answer."""
        do = command.pop("do")
        if do == "get":
            asked = [member for member in self._members if member.name in command["members"]]
            answers = await asyncio.gather(*(self._get(m, command["path"]) for m in asked))
            return {member.name: told for member, told in zip(asked, answers, strict=True)}
        if do == "start":
            names = command.pop("through", None) or [member.name for member in self._members]
            among = [member for member in self._members if member.name in names]
            self._browsers = Browsers(among, **command)
        browsers = self._browsers
        assert browsers is not None
        if do == "stop":
            await browsers.stop()
        elif do == "probe":
            await browsers.probe()
        elif do == "write":
            lines = [json.dumps(asdict(operation)) + "\n" for operation in browsers.operations]
            await asyncio.to_thread(Path(command["file"]).write_text, "".join(lines))
        return {"answered": browsers.answered}

    async def _get(self, member: Member, path: str) -> Any:
        try:
            response = await member.http.get(path)
        except httpx.TransportError:
            return None
        return response.json() if response.status_code == 200 else None


async def main(members: Sequence[str]) -> None:
    """Read commands and answer them until the input ends."""
    runner = Runner([Member(*text.split("=", 1)) for text in members])
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), sys.stdin
    )
    print("runs", flush=True)
    while line := await lines.readline():
        command = json.loads(line)
        number = command.pop("number")
        print("answer", number, json.dumps(await runner.do(command)), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
