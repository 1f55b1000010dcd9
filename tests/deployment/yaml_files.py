"""The project's YAML files, read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.cluster.processes import ROOT

COMPOSE = ROOT / "docker-compose.yml"


def documents(path: Path) -> list[Any]:
    """Return all documents of a file."""
    return list(YAML(typ="safe").load_all(path))


def compose() -> Any:
    """Return ``docker-compose.yml``."""
    (found,) = documents(COMPOSE)
    return found
