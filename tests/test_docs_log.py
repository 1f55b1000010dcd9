"""docs/log.md: its tables have every line of the log and no other, and its examples work."""

from __future__ import annotations

import ast
import json
import logging
import logging.config
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from replsession.channel import log
from tests.layout.source import ROOT, Source, sources

PAGE = (ROOT / "docs" / "log.md").read_text("utf-8")
LOGGERS = {
    name: value.name for name, value in vars(log).items() if isinstance(value, logging.Logger)
}
LEVELS = {"debug", "info", "warning", "error"}
PLACEHOLDER = re.compile(r"%(?:\.\d+)?[sdrgf]")
OF_TOMCAT = (
    "Cluster is about to start",
    "Receiver Server Socket bound to",
    "Created a buffer pool",
    "Setting cluster mcast soTimeout",
    "Sleeping for",
    "Done sleeping, membership established",
    "Unable to join multicast group",
    "Error receiving mcast package",
    "Tribes membership running recovery thread",
    "Recovery attempt number",
    "Membership recovery was successful",
    "Replication member added",
    "Register manager",
    "skipping state transfer",
    "requesting session state",
    "session state sent at",
    "No session state sent at",
    "JvmRouteBinderValve started",
    "Will verify",
    "Verification complete. Member disappeared",
    "still alive",
    "already disappeared",
    "Received member disappeared",
    "Channel key is registered",
    "Member send is failing for",
    "Operation has timed out",
    "Unable to send message through cluster sender",
    "Unable to deserialize message",
    "Unable to receive message through TCP channel",
    "Discarded the package, invalid header",
    "Keep alive socket closed",
    "Failed to decrypt message",
    "replay attack detected",
    "premature end-of-message",
    "expiring sessions upon shutdown",
    "create delta request message",
    "create session access message",
    "create change primary node message",
    "create session expire message",
    "received session created",
    "Created a new DeltaSession",
    "Average request time",
    "tribes.MESSAGES",
)
"""What an administrator of Tomcat knows: each is in the page, with what stands for it here."""


class Line(NamedTuple):
    """One line of the log, with ``…`` where it is filled in."""

    logger: str
    level: str
    text: str


def lines_of(source: Source) -> Iterator[Line]:
    """Yield what a file logs."""
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        called = node.func.attr
        if called in LEVELS and (logger := logger_of(node.func.value)) is not None:
            yield Line(logger, called.upper(), text_of(node.args[0]))
        elif called == "warn" and node.args and (logger := logger_of(node.args[0])) is not None:
            level = ast.unparse(node.args[1]).removeprefix("logging.")
            yield Line(logger, level, text_of(node.args[3]))


def logger_of(node: ast.expr) -> str | None:
    """Return the name of the logger that an expression means, if it is one of ours."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return LOGGERS.get(name)
    return None


def text_of(node: ast.expr) -> str:
    """Return a text that stands in the code."""
    assert isinstance(node, ast.Constant) and isinstance(node.value, str), ast.unparse(node)
    return PLACEHOLDER.sub("…", node.value).replace("%%", "%")


def lines_in_page() -> Iterator[Line]:
    """Yield what the tables of the page say."""
    for row in PAGE.splitlines():
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        if len(cells) == 4 and cells[2] in {level.upper() for level in LEVELS}:
            logger = cells[3].strip("`")
            yield Line(f"replsession.{logger}", cells[2], cells[1].strip("`"))


def test_the_page_has_every_line_and_no_other() -> None:
    written = {line for source in sources("replsession") for line in lines_of(source)}
    assert len(written) > 50
    assert set(lines_in_page()) == written


def test_a_planted_line_is_found() -> None:
    text = (
        "log.MANAGER.info('a %s', 1)\n"
        "repeats.warn(SENDER, logging.ERROR, about, 'b %.1f %d', 1, 2)\n"
        "warnings.warn('c')\nother.info('d')\n"
    )
    assert list(lines_of(Source("replsession/planted.py", text))) == [
        Line("replsession.manager", "INFO", "a …"),
        Line("replsession.sender", "ERROR", "b … …"),
    ]


def test_nobody_else_has_a_logger() -> None:
    found = [source.path for source in sources("replsession") if "getLogger" in source.text]
    assert found == ["replsession/channel/log.py", "replsession/logging.py"]


def test_every_logger_is_explained() -> None:
    told = set(re.findall(r"^\| `(replsession\.\w+)` \|", PAGE, re.MULTILINE))
    assert told == set(LOGGERS.values())


@pytest.mark.parametrize("words", OF_TOMCAT)
def test_every_line_of_tomcat_is_accounted_for(words: str) -> None:
    assert words in PAGE


def blocks(language: str) -> list[str]:
    """Return the examples of one language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_examples_in_python_run() -> None:
    loggers = [logging.getLogger(name) for name in ("uvicorn.access", "gunicorn.access")]
    before = [(logger, list(logger.filters)) for logger in loggers]
    levels = {name: logging.getLogger(name).level for name in LOGGERS.values()}
    try:
        for block in blocks("python"):
            names: dict[str, Any] = {}
            exec(block, names)
            if (configuration := names.get("logconfig_dict")) is not None:
                for filter_ in configuration["filters"].values():
                    assert logging.config.DictConfigurator({}).configure_custom(dict(filter_))
    finally:
        for logger, filters in before:
            logger.filters[:] = filters
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def test_the_example_in_json_is_a_configuration() -> None:
    (block,) = blocks("json")
    configuration = json.loads(block)
    assert configuration["filters"]["hide"]["()"] == "replsession.logging.HideSessionIds"
    assert all("hide" in handler["filters"] for handler in configuration["handlers"].values())
