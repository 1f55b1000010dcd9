"""
Balancers that really run, each with the very files of ``deploy/``.

::

    with members() as cluster, balancer(NGINX, cluster) as nginx:
        with cluster.load(in_url=True) as load:
            restart(cluster, nginx)

A balancer is on the host of the browsers, with an address of its own, and knows the members by the
names that stand in its file. What surrounds that file, as a distribution does, is written here.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.cluster import bridge
from tests.cluster.bridge import Network, network
from tests.cluster.loaded import LoadedCluster
from tests.cluster.namespaces import PREFIX, Namespace
from tests.cluster.processes import ROOT, Process, Processes, wait_until

DEPLOY = ROOT / "deploy"
NAMES = Path("/etc/netns")
"""Where ``ip netns exec`` looks for files that a namespace has instead of those in ``/etc``."""
DRAIN_S = 3
"""As the comments of the files say."""
APACHE_MODULES = (
    "mpm_event",
    "authz_core",
    "proxy",
    "proxy_http",
    "proxy_balancer",
    "proxy_hcheck",
    "slotmem_shm",
    "lbmethod_byrequests",
    "headers",
    "setenvif",
    "alias",
)
APACHE_FOLDER = Path("/usr/lib/apache2/modules")


@dataclass(frozen=True)
class Kind:
    """A balancer in one variant."""

    name: str
    program: str
    files: tuple[str, ...]
    """In ``deploy/``."""
    command: Callable[[Sequence[Path], Path], Sequence[str]]
    """Of the files, and of a folder to write to."""
    asks: bool
    """Whether it asks the members by itself if they are ready."""

    def __str__(self) -> str:
        return self.name

    @property
    def is_sticky(self) -> bool:
        """Whether a session stays with a member as long as that is there."""
        return self.name.endswith("sticky")


def _nginx(files: Sequence[Path], folder: Path) -> Sequence[str]:
    includes = "".join(f"include {file};\n" for file in files)
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    around = folder / "nginx.conf"
    around.write_text(
        f"user root;\ndaemon off;\nworker_processes 2;\npid {folder}/pid;\nerror_log stderr;\n"
        f"events {{}}\nhttp {{\n{temporary}{includes}}}\n"
    )
    return ["nginx", "-e", "stderr", "-c", str(around)]


def _haproxy(files: Sequence[Path], folder: Path) -> Sequence[str]:
    return ["haproxy", "-W", "-db", "-f", str(files[0])]


def _apache(files: Sequence[Path], folder: Path) -> Sequence[str]:
    modules = "".join(
        f"LoadModule {module}_module {APACHE_FOLDER}/mod_{module}.so\n" for module in APACHE_MODULES
    )
    around = folder / "apache2.conf"
    around.write_text(
        f"ServerRoot {folder}\nServerName localhost\nDefaultRuntimeDir {folder}\n"
        f"PidFile {folder}/pid\nListen 80\nErrorLog /dev/stderr\n{modules}Include {files[0]}\n"
    )
    return ["apache2", "-D", "FOREGROUND", "-f", str(around)]


NGINX = Kind("nginx", "nginx", ("nginx/members.conf", "nginx/site.conf"), _nginx, False)
NGINX_STICKY = replace(
    NGINX, name="nginx-sticky", files=("nginx/members-sticky.conf", "nginx/site.conf")
)
HAPROXY = Kind("haproxy", "haproxy", ("haproxy/haproxy.cfg",), _haproxy, True)
HAPROXY_STICKY = replace(HAPROXY, name="haproxy-sticky", files=("haproxy/haproxy-sticky.cfg",))
APACHE = Kind("apache", "apache2", ("apache/site.conf",), _apache, True)
APACHE_STICKY = replace(APACHE, name="apache-sticky", files=("apache/site-sticky.conf",))
KINDS = (NGINX, NGINX_STICKY, HAPROXY, HAPROXY_STICKY, APACHE, APACHE_STICKY)


def need(*programs: str) -> None:
    """Skip the test where something is not there that it needs; fail instead where CI is set."""
    reasons = [
        f"no {program} on this machine" for program in programs if shutil.which(program) is None
    ]
    if (why := bridge.why_not()) is not None:
        reasons.append(why)
    if reasons:
        refuse = pytest.fail if os.environ.get("CI") else pytest.skip
        refuse("; ".join(reasons))


class Balancer:
    """One that runs."""

    def __init__(self, kind: Kind, process: Process, folder: Path) -> None:
        self.kind = kind
        self.process = process
        self.folder = folder
        """Where its files are: the members of nginx in ``members.conf``, in each variant."""

    @property
    def access_log(self) -> str:
        """All lines of its log of requests."""
        log = self.folder / "access.log"
        return log.read_text() if log.exists() else self.process.output.text


@contextmanager
def balancer(kind: Kind, host: Namespace, addresses: Mapping[str, str]) -> Iterator[Balancer]:
    """
    Start a balancer, and wait until it serves.

    Args:
        kind: Which one.
        host: Where.
        addresses: Of the names in its file.
    """
    with ExitStack() as open_, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Its workers may be another user's.
        folder.chmod(0o755)
        open_.enter_context(names(host, addresses))
        files = [_copy(DEPLOY / file, folder) for file in kind.files]
        processes = open_.enter_context(Processes())
        process = processes.server(
            [*host.prefix, *kind.command(files, folder)],
            port=80,
            name=kind.name,
            environment={"APACHE_LOG_DIR": str(folder)},
            cwd=folder,
        )
        wait_until(lambda: host.ask("/readyz", 80).status == 404, f"{kind} listens")
        yield Balancer(kind, process, folder)


def _copy(file: Path, folder: Path) -> Path:
    text = file.read_text(encoding="utf-8")
    # The one thing that is not as in the file: where it writes to.
    text = text.replace("/var/log/nginx/", f"{folder}/")
    copy = folder / file.name.replace("members-sticky", "members")
    copy.write_text(text)
    return copy


@contextmanager
def names(host: Namespace, addresses: Mapping[str, str]) -> Iterator[None]:
    """Let the programs that start in a namespace know names, as a resolver would."""
    folder = NAMES / host.name
    _remove_leftovers()
    folder.mkdir(parents=True)
    lines = ["127.0.0.1 localhost", *(f"{addresses[name]} {name}" for name in addresses)]
    (folder / "hosts").write_text("\n".join(lines) + "\n")
    try:
        yield
    finally:
        shutil.rmtree(folder)


def _remove_leftovers() -> None:
    """Take away what test runs that were killed have left: names for hosts that are gone."""
    for folder in NAMES.glob(f"{PREFIX}*"):
        if not (Path("/run/netns") / folder.name).exists():
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def members(**environment: str) -> Iterator[LoadedCluster]:
    """Start two members of the application under load, as the comments of the files say."""
    variables = {
        "REPLSESSION_DRAIN_S": str(DRAIN_S),
        "REPLSESSION_URL_TRACKING": "true",
        **environment,
    }
    with tempfile.TemporaryDirectory() as folder, network(2) as net, Processes() as processes:
        yield LoadedCluster(net, processes, {}, Path(folder), variables, "http://127.0.0.1")


def addresses_of(net: Network) -> dict[str, str]:
    """Return the addresses of the members by their names."""
    return {f"member-{number}": host.address for number, host in enumerate(net.hosts, start=1)}
