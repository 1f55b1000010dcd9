"""
docs/configuration.md: its examples run, and its table is that of the code.

``python -m tests.test_docs_configuration`` prints the table that belongs into the page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from replsession import Cluster, SessionMiddleware
from replsession.settings.elements import Attribute, Element
from replsession.settings.tomcat import ELEMENTS

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "configuration.md").read_text("utf-8")
SECRET = "dOcs-mQx7RtY4bLw1ZpN8sHc5JfG3aU_eXo6TiBrDy"

KEYWORDS, TOML, ENVIRONMENT, XML = re.split(r"^## \d", PAGE, flags=re.MULTILINE)[1:]


def block(text: str, language: str) -> str:
    """Return the one example in a language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert isinstance(found, str)
    return found


def run(text: str) -> SessionMiddleware:
    """Run the example in Python, and return its application."""
    names: dict[str, Any] = {"app": None, "SECRET": SECRET}
    exec(compile(block(text, "python"), "example", "exec", dont_inherit=True), names)
    app = names["app"]
    assert isinstance(app, SessionMiddleware)
    return app


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the files of the examples, in which they run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "replsession.toml").write_text(block(TOML, "toml"))
    (tmp_path / "server.xml").write_text(block(XML, "xml"))
    secret = tmp_path / "shop.secret"
    secret.write_text(f"{SECRET}\n")
    secret.chmod(0o600)
    return tmp_path


def test_keywords() -> None:
    app = run(KEYWORDS)
    expected = Cluster.lan("shop", secret=SECRET, port=4001, seeds=("10.0.0.5", "10.0.0.6"))
    assert app._channel.settings == expected._settings
    assert app._behind.policy.asked.concern == "one"
    assert not app._behind.valve.admits("/site.css")


def test_a_file(folder: Path) -> None:
    app = run(TOML)
    expected = Cluster.lan(
        "shop", secret=SECRET, port=4001, seeds=("10.0.0.5", "10.0.0.6"), drop_after_s=5
    )
    assert app._channel.settings == expected._settings
    assert app._behind.policy.asked.concern == "one"
    assert app._behind.manager.session_limits.idle_s == 900


def test_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = dict(line.split("=") for line in block(ENVIRONMENT, "sh").split())
    assert variables["REPLSESSION_SECRET_FILE"] == "/run/secrets/shop"
    variables["REPLSESSION_SECRET_FILE"] = "shop.secret"
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    app = run(ENVIRONMENT)
    settings = app._channel.settings
    assert settings is not None
    assert (settings.name, settings.member_name, settings.port) == ("shop", "left", 4001)
    assert (settings.secret, app._behind.policy.asked.concern) == (SECRET, "all")


def test_tomcats_file(folder: Path) -> None:
    app = run(XML)
    expected = Cluster.lan("shop", secret=SECRET, port=4001)
    assert app._channel.settings == expected._settings
    assert (app._behind.policy.asked.concern, app._behind.policy.on_shortfall) == ("all", "warn")


def table() -> Iterator[str]:
    """Yield the lines of the table of Tomcat's elements."""
    yield "| Element | Attribute | Verdict | Here |"
    yield "|---|---|---|---|"
    for tag, classes in ELEMENTS.items():
        for class_name, element in classes.items():
            short = class_name.rpartition(".")[2]
            yield f"| `<{tag}>` {short} | | {element.verdict} | {element.says} |"
            yield from rows(element)


def rows(element: Element) -> Iterator[str]:
    """Yield a line for all attributes of which the same is to be said."""
    alike: dict[Attribute, list[str]] = {}
    for name, attribute in element.attributes.items():
        alike.setdefault(attribute, []).append(f"`{name}`")
    for attribute, names in alike.items():
        yield f"| | {', '.join(names)} | {attribute.verdict} | {attribute.says} |"


def test_the_table_is_that_of_the_code() -> None:
    assert PAGE.endswith("\n".join(table()) + "\n")


if __name__ == "__main__":
    print("\n".join(table()))
