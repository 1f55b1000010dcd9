"""The page about Django: its example, run as a project of its own, and what it lists."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from replsession.django.configuration import OPTIONS
from tests.test_package import python_blocks

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "django.md").read_text(encoding="utf-8")
PROJECT = """
import secrets

SECRET_KEY = secrets.token_hex(32)
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "urls"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
"""
URLS = """
from django.http import HttpResponse
from django.urls import path


def count(request):
    request.session.setdefault("seen", []).append(len(request.session.get("seen", [])))
    return HttpResponse(len(request.session["seen"]))


urlpatterns = [path("", count)]
"""
COUNT = """
import django
from django.test import Client

django.setup()
client = Client()
print([client.get("/").content.decode() for _ in range(3)])
"""


def test_the_example_runs(tmp_path: Path) -> None:
    (block,) = python_blocks(PAGE)
    assert len(block.splitlines()) < 20
    alone = block.replace('"CLUSTER": "local"', '"CLUSTER": None')
    assert alone != block
    (tmp_path / "settings.py").write_text(PROJECT + alone)
    (tmp_path / "urls.py").write_text(URLS)
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": path, "DJANGO_SETTINGS_MODULE": "settings"}
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", COUNT],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout.strip() == "['1', '2', '3']", run.stderr


def test_it_names_every_option() -> None:
    missing = [name for name in OPTIONS if f"`{name}`" not in PAGE]
    assert not missing
