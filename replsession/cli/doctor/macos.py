"""
What macOS says of its network interfaces, as ``ifconfig`` prints it.

*Source*: the manual pages ifconfig(8) and route(8) of macOS.
"""

from __future__ import annotations

import re
import subprocess
from ipaddress import IPv4Address, IPv4Interface
from typing import Final

from replsession.cli.doctor.facts import Interface

COMMAND: Final = ("/sbin/ifconfig", "-a")
TIMEOUT_S: Final = 10.0
_HEAD: Final = re.compile(r"^(\S+): flags=[0-9a-f]+<([A-Z0-9_,]*)>", re.MULTILINE)
_ADDRESS: Final = re.compile(r"^\s+inet (\S+)(?: --> \S+)? netmask 0x([0-9a-f]{8})", re.MULTILINE)


def interfaces() -> tuple[Interface, ...]:
    """Return the network interfaces; none if the command cannot be run."""
    try:
        ended = subprocess.run(
            COMMAND, capture_output=True, text=True, timeout=TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        # They are not known then, as where the system does not tell them.
        return ()
    return interfaces_in(ended.stdout)


def interfaces_in(text: str) -> tuple[Interface, ...]:
    """Return the network interfaces in what ``ifconfig -a`` has printed."""
    heads = list(_HEAD.finditer(text))
    starts = [head.start() for head in heads] + [len(text)]
    return tuple(
        _interface(head[1], head[2].split(","), text[head.end() : end])
        for head, end in zip(heads, starts[1:], strict=True)
    )


def _interface(name: str, flags: list[str], body: str) -> Interface:
    addresses = [
        str(IPv4Interface(f"{host}/{IPv4Address(int(mask, 16))}"))
        for host, mask in _ADDRESS.findall(body)
    ]
    return Interface(
        name,
        tuple(addresses),
        is_up="UP" in flags,
        has_carrier="status: inactive" not in body,
        has_multicast="MULTICAST" in flags,
        is_loopback="LOOPBACK" in flags,
        is_tunnel="POINTOPOINT" in flags,
    )
