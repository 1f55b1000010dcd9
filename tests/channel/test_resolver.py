"""Seeds: what is one, and how names are looked up again and again."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop

from replsession.channel.resolver import SEEDS_MAX, Resolver, check_seeds, parsed
from replsession.errors import ConfigError
from replsession.identity import Address
from tests.channel.running import PATIENCE_S

ONE, TWO, THREE = (Address(f"10.0.0.{number}", 4000) for number in (1, 2, 3))
NAME = "members.internal"
Answer = list[str] | OSError


@pytest.mark.parametrize(
    ("seed", "expected"),
    [
        ("10.0.0.5", Address("10.0.0.5", 4000)),
        ("10.0.0.6:4001", Address("10.0.0.6", 4001)),
        ("127.0.0.1:1", Address("127.0.0.1", 1)),
        ("members.internal", Address("members.internal", 4000)),
        ("members.internal:65535", Address("members.internal", 65535)),
        ("members.internal.", Address("members.internal.", 4000)),
        ("localhost", Address("localhost", 4000)),
        ("shop-1", Address("shop-1", 4000)),
        ("_shop._tcp.example", Address("_shop._tcp.example", 4000)),
        ("1a.example", Address("1a.example", 4000)),
        ("x" * 63 + ".example", Address("x" * 63 + ".example", 4000)),
    ],
)
def test_what_a_seed_says(seed: str, expected: Address) -> None:
    assert parsed(seed) == expected
    assert check_seeds((seed,)) == check_seeds([seed]) == (seed,)


@pytest.mark.parametrize(
    "seed",
    [
        *("", ":", ":4000", "10.0.0.5:", "10.0.0.5:0", "10.0.0.5:65536", "10.0.0.5:x"),
        *("10.0.0.5:4000:1", "10.0.0.5:-1", "10.0.0.5: 1", "10.0.0.5:٤", "10.0.0.5:000001"),
        *("10.0.0.300", "10.0.0", "4000", "0.0.0.0", "224.0.0.1", "255.255.255.255"),
        *("::1", "[::1]:4000", "fe80::1%eth0"),
        *("members internal", "members..internal", ".internal", "-x.example", "x-.example"),
        *("x" * 64, "x." * 127 + "x", "gänse.example", "x\n", "http://x", "x/y", "a,b"),
        *(None, 5, b"10.0.0.5", ("10.0.0.5", 4000)),
    ],
)
def test_what_is_no_seed_is_named(seed: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        check_seeds(("10.0.0.5", seed))

    assert (caught.value.field, caught.value.given) == ("seeds", seed)
    assert "members.internal:4000" in caught.value.allowed


@pytest.mark.parametrize("seeds", ["10.0.0.5", None, {"10.0.0.5"}, 5, ("10.0.0.5",) * 65])
def test_seeds_are_a_tuple_of_a_bounded_length(seeds: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        check_seeds(seeds, "REPLSESSION_SEEDS")

    assert (caught.value.field, caught.value.given) == ("REPLSESSION_SEEDS", seeds)
    assert len(check_seeds(("10.0.0.5",) * SEEDS_MAX)) == SEEDS_MAX


class NameServer:
    """A loop whose names lead where the test says; each answer is given once, the last for ever."""

    def __init__(self, **answers: list[Answer]) -> None:
        self.answers = {name.replace("_", "."): given for name, given in answers.items()}
        self.asked: list[str] = []

    async def getaddrinfo(self, host: str, port: int, **how: Any) -> list[Any]:
        assert how == {"family": socket.AF_INET, "type": socket.SOCK_STREAM}
        self.asked.append(host)
        given = self.answers[host]
        answer = given.pop(0) if len(given) > 1 else given[0]
        await asyncio.sleep(0)
        if isinstance(answer, OSError):
            raise answer
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (found, port)) for found in answer]


def resolved(server: NameServer, *seeds: str, rounds: int) -> list[list[Address]]:
    """Let a resolver ask so many times, and return what it told."""
    told: list[list[Address]] = []

    async def work() -> None:
        resolver = Resolver(server, seeds, 0.001, told.append)  # type: ignore[arg-type]
        task = asyncio.get_running_loop().create_task(resolver.run())
        while len(server.asked) < rounds and not task.done():
            await asyncio.sleep(0)
        for _ in range(10):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(asyncio.wait_for(work(), PATIENCE_S))
    return told


def test_addresses_are_told_at_once_and_nobody_is_asked() -> None:
    server = NameServer()

    assert resolved(server, "10.0.0.2", "10.0.0.1:4000", "10.0.0.2", rounds=1) == [[TWO, ONE]]
    assert server.asked == []


def test_all_addresses_of_a_name_are_told_and_again_when_they_change(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "replsession")
    server = NameServer(
        members_internal=[["10.0.0.2", "10.0.0.1", "10.0.0.2"], ["10.0.0.1", "10.0.0.2"], []]
    )
    server.answers[NAME][2] = ["10.0.0.3"]

    told = resolved(server, "10.0.0.9:4009", NAME, rounds=5)
    nine = Address("10.0.0.9", 4009)
    assert told == [[nine], [nine, ONE, TWO], [nine, THREE]]
    assert caplog.messages == [
        "Members may be at members.internal:4000: 10.0.0.1:4000, 10.0.0.2:4000",
        "Members may be at members.internal:4000: 10.0.0.3:4000",
    ]


def test_a_failure_is_told_once_and_what_was_known_stays(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "replsession")
    server = NameServer(
        members_internal=[
            ["10.0.0.1"],
            socket.gaierror(-3, "Temporary failure in name resolution"),
            socket.gaierror(-3, "Temporary failure in name resolution"),
            socket.gaierror(-2, "Name or service not known"),
            ["10.0.0.1"],
        ]
    )

    assert resolved(server, NAME, rounds=7) == [[], [ONE]]
    assert caplog.messages == [
        "Members may be at members.internal:4000: 10.0.0.1:4000",
        "Cannot resolve members.internal: Temporary failure in name resolution. Trying again.",
        "Cannot resolve members.internal: Name or service not known. Trying again.",
        "Members may be at members.internal:4000: 10.0.0.1:4000",
    ]


def test_a_name_that_fails_keeps_no_other_back() -> None:
    server = NameServer(
        bad_internal=[socket.gaierror(-2, "Name or service not known")],
        good_internal=[["10.0.0.1"]],
    )

    assert resolved(server, "bad.internal", "good.internal", rounds=4)[-1] == [ONE]
    assert server.asked[:4] == ["bad.internal", "good.internal"] * 2


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_real_name_is_looked_up(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def first_told() -> list[Address]:
        told: asyncio.Queue[list[Address]] = asyncio.Queue()
        resolver = Resolver(
            asyncio.get_running_loop(), ("localhost:4001",), 1000.0, told.put_nowait
        )
        task = asyncio.get_running_loop().create_task(resolver.run())
        assert await told.get() == []
        found = await told.get()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return found

    def run(work: Awaitable[list[Address]]) -> list[Address]:
        with asyncio.Runner(loop_factory=loop) as runner:
            return runner.run(asyncio.wait_for(work, PATIENCE_S))

    assert run(first_told()) == [Address("127.0.0.1", 4001)]
