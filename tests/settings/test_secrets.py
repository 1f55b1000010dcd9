"""Secrets in files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from replsession import ConfigError
from replsession.settings.configuration import Configuration
from replsession.settings.secrets import (
    MOUNTED,
    SECRET_BYTES_MAX,
    check_private,
    read_secret,
    secret_of,
)

HUSH = "hush-hush"


def written(folder: Path, data: bytes, mode: int = 0o600) -> Path:
    path = folder / "one.secret"
    path.write_bytes(data)
    path.chmod(mode)
    return path


def refused(path: Path) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read_secret(str(path), "secret_file")
    assert caught.value.field == "secret_file"
    assert HUSH not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("data", [b"s", b"s\n", b"s\r\n", b" s \nhush\n"])
def test_the_first_line_counts(tmp_path: Path, data: bytes) -> None:
    assert read_secret(str(written(tmp_path, data)), "secret_file") == "s"


@pytest.mark.parametrize("data", [b"", b"\n" + HUSH.encode(), b"\xff" + HUSH.encode()])
def test_without_a_text_there_it_is_refused(tmp_path: Path, data: bytes) -> None:
    assert "in its first line" in refused(written(tmp_path, data)).allowed


def test_a_file_that_is_no_secret_is_not_read_to_its_end(tmp_path: Path) -> None:
    line = HUSH.encode() * SECRET_BYTES_MAX
    assert str(SECRET_BYTES_MAX) in refused(written(tmp_path, line)).allowed


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "No such file" in str(refused(tmp_path / "none.secret"))
    assert "directory" in str(refused(tmp_path))


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o666, 0o777])
def test_what_everybody_may_read_is_no_secret(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path, HUSH.encode(), mode)
    error = refused(path)
    assert f"chmod 600 {path}" in error.allowed
    assert f"mode {mode:04o}" in str(error.given)
    with pytest.raises(ConfigError):
        check_private(path, "shop.toml: secret")


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o440, 0o660, 0o641])
def test_its_owner_and_group_may_read_it(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path, HUSH.encode(), mode)
    assert read_secret(str(path), "secret_file") == HUSH
    check_private(path, "shop.toml: secret")


def test_what_a_container_is_given_is_taken_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MOUNTED == "/run/secrets/"
    monkeypatch.setattr("replsession.settings.secrets.MOUNTED", f"{tmp_path}{os.sep}")
    assert read_secret(str(written(tmp_path, HUSH.encode(), 0o444)), "secret_file") == HUSH


def test_a_configuration_has_one_or_names_a_file(tmp_path: Path) -> None:
    path = str(written(tmp_path, HUSH.encode()))
    assert secret_of(Configuration()) is None
    assert secret_of(Configuration({"secret": "s"})) == "s"
    assert secret_of(Configuration({"secret_file": path})) == HUSH
    with pytest.raises(ConfigError, match="only where there is no secret"):
        secret_of(Configuration({"secret": "s", "secret_file": path}))
