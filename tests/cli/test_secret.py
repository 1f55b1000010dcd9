"""replsession secret."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from replsession.cli.commands import program
from replsession.security.keys import check_secret


def test_it_prints_a_new_secret_each_time() -> None:
    told = [CliRunner().invoke(program, ["secret"]).output for _ in range(2)]
    for line in told:
        assert re.fullmatch(r"[\w-]{43}\n", line)
        check_secret(line.strip())
    assert told[0] != told[1]


def test_a_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "secret.txt"
    ended = CliRunner().invoke(program, ["secret", "--file", str(path)])
    assert (ended.exit_code, ended.output) == (0, "")
    assert path.stat().st_mode & 0o777 == 0o600
    assert re.fullmatch(r"[\w-]{43}", path.read_text())


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "secret.txt"
    path.write_text("of the running cluster")
    ended = CliRunner().invoke(program, ["secret", "--file", str(path)])
    assert ended.exit_code == 1
    assert "is there already, and was left as it is" in ended.output
    assert path.read_text() == "of the running cluster"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    link = tmp_path / "secret.txt"
    link.symlink_to(tmp_path / "elsewhere")
    assert CliRunner().invoke(program, ["secret", "--file", str(link)]).exit_code == 1
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    ended = CliRunner().invoke(program, ["secret", "--file", str(tmp_path / "no" / "s")])
    assert ended.exit_code == 1
    assert "No such file or directory" in ended.output


@pytest.mark.parametrize("words", [["secret", "more"], ["secret", "--files", "x"]])
def test_a_wrong_word_is_exit_code_2(words: list[str]) -> None:
    assert CliRunner().invoke(program, words).exit_code == 2
