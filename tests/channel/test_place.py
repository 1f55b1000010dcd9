"""The place of a member: where it listens, and when it moves."""

from __future__ import annotations

import errno
import socket
import sys
from typing import Any

import pytest

from replsession.channel import place as place_module
from replsession.channel.addresses import NoAddress, has_address
from replsession.channel.place import Place
from replsession.config import ClusterSettings
from tests.channel.running import HOST, free_port, some_settings, taken

NOT_HERE = "203.0.113.7"


def place(settings: ClusterSettings) -> Place:
    """Where a member of these settings is."""
    return Place(settings, 10)


def test_members_of_one_host_are_on_loopback() -> None:
    settings = some_settings()
    here = place(settings)
    with here.bind() as receiver:
        assert receiver.getsockname() == (HOST, settings.port)
    assert here.host == HOST


def test_an_address_that_was_asked_for_is_taken() -> None:
    here = place(some_settings(bind="127.0.0.9"))
    with here.bind() as receiver:
        assert receiver.getsockname()[0] == here.host == "127.0.0.9"


def test_a_place_that_is_not_to_be_had_is_an_error_and_not_kept() -> None:
    here = place(some_settings(bind=NOT_HERE))
    with pytest.raises(NoAddress):
        here.bind()
    assert here.host == ""


def test_while_the_address_is_here_nobody_moves() -> None:
    here = place(some_settings())
    here.bind().close()

    assert here.bind_anew() is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the addresses of interfaces")
def test_an_interface_s_address_is_known() -> None:
    assert has_address(HOST)
    assert not has_address(NOT_HERE)


def test_when_the_address_is_gone_and_another_is_here_the_member_moves() -> None:
    settings = some_settings()
    here = place(settings)
    here.host = NOT_HERE
    receiver = here.bind_anew()

    assert receiver is not None
    with receiver:
        assert receiver.getsockname() == (HOST, settings.port)
    assert here.host == HOST
    assert here.bind_anew() is None


def test_while_there_is_no_other_address_it_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    here = place(some_settings())
    here.host = NOT_HERE

    def nothing(*_: object, **__: object) -> str:
        raise NoAddress(errno.EADDRNOTAVAIL, "this host has no network address but loopback")

    monkeypatch.setattr(place_module.Place, "_wanted", nothing)
    assert here.bind_anew() is None
    assert here.host == NOT_HERE


def test_an_interface_that_is_down_has_its_address_still(monkeypatch: pytest.MonkeyPatch) -> None:
    here = place(some_settings())
    here.host = NOT_HERE
    monkeypatch.setattr(place_module, "has_address", lambda host: host == NOT_HERE)

    assert here.bind_anew() is None


def test_an_address_that_was_asked_for_is_waited_for() -> None:
    here = place(some_settings(bind=NOT_HERE))
    here.host = NOT_HERE

    assert here.bind_anew() is None


def test_a_new_place_without_a_free_port_is_an_error() -> None:
    port = free_port()
    here = place(some_settings(port=port, auto_bind=1))
    here.host = NOT_HERE
    with taken(port), pytest.raises(OSError, match="taken"):
        here.bind_anew()

    assert here.host == NOT_HERE


def test_a_system_that_refuses_otherwise_is_no_reason_to_move(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Refusing:
        """A socket that no system gives."""

        def __init__(self, *_: Any) -> None: ...

        def __enter__(self) -> Refusing:
            return self

        def __exit__(self, *_: object) -> None: ...

        def bind(self, _: object) -> None:
            raise OSError(errno.ENOBUFS, "No buffer space available")

    here = place(some_settings())
    here.host = NOT_HERE
    monkeypatch.setattr(socket, "socket", Refusing)

    assert here.bind_anew() is None
