"""
Seeds: addresses and DNS names where members may be found, beside multicast.

A seed is ``10.0.0.5``, ``10.0.0.6:4001``, ``members.internal`` or ``members.internal:4000``. A name
may have many addresses, of which each may be a member's; a name that leads to a balancer will not
do, since whoever answers behind it is another one each time.

Names are looked up again and again, as members come and go: one after the other, since a look-up
takes a thread of the loop's pool, and while a name server is silent, keeps it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Callable
from typing import Final

from replsession.channel.addresses import can_be_dialled
from replsession.channel.log import MEMBERSHIP
from replsession.config import RECEIVER_PORT
from replsession.errors import ConfigError
from replsession.identity import Address

NAME_CHARACTERS_MAX: Final = 253
"""Source: RFC 1035, section 2.3.4, without the dot at the end."""
SEEDS_MAX: Final = 64
"""Seeds in the settings: as many as there may be members."""

_ALLOWED: Final = (
    'up to 64 of "10.0.0.5", "10.0.0.6:4001", "members.internal", "members.internal:4000": '
    "IPv4 addresses that members listen on, or DNS names of hosts"
)
_LABEL: Final = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?", re.ASCII)
_NUMBERS: Final = re.compile(r"[0-9.]+", re.ASCII)
_PORT: Final = re.compile(r"[0-9]{1,5}", re.ASCII)


def check_seeds(seeds: object, field: str = "seeds") -> tuple[str, ...]:
    """
    Return seeds as a tuple, or refuse what can never lead to a member, without asking anybody.

    Args:
        seeds: A tuple or a list of texts.
        field: Name of the setting, for the message.

    Raises:
        ConfigError: It is none, or one of them is neither an address nor a name.
    """
    if not isinstance(seeds, tuple | list) or len(seeds) > SEEDS_MAX:
        raise ConfigError(field, seeds, _ALLOWED)
    for seed in seeds:
        if not isinstance(seed, str) or parsed(seed) is None:
            raise ConfigError(field, seed, _ALLOWED)
    return tuple(seeds)


def parsed(seed: str) -> Address | None:
    """Return host and port of a seed, the host perhaps a name; None: it is no seed."""
    host, colon, port = seed.partition(":")
    if colon and not (_PORT.fullmatch(port) and 0 < int(port) < 65536):
        return None
    address = Address(host, int(port) if colon else RECEIVER_PORT)
    try:
        return address if can_be_dialled(ipaddress.IPv4Address(host)) else None
    except ValueError:
        is_name = _NAME.fullmatch(host) and not _NUMBERS.fullmatch(host)
        return address if is_name and len(host.rstrip(".")) <= NAME_CHARACTERS_MAX else None


class Resolver:
    """
    Looks the names of seeds up, for ever.

    Args:
        loop: Whose ``getaddrinfo`` is used.
        seeds: As :func:`check_seeds` let them pass.
        interval_s: Seconds between two times.
        found: Called with all addresses known, at once and whenever they change.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        seeds: tuple[str, ...],
        interval_s: float,
        found: Callable[[list[Address]], None],
    ) -> None:
        self._loop = loop
        self._interval_s = interval_s
        self._found = found
        self._known: dict[Address, list[Address]] = {}
        self._names: list[Address] = []
        self._problems: dict[Address, str] = {}
        self._told: list[Address] | None = None
        for seed in dict.fromkeys(map(parsed, seeds)):
            assert seed is not None, "a seed that was not checked"
            if _NUMBERS.fullmatch(seed.host):
                self._known[seed] = [seed]
            else:
                self._names.append(seed)

    async def run(self) -> None:
        """Tell what is known without asking, then ask until cancelled."""
        self._tell()
        while self._names:
            for name in self._names:
                await self._look_up(name)
                self._tell()
            await asyncio.sleep(self._interval_s)

    async def _look_up(self, name: Address) -> None:
        try:
            answers = await self._loop.getaddrinfo(
                name.host, name.port, family=socket.AF_INET, type=socket.SOCK_STREAM
            )
        except (OSError, UnicodeError) as error:
            # What it led to before may still be there.
            self._complain(name, getattr(error, "strerror", None) or str(error))
            return
        found = sorted({Address(str(answer[4][0]), name.port) for answer in answers})
        if self._problems.pop(name, None) is not None or found != self._known.get(name):
            MEMBERSHIP.info("Members may be at %s: %s", name, ", ".join(map(str, found)))
        self._known[name] = found

    def _complain(self, name: Address, problem: str) -> None:
        if self._problems.get(name) != problem:
            self._problems[name] = problem
            MEMBERSHIP.warning("Cannot resolve %s: %s. Trying again.", name.host, problem)

    def _tell(self) -> None:
        addresses = [address for found in self._known.values() for address in found]
        if addresses != self._told:
            self._told = addresses
            self._found(addresses)
