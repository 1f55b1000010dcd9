"""
The channel: what cluster handles and front doors hold. It starts nothing by being made.

::

    NOT STARTED ──lifespan, asyncio──▶ on the application's loop ──┐
         │                                                        ├─ stop ──▶ STOPPED
         └──── first request, or trio ──▶ on a thread of its own ──┘
    cannot start ──▶ tries again every few seconds; sessions go on in this process meanwhile

A fork gets its own member: whoever asks from another process than the one that started, starts
anew.

Who starts a thread holds the lock until it is up: what starts on that thread must not take it.
"""

from __future__ import annotations

import asyncio
import os
import threading

from replsession.channel.aio import Network
from replsession.channel.control import Control
from replsession.channel.dispatch import Dispatcher, Receiver
from replsession.channel.draining import Draining
from replsession.channel.inquiry import Inquiries
from replsession.channel.leaving import hand_over, stop_at_exit, stop_with_child
from replsession.channel.log import CLUSTER, MANAGER, log_event
from replsession.channel.member import Committed, LocalMember
from replsession.channel.status import Census
from replsession.channel.threaded import LoopThread
from replsession.channel.waiting import Waiter
from replsession.concern import NOTHING_ASKED, Asked
from replsession.config import ClusterSettings
from replsession.errors import ClusterStartError
from replsession.events import Event
from replsession.identity import Key
from replsession.metrics import Metrics
from replsession.replication.freshness import Lookup
from replsession.security.keys import ClusterKeys
from replsession.session.change import Change
from replsession.session.context import Identity, Loaded
from replsession.session.stamp import Seen

RETRY_S = 5.0
NOT_STARTED, STARTING, RUNNING, STOPPED = "not started", "starting", "running", "stopped"
READY, LEAVING = "ready", "leaving"

_LEAVING_PARENT = threading.Lock()


class Channel:
    """
    One member per channel and process.

    Args:
        settings: The cluster; None for one process alone.
        required: Whether a cluster that cannot start is an error of the application.
    """

    def __init__(self, settings: ClusterSettings | None, *, required: bool = False) -> None:
        self.settings = settings
        self.required = required
        self.contexts: dict[str, None] = {}
        self.expiring: dict[str, None] = {}
        """Applications whose sessions end when this process stops."""
        self.sessions_max: dict[str, int] = {}
        """How many sessions a principal may have, in applications that bound it."""
        self._keys = (
            None
            if settings is None or settings.secret is None
            else ClusterKeys(settings.secret, settings.name)
        )
        self._reset(None)
        stop_at_exit(self)

    def _reset(self, earlier: LocalMember | None) -> None:
        self._lock = threading.RLock()
        self._state = NOT_STARTED
        self._problem: str | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._network: Network | None = None
        self._control: Control | None = None
        self.census = Census()
        self._thread: LoopThread | None = None
        self._retry: asyncio.Task[None] | None = None
        self._draining = Draining(self.settings.node.timing.drain_s if self.settings else 0.0)
        self.dispatcher = getattr(self, "dispatcher", None) or Dispatcher()
        self._member: LocalMember | None = None
        self._earlier = earlier
        # Last: until then other threads of a forked process wait in _leave_parent.
        self._pid = os.getpid()

    def _leave_parent(self) -> None:
        if self._pid != os.getpid():
            with _LEAVING_PARENT:
                if self._pid != os.getpid():
                    self._reset(None)

    @property
    def member(self) -> LocalMember:
        """This process's member; made when it is first asked for."""
        self._leave_parent()
        member = self._member
        return self._made_member() if member is None else member

    @property
    def metrics(self) -> Metrics:
        """Counters of this process's member."""
        return (self._member or self._made_member()).node.metrics

    @property
    def control_key(self) -> bytes | None:
        """What signs an administrator's requests; None: this process is alone, so nobody can."""
        return None if self._keys is None else self._keys.control_key

    @property
    def is_ready(self) -> bool:
        """Whether the member runs and has its state; False while the cluster cannot start."""
        return self.state == READY

    @property
    def state(self) -> str:
        """The state in words, for people and for a readiness endpoint."""
        if self.settings is None:
            return READY
        self._leave_parent()
        if self._problem is not None:
            return f"cannot start: {self._problem}"
        if self._state != RUNNING:
            return self._state
        if self._draining.is_leaving:
            return LEAVING
        return READY if self.member.node.is_ready else "state transfer"

    def register(
        self,
        context: str,
        receiver: Receiver | None,
        *,
        expire_on_stop: bool = False,
        sessions_max: int | None = None,
    ) -> None:
        """
        Add an application.

        Args:
            context: Its name.
            receiver: Gets the events of its sessions; None: nobody listens.
            expire_on_stop: Whether a graceful stop ends the sessions that were served last here.
            sessions_max: How many sessions a principal may have; None: any number.
        """
        self.contexts[context] = None
        if sessions_max is not None:
            self.sessions_max[context] = sessions_max
            if self._member is not None:
                self._bound(self._member)
        if expire_on_stop:
            self.expiring[context] = None
        if receiver is not None:
            self.dispatcher.receivers[context] = receiver
            if self._member is not None:
                with self._member.lock:
                    self._member.node.report(context)

    def open(self, identity: Identity, seen: Seen) -> Loaded | Waiter | None:
        """Look a session up for a request, after :meth:`ensure_started`; see the member's."""
        member = self._member or self._made_member()
        loaded = member.open(identity, seen)
        if member.told:
            self._tell_alone(member)
        return loaded

    def served_last(self, key: Key) -> bool:
        """Tell whether this member served a session last; see :meth:`open`, which is an access."""
        return (self._member or self._made_member()).served_last(key)

    def opened_at_last(self, identity: Identity, lookup: Lookup) -> Loaded | None:
        """Return what is here after a wait; see :meth:`LocalMember.opened_at_last`."""
        return (self._member or self._made_member()).opened_at_last(identity, lookup)

    def reserve(self, key: Key) -> Seen:
        """Return what a token must name that is printed before its request has committed."""
        return (self._member or self._made_member()).reserve(key)

    def is_current(self, identity: Identity) -> bool:
        """Tell whether an id is still that of a session that lives; see :meth:`open`."""
        return (self._member or self._made_member()).is_current(identity)

    def commit(self, changes: tuple[Change, ...], asked: Asked = NOTHING_ASKED) -> Committed | None:
        """Apply and replicate what a request changed; see :meth:`LocalMember.commit`."""
        return (self._member or self._made_member()).commit(changes, asked)

    def acknowledgement(self, key: Key, asked: Asked) -> Waiter:
        """Wait for what was committed earlier; see :meth:`LocalMember.acknowledgement`."""
        return (self._member or self._made_member()).acknowledgement(key, asked)

    def ensure_started(self) -> None:
        """
        Start on a thread of its own unless it runs: for each request, so it must be cheap.

        Raises:
            ClusterStartError: it cannot start, and it is required.
        """
        if self.settings is None:
            self._leave_parent()
            return
        if self._pid == os.getpid() and self._state == RUNNING and not self._is_orphaned():
            return
        self._start_on_thread()

    async def start(self) -> None:
        """
        Start on the running asyncio loop; on another kind of loop, on a thread of its own.

        Raises:
            ClusterStartError: it cannot start, and it is required.
        """
        if self.settings is None:
            return
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            self._start_on_thread()
            return
        self._leave_parent()
        with self._lock:
            if not self._may_start():
                return
            self._state = STARTING
        await self._try_to_start()
        self._draining.listen(self._loop)

    async def stop(self) -> None:
        """Leave the cluster with a goodbye, if the member lives on this loop or on a thread."""
        if self._pid != os.getpid():
            return
        if self.settings is None:
            self._end_served()
        elif self._thread is not None:
            self._thread.stop()
            self._stopped()
        elif self._loop is not None and self._loop is asyncio.get_running_loop():
            await self._stop_network()
            self._stopped()

    def stop_thread(self) -> None:
        """Leave with a goodbye when the process ends without a lifespan."""
        if self._pid == os.getpid() and self._thread is not None:
            self._thread.stop()
            self._stopped()

    def _may_start(self) -> bool:
        """Tell whether there is something to start; called under the lock."""
        if self._is_orphaned():
            # The application's loop ended without a lifespan shutdown: the sessions are still here.
            for part in (self._network, self._control):
                if part is not None:
                    part.abandon()
            self._reset(self._member)
        if self._state == STOPPED:
            self._reset(self._member)
        return self._state == NOT_STARTED

    def _is_orphaned(self) -> bool:
        network, loop = self._network, self._loop
        return (network is not None and network.is_abandoned) or (
            loop is not None and loop.is_closed()
        )

    def _start_on_thread(self) -> None:
        self._leave_parent()
        with self._lock:
            if not self._may_start():
                return
            self._state = STARTING
            if self._member is None:
                self._made_member()
            self._thread = LoopThread(self._try_to_start, self._stop_network)
            try:
                self._thread.start()
            except (OSError, RuntimeError) as error:
                # The system has no thread, or no files for a loop, left: the next request tries.
                self._thread = None
                self._cannot_start(error)
            else:
                stop_with_child()
                self._draining.listen(self._loop)

    async def _try_to_start(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await self._start_network()
        except OSError as error:
            self._cannot_start(error)
            CLUSTER.warning(
                "Sessions go on in this process alone; trying again every %g seconds", RETRY_S
            )
            self._retry = loop.create_task(self._start_later())
            self._state = RUNNING
        except BaseException:
            self._state = NOT_STARTED
            raise
        self._loop = loop

    def _cannot_start(self, error: Exception) -> None:
        self._state = NOT_STARTED
        self._problem = _in_words(error)
        CLUSTER.error("Cluster cannot start: %s", self._problem)
        if self.required:
            raise ClusterStartError(f"the cluster cannot start: {self._problem}") from error

    async def _start_later(self) -> None:
        while True:
            await asyncio.sleep(RETRY_S)
            try:
                await self._start_network()
            except OSError as error:
                self._problem = _in_words(error)
            else:
                return

    async def _start_network(self) -> None:
        assert self.settings is not None and self._keys is not None
        network = Network(self.member, self.settings, self._keys, self.dispatcher, self.contexts)
        await network.start()
        for context in self.contexts:
            MANAGER.info(
                "Register manager %s to cluster with name %s", context, self.member.node.me.name
            )
        self._network = network
        self._open_control(self.settings)
        self._problem = None
        self._state = RUNNING

    def _open_control(self, settings: ClusterSettings) -> None:
        if settings.control is None:
            return
        me = self.member.node.me
        self._control = Control(Inquiries(self), self.metrics)
        self._control.open(settings.control, settings.name, me.name, me.id)

    async def _stop_network(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
        if self._control is not None:
            await self._control.close()
        if self._network is not None:
            await hand_over(self.member)
        self._end_served()
        if self._network is not None:
            await self._network.stop()

    def _end_served(self) -> None:
        """End sessions that are to end with this process; their listeners hear it at once."""
        if self.expiring and self._member is not None:
            for context in self.expiring:
                MANAGER.info("Manager [%s] expiring sessions upon shutdown", context)
            self._tell_now(self._member.end_served(self.expiring), self._member)

    def _stopped(self) -> None:
        if self._member is not None:
            self._member.repeats.finish()
        self._draining.stop_listening()
        self._state = STOPPED
        self._problem = None
        self._loop = self._network = self._control = self._thread = self._retry = None

    def _made_member(self) -> LocalMember:
        with self._lock:
            if self._member is None:
                member = LocalMember(self.settings, self._earlier)
                self._earlier = None
                for context in self.dispatcher.receivers:
                    member.node.report(context)
                self._bound(member)
                self._member = member
            return self._member

    def _bound(self, member: LocalMember) -> None:
        with member.lock:
            member.node.principals.sessions_max.update(self.sessions_max)

    def _tell_alone(self, member: LocalMember) -> None:
        with member.lock:
            events, member.told = member.told, []
        self._tell_now(events, member)

    def _tell_now(self, events: list[Event], member: LocalMember) -> None:
        for event in events:
            log_event(event, (), member.node.timing, member.repeats)
            self.dispatcher.put(event, member.node.metrics, member.repeats)
        while self.dispatcher.deliver():
            pass


def _in_words(error: Exception) -> str:
    """Return an error's text without the number that only the system needs."""
    return getattr(error, "strerror", None) or str(error)
