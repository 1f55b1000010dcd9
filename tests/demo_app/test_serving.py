"""One member of the counter page: what it is told, and that the file's words count."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from demo_app.serving import Serving
from demo_app.visits import FILTER, place
from replsession import ConfigError
from tests.layout.source import ROOT

SECRET = "k2Vd9-mQx7RtY4bLw1ZpN8sHc5JfG3aU_eXo6TiBrDy"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A server.xml and a secret, as a newcomer has them."""
    shutil.copy(ROOT / "tests" / "settings" / "cluster.xml", tmp_path / "server.xml")
    secret = tmp_path / "secret.txt"
    secret.write_text(SECRET + "\n")
    secret.chmod(0o600)
    return tmp_path


def serving(folder: Path, framework: str = "starlette") -> Serving:
    """What a newcomer asks for."""
    paths = str(folder / "server.xml"), str(folder / "secret.txt")
    return Serving(*paths, "0.0.0.0", 8080, framework)


def test_the_file_says_what_cluster_it_is(folder: Path) -> None:
    here = place(serving(folder).environment())

    assert here.secret == SECRET
    assert here.cluster is not None and here.cluster.settings is not None
    assert (here.cluster.settings.name, here.cluster.settings.port) == ("shop", 4000)
    assert here.cluster.settings.secret == SECRET
    assert here.valve == r".*\.gif;.*\.js;.*\.jpg;.*\.png;.*\.css;.*\.txt;/readyz"


def test_a_toml_file_will_do_as_well(tmp_path: Path) -> None:
    config = tmp_path / "replsession.toml"
    config.write_text(f'[replsession]\ncluster = "lan:shop"\nsecret = "{SECRET}"\nvalve = "/x.*"\n')
    config.chmod(0o600)

    here = place(Serving(str(config), None, "0.0.0.0", 8080).environment())

    assert (here.secret, here.valve) == (SECRET, "/x.*;/readyz")


def test_without_a_word_on_it_the_usual_paths_are_filtered() -> None:
    assert place({"REPLSESSION_SECRET": SECRET}).valve == FILTER


def test_a_file_that_everybody_may_read_is_refused(folder: Path) -> None:
    (folder / "secret.txt").chmod(0o644)

    with pytest.raises(ConfigError, match="chmod 600"):
        place(serving(folder).environment())


@pytest.mark.parametrize("framework", ["starlette", "flask"])
def test_the_server_is_told_where_to_listen(
    folder: Path, framework: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    fakes = {name: ModuleType(name) for name in ("demo_app.asgi", "demo_app.wsgi", "uvicorn")}
    vars(fakes["demo_app.asgi"])["app"] = "the application"
    vars(fakes["demo_app.wsgi"])["serve"] = told.append
    vars(fakes["uvicorn"])["run"] = lambda app, **options: told.append((app, options))
    for name, fake in fakes.items():
        monkeypatch.setitem(sys.modules, name, fake)
        package, _, attribute = name.rpartition(".")
        if package:
            monkeypatch.setattr(sys.modules[package], attribute, fake, raising=False)
    monkeypatch.setattr(os, "environ", dict(os.environ))

    serving(folder, framework).run(lambda: told.append("it begins"))

    assert os.environ["REPLSESSION_CONFIG"] == str(folder / "server.xml")
    assert os.environ["REPLSESSION_SECRET_FILE"] == str(folder / "secret.txt")
    assert told.pop(0) == "it begins"
    if framework == "flask":
        assert told == ["0.0.0.0:8080"]
    else:
        ((app, options),) = told
        assert app == "the application"
        assert (options["host"], options["port"], options["lifespan"]) == ("0.0.0.0", 8080, "on")
        assert options["access_log"] is False
