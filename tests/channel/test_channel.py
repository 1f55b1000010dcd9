"""The contract of a channel, on the application's loop of each kind and on a thread of its own."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from replsession.channel import channel as channel_module
from replsession.channel.channel import Channel
from replsession.channel.links import Link
from replsession.config import Timing
from replsession.errors import ClusterStartError
from replsession.events import SessionChanged, SessionExpired
from replsession.identity import Address
from replsession.messages import Deltas
from replsession.session.change import Change
from tests.channel.running import (
    HOST,
    PATIENCE_S,
    QUICK,
    STILL,
    Host,
    free_port,
    has_one_link,
    names_of_others,
    read,
    some_hash,
    some_key,
    some_settings,
    taken,
    until,
    write,
)
from tests.harness import decoded

NOT_OURS = "203.0.113.7"
"""An address that no host has (RFC 5737)."""
ROOT = Path(__file__).resolve().parent.parent.parent


def threads_of_channels() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "replsession"]


def test_making_one_starts_nothing(host: Host) -> None:
    settings = some_settings()
    threads = threading.active_count()

    with taken(settings.port):
        channel = Channel(settings)

    assert threading.active_count() == threads
    assert (channel.state, channel.is_ready) == ("not started", False)


def test_members_find_each_other_and_share_sessions(host: Host) -> None:
    settings = some_settings()
    first, second = host.started(settings), host.started(settings)
    until(lambda: has_one_link(first) and has_one_link(second), "both see each other")

    assert write(first, a=b"\x01", birth=True)
    until(lambda: read(second) == {"a": b"\x01"}, "the birth on the second")
    assert write(second, b=b"\x02")
    until(lambda: read(first) == {"a": b"\x01", "b": b"\x02"}, "the write on the first")
    ended = first.commit((Change(some_key(), {}, destroy=True),))
    assert ended is not None and ended.secret_hash == b""
    until(lambda: read(second) is None, "the end on the second")
    assert not write(second, c=b"\x03")


def test_a_member_that_comes_later_gets_what_was_there(host: Host) -> None:
    settings = some_settings()
    first = host.started(settings)
    for number in range(1, 31):
        write(first, number, a=b"\x18" + bytes([23 + number]), birth=True)

    second = host.started(settings)

    assert [read(second, number) for number in range(1, 31)] == [
        {"a": b"\x18" + bytes([23 + number])} for number in range(1, 31)
    ]


def test_stopping_says_goodbye(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "replsession")
    settings = some_settings()
    first, second = host.started(settings), host.started(settings)
    until(lambda: has_one_link(first) and has_one_link(second), "both see each other")
    member = first.member.node.membership.view.get(second.member.node.me.id)

    host.stop(second)

    until(lambda: not names_of_others(first), "the second is gone")
    assert (second.state, second.is_ready) == ("stopped", False)
    until(
        lambda: f"Received member disappeared: {member} (said goodbye)" in caplog.messages,
        "its goodbye in the log",
    )


def test_stopping_ends_sessions_where_it_is_wanted(host: Host) -> None:
    settings = some_settings()
    first, second = host.started(settings), host.channel(settings)
    told: list[SessionChanged | SessionExpired] = []
    second.register("/", told.append, expire_on_stop=True)
    host.start(second)
    until(lambda: has_one_link(first) and has_one_link(second), "both see each other")
    assert write(second, 1, a=b"\x01", birth=True)
    assert write(first, 2, a=b"\x02", birth=True)
    # Not by a request: whoever had served it last would keep it.
    until(lambda: first.member.node.store.peek(some_key(1)), "the first has both")
    until(lambda: any(event.key == some_key(2) for event in told), "the second has told of both")
    told.clear()

    host.stop(second)

    assert told == [SessionExpired(some_key(1), some_hash(1))]
    until(lambda: not names_of_others(first), "the second is gone")
    assert read(first, 1) is None
    assert read(first, 2) == {"a": b"\x02"}


def test_stopped_and_started_again_it_has_its_sessions_still(host: Host) -> None:
    settings = some_settings()
    first, second = host.started(settings), host.started(settings)
    until(lambda: names_of_others(first), "the second is seen")
    write(second, a=b"\x01", birth=True)
    before = second.member.node.me
    host.stop(first)
    host.stop(second)

    host.start(second)

    until(lambda: second.is_ready, "ready again")
    assert read(second) == {"a": b"\x01"}
    assert second.member.node.me.id != before.id
    host.start(first)
    until(lambda: names_of_others(second) and names_of_others(first), "both see each other again")
    assert write(second, b=b"\x02")
    until(lambda: read(first) == {"a": b"\x01", "b": b"\x02"}, "a write after it")


def test_starting_twice_starts_once_and_stopping_twice_stops_once(host: Host) -> None:
    channel = host.channel(some_settings())
    host.stop(channel)
    assert channel.state == "not started"

    host.start(channel)
    member = channel.member
    host.start(channel)
    channel.ensure_started()
    until(lambda: channel.is_ready, "ready")

    assert channel.member is member
    assert len(threads_of_channels()) == (host.kind == "thread")
    host.stop(channel)
    host.stop(channel)
    assert channel.state == "stopped"
    assert threads_of_channels() == []


def test_a_commit_from_another_thread_wakes_the_loop(host: Host) -> None:
    settings = some_settings(STILL)
    first = host.channel(settings)
    host.start(first)
    second = host.channel(settings)
    host.start(second)
    until(lambda: has_one_link(first) and has_one_link(second), "both see each other")

    write(first, a=b"\x01", birth=True)

    until(lambda: read(second) == {"a": b"\x01"}, "the write, without any timer")


def test_many_commits_of_one_turn_leave_in_one_frame(
    loop_host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = some_settings(STILL)
    first = loop_host.channel(settings)
    loop_host.start(first)
    second = loop_host.channel(settings)
    loop_host.start(second)
    until(lambda: has_one_link(first) and has_one_link(second), "both see each other")
    sessions = range(1, 101)
    written: list[bytes] = []
    write_on = Link.write

    def spied(link: Link, data: bytes) -> None:
        written.append(data)
        write_on(link, data)

    async def one_turn() -> None:
        for number in sessions:
            write(first, number, a=b"\x01", birth=True)

    monkeypatch.setattr(Link, "write", spied)
    home = loop_host.home(first)
    assert home is not None
    before = first.metrics.deltas_sent
    home.run(one_turn())

    until(lambda: all(read(second, number) for number in sessions), "all writes on the second")
    sent = [[m for m in decoded(data) if isinstance(m, Deltas)] for data in written]
    assert [len(deltas.deltas) for messages in sent for deltas in messages] == [len(sessions)]
    assert first.metrics.deltas_sent - before == len(sessions)


def test_concurrent_first_requests_start_one_thread(thread_host: Host) -> None:
    channel = thread_host.channel(some_settings())
    requests = 8
    barrier = threading.Barrier(requests)
    members = []

    def first_request() -> None:
        barrier.wait(PATIENCE_S)
        channel.ensure_started()
        members.append(channel.member)

    threads = [threading.Thread(target=first_request, daemon=True) for _ in range(requests)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)

    assert len(members) == requests
    assert all(member is channel.member for member in members)
    assert len(threads_of_channels()) == 1


def test_on_a_trio_loop_it_gets_a_thread_of_its_own(thread_host: Host) -> None:
    channel = thread_host.channel(some_settings())

    async def application() -> None:
        await channel.start()
        assert len(threads_of_channels()) == 1
        assert write(channel, a=b"\x01", birth=True)
        await channel.stop()

    trio.run(application)

    assert channel.state == "stopped"
    assert threads_of_channels() == []


def test_another_loop_does_not_stop_it(loop_host: Host) -> None:
    channel = loop_host.started(some_settings())

    asyncio.run(channel.stop())

    assert channel.state == "ready"


def test_a_loop_that_closed_without_a_word_is_replaced(
    loop_host: Host, thread_host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "replsession")
    settings = some_settings()
    other = thread_host.started(settings)
    channel = loop_host.started(replace(settings, port=free_port(), auto_bind=1))
    until(lambda: names_of_others(channel), "the other is seen")
    write(channel, a=b"\x01", birth=True)
    before = channel.member.node.me
    home = loop_host.home(channel)
    assert home is not None
    home.close()

    assert write(channel, b=b"\x02"), "a request between loops is served"
    channel.ensure_started()

    until(lambda: channel.is_ready, "ready on a thread")
    assert channel.member.node.me.id != before.id
    assert channel.member.node.me.address == before.address
    assert read(channel) == {"a": b"\x01", "b": b"\x02"}
    until(lambda: read(other) == {"a": b"\x01", "b": b"\x02"}, "what was written in between")
    until(lambda: len(names_of_others(other)) == 1, "one member, not two")


def test_a_loop_that_closed_while_it_could_not_start_is_replaced(loop_host: Host) -> None:
    settings = some_settings(auto_bind=1)
    channel = loop_host.channel(settings)
    home = loop_host.home(channel)
    assert home is not None
    with taken(settings.port):
        loop_host.start(channel)
        assert channel.state.startswith("cannot start: ")
        home.close()

    channel.ensure_started()

    until(lambda: channel.is_ready, "ready on a thread")


def test_a_taken_port_leaves_the_sessions_here_until_it_is_free(
    host: Host, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "replsession")
    monkeypatch.setattr(channel_module, "RETRY_S", 0.05)
    settings = some_settings(auto_bind=1)
    channel = host.channel(settings)
    problem = f"port {settings.port} is taken on {HOST}; set another port=… (REPLSESSION_PORT)"
    with taken(settings.port):
        host.start(channel)

        assert not channel.is_ready
        assert channel.state == f"cannot start: {problem}"
        assert write(channel, a=b"\x01", birth=True)
        assert read(channel) == {"a": b"\x01"}
        until(lambda: caplog.messages.count("Cluster is about to start") > 2, "it tries again")
        errors = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert [record.getMessage() for record in errors] == [
            f"Cluster cannot start: {problem}",
            "Sessions go on in this process alone; trying again every 0.05 seconds",
        ]

    until(lambda: channel.is_ready, "ready once the port is free")
    assert channel.state == "ready"
    assert channel.member.node.me.address == Address(HOST, settings.port)
    assert read(channel) == {"a": b"\x01"}
    other = host.started(replace(settings, port=free_port()))
    assert read(other) == {"a": b"\x01"}


def test_stopping_ends_the_attempts(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_module, "RETRY_S", 0.01)
    settings = some_settings(auto_bind=1)
    channel = host.channel(settings)
    with taken(settings.port):
        host.start(channel)
        host.stop(channel)
        assert (channel.state, channel.is_ready) == ("stopped", False)

    host.start(channel)
    until(lambda: channel.is_ready, "ready")


def test_without_its_address_it_says_what_to_set(host: Host) -> None:
    channel = host.channel(some_settings(bind=NOT_OURS))

    host.start(channel)

    assert f"this host does not have the address {NOT_OURS}; set bind=…" in channel.state
    assert write(channel, a=b"\x01", birth=True)


def test_required_makes_it_an_error(host: Host) -> None:
    settings = some_settings(auto_bind=1)
    channel = host.channel(settings, required=True)
    with taken(settings.port):
        for _ in range(2):
            with pytest.raises(ClusterStartError, match=f"port {settings.port} is taken"):
                host.start(channel)
            assert channel.state.startswith("cannot start: ")
            assert not channel.is_ready
        assert threads_of_channels() == []

    host.start(channel)

    until(lambda: channel.is_ready, "ready")


@pytest.mark.parametrize("required", [False, True])
def test_without_a_thread_left_a_request_goes_on(
    thread_host: Host, monkeypatch: pytest.MonkeyPatch, required: bool
) -> None:
    channel = thread_host.channel(some_settings(), required=required)

    def no_thread(_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", no_thread)
        if required:
            with pytest.raises(ClusterStartError, match="can't start new thread"):
                channel.ensure_started()
        else:
            channel.ensure_started()
    assert channel.state == "cannot start: can't start new thread"
    assert write(channel, a=b"\x01", birth=True)

    channel.ensure_started()

    until(lambda: channel.is_ready, "ready")


def test_contexts_and_listeners_survive_a_restart(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "replsession")
    told: list[SessionChanged | SessionExpired] = []
    settings = some_settings()
    first = host.started(settings)
    second = host.channel(settings)
    second.register("/", told.append)
    second.register("/examples", None)
    for _ in range(2):
        host.start(second)
        until(lambda: names_of_others(first) and second.is_ready, "the second is there")
        name = second.member.node.me.name
        for context in ("/", "/examples"):
            assert f"Register manager {context} to cluster with name {name}" in caplog.messages
        told.clear()
        write(first, len(caplog.messages), a=b"\x01", birth=True)
        until(lambda: told, "the news of a session")
        host.stop(second)
        until(lambda: not names_of_others(first), "the second is gone")


def test_one_process_alone_needs_no_start() -> None:
    channel = Channel(None)
    told: list[SessionChanged | SessionExpired] = []
    channel.register("/", told.append)

    channel.ensure_started()
    asyncio.run(channel.start())

    assert (channel.state, channel.is_ready) == ("ready", True)
    assert write(channel, a=b"\x01", birth=True)
    assert read(channel) == {"a": b"\x01"}
    assert threads_of_channels() == []
    asyncio.run(channel.stop())
    assert read(channel) == {"a": b"\x01"}
    assert told == []


def test_one_process_alone_ends_its_sessions_where_it_is_wanted() -> None:
    channel = Channel(None)
    told: list[SessionChanged | SessionExpired] = []
    channel.register("/", told.append, expire_on_stop=True)
    write(channel, a=b"\x01", birth=True)
    asyncio.run(channel.stop())

    assert told == [SessionExpired(some_key(1), some_hash(1))]
    assert read(channel) is None


def test_one_process_alone_tells_of_sessions_that_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [time.monotonic()]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    channel = Channel(None)
    told: list[SessionChanged | SessionExpired] = []
    channel.register("/", told.append)
    write(channel, a=b"\x01", birth=True)

    for _ in range(4 * 256):
        now[0] += 4
        read(channel, 2)

    assert told == [SessionExpired(some_key(1), some_hash(1))]


FORKING = """
import json, os, sys, threading, time
from replsession.channel.channel import Channel
from replsession.channel.links import Link
from tests.channel.running import names_of_others, read, some_settings, until, write

channel = Channel(some_settings())
if sys.argv[1] == "started":
    channel.ensure_started()
    until(lambda: channel.is_ready, "the parent is ready")
    write(channel, 1, a=b"\\x01", birth=True)
parent = channel.member.node.me.id.hex()
reading, writing = os.pipe()
child = os.fork()
if not child:
    before = channel.state
    barrier = threading.Barrier(8)
    members = []
    def first_request():
        barrier.wait(20)
        channel.ensure_started()
        members.append(id(channel.member))
    threads = [threading.Thread(target=first_request, daemon=True) for _ in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join(20)
    until(lambda: channel.is_ready, "the child is ready")
    if sys.argv[1] == "started":
        # It may have been the first one to itself, for a moment.
        until(lambda: read(channel, 1), "the parent's session in the child")
    told = {
        "before": before,
        "id": channel.member.node.me.id.hex(),
        "members": len(set(members)),
        "threads": sum(thread.name == "replsession" for thread in threading.enumerate()),
        "session": read(channel, 1) and read(channel, 1)["a"].hex(),
    }
    if sys.argv[1] == "started":
        write(channel, 2, b=b"\\x02", birth=True)
    os.write(writing, json.dumps(told).encode())
    if sys.argv[1] == "started":
        until(lambda: names_of_others(channel), "the parent is seen")
        until(lambda: not names_of_others(channel), "the parent has gone")
    channel.stop_thread()
    os._exit(0)
os.close(writing)
told = json.loads(os.read(reading, 65536))
told["parent"] = parent
told["parent still"] = channel.member.node.me.id.hex()
if sys.argv[1] == "started":
    until(lambda: read(channel, 2), "the child's session on the parent")
    told["from child"] = read(channel, 2)["b"].hex()
channel.stop_thread()
told["exit"] = os.waitpid(child, 0)[1]
print(json.dumps(told))
"""


@pytest.mark.parametrize("moment", ["fresh", "started"])
def test_a_fork_gets_its_own_member(moment: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKING, moment],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)

    assert told["id"] != told["parent"] == told["parent still"]
    assert told["before"] == "not started"
    assert (told["members"], told["threads"], told["exit"]) == (1, 1, 0)
    if moment == "started":
        # A state transfer brought the first, the stream the second.
        assert (told["session"], told["from child"]) == ("01", "02")


def test_a_process_that_ends_without_a_lifespan_says_goodbye(
    thread_host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "replsession")
    settings = some_settings()
    thread_host.started(settings)
    program = (
        "from dataclasses import replace\n"
        "from replsession.channel.channel import Channel\n"
        "from tests.channel.running import has_one_link, some_settings, until\n"
        f"channel = Channel(replace(some_settings(), port={free_port()},"
        f" multicast={settings.multicast!r}))\n"
        "channel.ensure_started()\n"
        "until(lambda: has_one_link(channel), 'the other is seen')\n"
    )

    subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=50, check=True)

    until(lambda: "(said goodbye)" in caplog.text, "its goodbye in the log")


def test_the_settings_are_those_of_the_member(host: Host) -> None:
    timing = Timing(heartbeat_interval_s=0.2, drop_after_s=QUICK.drop_after_s, discovery_s=0.1)
    channel = host.started(some_settings(timing, member_name="left"))

    assert channel.member.node.timing == timing
    assert channel.member.node.me.name == "left"
