"""
Tomcat's ``server.xml`` as a configuration: its ``<Cluster>``, whose words are in ``tomcat.py``.

Everything in the element is known and has its effect, or is accepted with a remark that says why it
has none; anything else is an error with its line. What stands around the element is Tomcat's own
affair, but for the name of the ``<Engine>``, which is the cluster's, and its ``jvmRoute``, which is
the member's.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from replsession.config import MULTICAST_GROUP, MULTICAST_PORT, RECEIVER_PORT
from replsession.errors import ConfigError
from replsession.settings.configuration import CLUSTER, KINDS, SECRET, Configuration, nearest
from replsession.settings.elements import NOT_SUPPORTED, SAME, Attribute, Element
from replsession.settings.readers import LAN
from replsession.settings.tomcat import ELEMENTS
from replsession.settings.xml import Node, parsed, where

ENGINE: Final = "Catalina"
"""The cluster's name if no Engine is around it. *Source*: the ``server.xml`` that Tomcat brings."""
PRIMARY_INDICATOR: Final = "org.apache.catalina.ha.tcp.isPrimarySession"
"""*Source*: Tomcat's ``ReplicationValve``."""
SERVICE: Final = "DNS_MEMBERSHIP_SERVICE_NAME"
"""Variable with the name of a headless service. *Source*: Tomcat's ``DNSMembershipProvider``."""

_MANY: Final = frozenset({"Valve", "Interceptor", "Member", "LocalMember", "ClusterListener"})
"""Tags that may stand several times side by side."""
_OF_ENGINE: Final = (("name", CLUSTER, LAN), ("jvmRoute", "member_name", ""))
_CLASS: Final = "className"
_PLACEHOLDER: Final = "${"


def read(
    path: str | os.PathLike[str], environment: Mapping[str, str] | None = None
) -> Configuration:
    """
    Return what the ``<Cluster>`` of a file says.

    Args:
        path: Of the file: a whole ``server.xml``, or the element alone.
        environment: Where a cloud's membership finds its service; None: that of the process.

    Raises:
        ConfigError: the file cannot be read, has no or several ``<Cluster>``, or there is something
            in it that is not known, not allowed or not supported; it names file and line.
    """
    file = Path(path)
    found = list(_clusters(parsed(file), ()))
    if len(found) != 1:
        given = "none" if not found else f"lines {', '.join(str(node.line) for node, _ in found)}"
        raise ConfigError(str(file), given, "one <Cluster>")
    reading = _Reading(file)
    reading.names([node for node in found[0][1] if node.tag == "Engine"])
    reading.element(found[0][0])
    reading.put_together(os.environ if environment is None else environment)
    return reading.configuration()


def _clusters(node: Node, around: tuple[Node, ...]) -> Iterator[tuple[Node, tuple[Node, ...]]]:
    if node.tag == "Cluster":
        yield node, around
    else:
        for child in node.children:
            yield from _clusters(child, (*around, node))


class _Reading:
    """One file as it is read."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._values: dict[str, Any] = {}
        self._written: dict[str, str] = {}
        self._remarks: list[str] = []
        self._seeds: list[str] = []

    def configuration(self) -> Configuration:
        """Return what was read."""
        values = {name: self._values[name] for name in KINDS if name in self._values}
        return Configuration(values, self._written, tuple(self._remarks))

    def names(self, engines: list[Node]) -> None:
        """Take the names of the cluster and of the member from the Engine around it."""
        self._values[CLUSTER] = LAN + ENGINE
        for engine in engines:
            for attribute, name, prefix in (
                ("name", CLUSTER, LAN),
                ("jvmRoute", "member_name", ""),
            ):
                text = engine.attributes.get(attribute)
                if text is not None:
                    place = self._place(engine, attribute)
                    self._check_placeholder(place, text)
                    self._say({name: prefix + text}, place)

    def element(self, node: Node) -> None:
        """Read an element and all that is in it."""
        element = self._known(node)
        self._say(element.implies, self._place(node))
        said: dict[str, Any] = {}
        for name, text in node.attributes.items():
            if name != _CLASS:
                self._attribute(node, element, name, text, said)
        if node.tag == "Member":
            self._member(node, said)
        self._children(node, element)

    def _known(self, node: Node) -> Element:
        known = ELEMENTS[node.tag]
        place = self._place(node, _CLASS)
        given = node.attributes.get(_CLASS)
        if given is None:
            raise ConfigError(place, given, _one_of(known))
        element = known.get(given)
        if element is None:
            raise ConfigError(place, given, _nearest_class(given, known))
        if element.verdict == NOT_SUPPORTED:
            raise ConfigError(place, given, f"not supported: {element.says}")
        if element.verdict != SAME:
            self._remark(node, f"{_short(given)}: {element.verdict}: {element.says}")
        return element

    def _attribute(
        self, node: Node, element: Element, name: str, text: str, said: dict[str, Any]
    ) -> None:
        place = self._place(node, name)
        attribute = element.attributes.get(name)
        if attribute is None:
            raise ConfigError(place, text, _nearest_attribute(name, element))
        if attribute.read is None:
            says = attribute.says if attribute.says != "see the element" else element.says
            self._remark(node, f"{name}: {attribute.verdict}: {says}")
            return
        self._check_placeholder(place, text)
        found = _said(attribute, place, text)
        for key, value in found.items():
            if said.setdefault(key, value) != value:
                allowed = f"{said[key]!r}, as beside it: {attribute.says}"
                raise ConfigError(place, text, allowed)
        self._say(found, place)
        if SECRET in found:
            says = "the secret is its text in lower case, also where members have another file"
            self._remark(node, f"{name}: {says}")

    def _children(self, node: Node, element: Element) -> None:
        seen: dict[str, int] = {}
        for child in node.children:
            if child.tag not in element.children:
                allowed = nearest(child.tag, element.children) if element.children else "nothing"
                raise ConfigError(self._place(child), f"in <{node.tag}>", allowed)
            if child.tag not in _MANY and child.tag in seen:
                allowed = f"one in a <{node.tag}>; there is one on line {seen[child.tag]}"
                raise ConfigError(self._place(child), "another one", allowed)
            seen[child.tag] = child.line
            self.element(child)

    def _member(self, node: Node, said: Mapping[str, Any]) -> None:
        if "host" not in said:
            raise ConfigError(self._place(node, "host"), None, "where the member is")
        self._seeds.append(f"{said['host']}:{said.get('member_port', RECEIVER_PORT)}")
        self._written["seeds"] = self._place(node, "host")

    def put_together(self, environment: Mapping[str, str]) -> None:
        """Make whole what stands in several attributes."""
        values, written = self._values, self._written
        if "multicast" not in values and not {"group", "mcast_port"}.isdisjoint(values):
            group = values.get("group", MULTICAST_GROUP), values.get("mcast_port", MULTICAST_PORT)
            place = written.get("group") or written["mcast_port"]
            self._say({"multicast": group}, place)
        if "service" in values:
            self._find_service(environment)
        if self._seeds:
            values["seeds"] = self._seeds
        self._settle("bind", "mcast_bind", "auto")
        if "mcast_domain" in values and "domain" not in values:
            self._remarks.append(
                f"{written['mcast_domain']}: no meaning without a DomainFilterInterceptor"
            )
        else:
            self._settle("domain", "mcast_domain", None)
        if values.get("primary"):
            name = values.get("primary_name", PRIMARY_INDICATOR)
            self._say({"primary_indicator": name}, written["primary"])

    def _find_service(self, environment: Mapping[str, str]) -> None:
        service = environment.get(SERVICE)
        if not service:
            allowed = f"the name of a headless service in {SERVICE}, whose addresses are members"
            raise ConfigError(self._written["service"], "no such variable", allowed)
        self._seeds.append(f"{service}:{self._values.get('port', RECEIVER_PORT)}")
        self._written["seeds"] = SERVICE

    def _settle(self, name: str, other: str, unsaid: str | None) -> None:
        values, written = self._values, self._written
        if other not in values:
            return
        if values.get(name, unsaid) == unsaid:
            self._say({name: values[other]}, written[other])
        elif values[name] != values[other]:
            allowed = f"{values[name]!r}, as {written[name]} says"
            raise ConfigError(written[other], values[other], allowed)

    def _say(self, values: Mapping[str, Any], place: str) -> None:
        self._values.update(values)
        self._written.update(dict.fromkeys(values, place))

    def _remark(self, node: Node, text: str) -> None:
        self._remarks.append(f"line {node.line}, <{node.tag}> {text}")

    def _place(self, node: Node, attribute: str = "") -> str:
        place = f"{where(self._file, node.line)}: <{node.tag}>"
        return f"{place} {attribute}" if attribute else place

    def _check_placeholder(self, place: str, text: str) -> None:
        if _PLACEHOLDER in text:
            # Not the text: what stands beside the placeholder may be a part of a key.
            allowed = "the value itself: only Tomcat knows what is in ${…}"
            raise ConfigError(place, "a text with ${…} in it", allowed)


def _said(attribute: Attribute, place: str, text: str) -> Mapping[str, Any]:
    assert attribute.read is not None
    try:
        return attribute.read(text)
    except ValueError:
        pass
    is_key = attribute.says.startswith(f"`{SECRET}`")
    given = f"a text of {len(text)} characters" if is_key else text
    allowed = attribute.allowed or "a text that is not empty"
    if attribute.verdict == NOT_SUPPORTED:
        allowed += f" (not supported: {attribute.says})"
    raise ConfigError(place, given, allowed)


def _nearest_attribute(given: str, element: Element) -> str:
    return nearest(given, [_CLASS, *element.attributes])


def _nearest_class(given: str, known: Iterable[str]) -> str:
    by_short = {_short(name).lower(): name for name in known}
    near = difflib.get_close_matches(_short(given).lower(), by_short, 1, cutoff=0.7)
    return f"did you mean {by_short[near[0]]!r}?" if near else _one_of(known)


def _one_of(known: Iterable[str]) -> str:
    return "one of " + ", ".join(known)


def _short(class_name: str) -> str:
    return class_name.rpartition(".")[2]
