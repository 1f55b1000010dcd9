"""Members for the tests of the command line: they run in this process, on threads of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from replsession import Cluster, SessionMiddleware
from replsession.channel.member import LocalMember
from tests.channel.running import QUICK, free_port, some_group, until

SECRET = "c0mmand-mQx7RtY4bLw1ZpN8sHc5JfG3aU_eXo6TiBrDy"


class Running:
    """Some members of one cluster, with their sockets in one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clusters: list[Cluster] = []
        self._group = some_group()

    def start(self, name: str | None = None, **options: Any) -> Cluster:
        """Start a member, and wait until it is ready."""
        quick = {field: getattr(QUICK, field) for field in QUICK.__dataclass_fields__}
        cluster = Cluster.local(
            port=free_port(),
            multicast=self._group,
            control=str(self.directory),
            member_name=name,
            **{**quick, **options},
        )
        SessionMiddleware(lambda *_: None, SECRET, cluster=cluster)  # type: ignore[arg-type]
        self.clusters.append(cluster)
        cluster.start()
        until(lambda: cluster.is_ready, "ready")
        return cluster

    def member(self, at: int = 0) -> LocalMember:
        """Return the inner side of a member."""
        return self.clusters[at].channel().member

    @property
    def paths(self) -> list[Path]:
        """Their sockets."""
        return sorted(self.directory.glob("*.sock"))

    def stop(self) -> None:
        """End all that are left."""
        for cluster in self.clusters:
            cluster.channel().stop_thread()


@contextmanager
def running(directory: Path, *names: str) -> Iterator[Running]:
    """Run members of these names, which see each other."""
    members = Running(directory / "run")
    try:
        for name in names:
            members.start(name)
        others = len(names) - 1
        until(
            lambda: all(len(c.members) == others for c in members.clusters), "they see each other"
        )
        yield members
    finally:
        members.stop()
