"""What people get who install the package."""

from __future__ import annotations

import email
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest

from environment import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZipFile]:
    """Yield the wheel, built by the locked backend."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory"]
    subprocess.run([*build, str(folder)], cwd=ROOT, check=True, capture_output=True)
    (built,) = Path(folder).glob("*.whl")
    with ZipFile(built) as file:
        yield file


def test_it_carries_the_package_and_the_demo(wheel: ZipFile) -> None:
    names = wheel.namelist()
    assert {"replsession/py.typed", "replsession/__init__.py", "demo_app/__init__.py"} <= set(names)
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {
        "replsession",
        "demo_app",
    }


def test_it_carries_every_file_of_the_package(wheel: ZipFile) -> None:
    files = {
        path.relative_to(ROOT).as_posix()
        for folder in ("replsession", "demo_app")
        for path in (ROOT / folder).rglob("*.*")
        if path.suffix in (".py", ".html", ".typed")
    }
    assert files <= set(wheel.namelist())


def test_it_asks_for_three_packages_and_no_tools(wheel: ZipFile) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = email.message_from_bytes(wheel.read(name))
    needed = [text for text in metadata.get_all("Requires-Dist", []) if "extra ==" not in text]
    assert sorted(text.split(">")[0].split("<")[0] for text in needed) == [
        "cbor2",
        "cryptography",
        "itsdangerous",
    ]
    assert metadata["Requires-Python"] == ">=3.11.5"
    assert metadata["License-Expression"] == "MIT"
