"""
XML with line numbers, from whoever wrote it: no document type, no entity, nothing from elsewhere.

``defusedxml`` watches expat; it comes with ``replsession[cli]``, as nobody else needs it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from replsession.errors import ConfigError

FILE_BYTES_MAX: Final = 1024 * 1024
"""Of one file; Tomcat's own ``server.xml`` has 8 KiB."""
DEPTH_MAX: Final = 64
"""Elements inside one another, so that walking through them is bounded."""


@dataclass(slots=True)
class Node:
    """One element, and the line on which it begins."""

    tag: str
    attributes: dict[str, str]
    line: int
    children: list[Node] = field(default_factory=list)


class _Builder:
    """What the parser tells of what it meets; texts between elements mean nothing here."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._open: list[Node] = []
        self.root: Node | None = None
        self.expat: Any = None

    @property
    def line(self) -> int:
        return int(self.expat.CurrentLineNumber)

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        node = Node(tag, dict(attributes), self.line)
        if len(self._open) >= DEPTH_MAX:
            raise ConfigError(
                where(self._file, self.line), f"<{tag}>", f"{DEPTH_MAX} elements in one another"
            )
        if self._open:
            self._open[-1].children.append(node)
        else:
            self.root = node
        self._open.append(node)

    def end(self, tag: str) -> None:
        self._open.pop()

    def data(self, text: str) -> None:
        """Texts between elements mean nothing."""

    def close(self) -> Node | None:
        return self.root


def where(file: Path, line: int) -> str:
    """Return how a place in a file is called in messages."""
    return f"{file}, line {line}"


def parsed(path: str | os.PathLike[str]) -> Node:
    """
    Return the root element of a file.

    Raises:
        ConfigError: the file cannot be read, is too long or no XML, has a document type or an
            entity in it; or ``defusedxml`` is not installed.
    """
    file = Path(path)
    try:
        from defusedxml import DefusedXmlException
        from defusedxml.ElementTree import DefusedXMLParser, ParseError
    except ImportError:
        allowed = "files of XML where it is installed: pip install 'replsession[cli]'"
        raise ConfigError(str(file), "no defusedxml", allowed) from None
    data = _read(file)
    builder = _Builder(file)
    parser = DefusedXMLParser(target=builder, forbid_dtd=True)
    builder.expat = parser.parser
    try:
        parser.feed(data)
        root: Node | None = parser.close()
    except DefusedXmlException:
        allowed = "XML without it: entities and other files are never read"
        raise ConfigError(where(file, builder.line), "a document type or entity", allowed) from None
    except ParseError as error:
        line = error.position[0]
        raise ConfigError(where(file, line), str(error), "well-formed XML") from None
    except (LookupError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(str(file), str(error), "XML in UTF-8") from None
    assert root is not None, "expat takes no document without an element"
    return root


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            data = opened.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(str(file), error.strerror, "a file that can be read") from None
    if len(data) > FILE_BYTES_MAX:
        raise ConfigError(str(file), "more", f"a file of at most {FILE_BYTES_MAX} bytes")
    return data
