"""
Applications on several members in one thread: the web rooms over nodes that are wired in memory.

Time is virtual, what members send can be kept back, and nothing runs but what a test lets run: see
``tests/harness.py``. Between the two is the real channel's member, with the network as its driver.
"""

from __future__ import annotations

import pytest

from replsession import Cluster
from replsession.channel import member as member_module
from replsession.channel.channel import RUNNING, Channel
from replsession.channel.member import LocalMember
from replsession.config import Limits
from replsession.replication.waits import Waiting
from replsession.session.stamp import Seen
from replsession.web.exchange import DEFAULT_POLICY, Policy
from tests.harness import WALL_OFFSET_S, Network
from tests.web.rooms import App

CLUSTER_SECRET = "wIreD-mQx7RtY4bLw1ZpN8sHc5JfG3aU_eXo6TiBrDy"


class Wired:
    """
    Members, each with a cluster's handle for middlewares and a channel for rooms.

    Args:
        monkeypatch: Puts the virtual clock in the place of that of members.
        numbers: Of the members that are there and ready at the beginning.
        bounds: Limits of all members.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *numbers: int, **bounds: int) -> None:
        self.network = Network()
        self.network.let_go = self._let_go
        self.clusters: dict[str, Cluster] = {}
        self._limits = Limits(**bounds)
        monkeypatch.setattr(member_module, "time", self)
        for number in numbers:
            self.add(number)
        if numbers:
            self.network.run(2.0)

    def monotonic(self) -> float:
        """Return the virtual time."""
        return self.network.now

    def time(self) -> float:
        """Return Unix seconds of the virtual time."""
        return self.network.now + WALL_OFFSET_S

    def add(self, number: int) -> None:
        """Start a member."""
        node = self.network.add(number, limits=self._limits)
        cluster = Cluster.lan("wired", secret=CLUSTER_SECRET, member_name=node.me.name)
        channel = cluster.attach(CLUSTER_SECRET, required=False)
        member = LocalMember(channel.settings, None)
        member.node = node
        member.wake = lambda: self.network.input(node.me.name, lambda node, now: None)
        channel._member, channel._state = member, RUNNING
        self.clusters[node.me.name] = cluster

    def channel(self, name: str) -> Channel:
        """Return the channel of a member."""
        return self.clusters[name].attach(CLUSTER_SECRET, required=False)

    def app(self, name: str, *, policy: Policy = DEFAULT_POLICY) -> App:
        """Return an application on a member."""
        return App(channel=self.channel(name), policy=policy)

    def seen(self, app: App, token: str) -> Seen:
        """Return what the client of a token has seen."""
        verified = app.manager._signer.verify(token)
        assert verified is not None
        return verified[1]

    def _let_go(self, name: str, done: list[Waiting]) -> None:
        if name in self.clusters:
            self.channel(name).member.finish(done)
