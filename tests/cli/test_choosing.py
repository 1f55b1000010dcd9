"""Which members are asked: all that are found, those of a cluster, or one that was named."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import click
import pytest

from replsession.channel import run_directory
from replsession.cli import choosing
from replsession.cli.choosing import CannotLook, Look, Targets
from replsession.security.keys import ClusterKeys
from tests.cli.members import SECRET, running


def targets(
    path: Path | None = None,
    url: str | None = None,
    name: str | None = None,
    secret_file: str | None = None,
) -> Targets:
    return Targets(path, url, name, secret_file)


def names(look: Look) -> list[str]:
    return sorted(status["member"]["name"] for _, status in look.told)


def test_members_are_found_where_they_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(tmp_path, "left", "right") as members:
        monkeypatch.setattr(choosing, "places", lambda: [tmp_path / "none", members.directory])
        chosen = targets()
        assert names(chosen.look()) == ["left", "right"]
        assert names(targets(name="other").look()) == []
        assert names(targets(name="local").look()) == ["left", "right"]
        assert names(targets(members.directory).look()) == ["left", "right"]
        assert len(names(targets(members.paths[0]).look())) == 1
        member, status = chosen.one()
        assert status["member"]["ready"] and member.where == str(members.paths[0])

        members.clusters[1].channel().stop_thread()
        assert names(chosen.look()) == ["left"]


def test_who_does_not_answer_is_a_problem_and_who_is_dead_is_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("replsession.cli.asking.PATIENCE_S", 0.05)
    directory = run_directory.made(tmp_path / "run")
    monkeypatch.setattr(choosing, "places", lambda: [directory])
    with socket.socket(socket.AF_UNIX) as hung, socket.socket(socket.AF_UNIX) as dead:
        hung.bind(str(directory / "a.sock"))
        hung.listen()
        dead.bind(str(directory / "b.sock"))
        look = targets().look()
        assert look.told == []
        (problem,) = look.problems
        assert "a.sock: no answer within" in problem
        # What was asked for by its name is missed.
        (problem,) = targets(directory / "b.sock").look().problems
        assert "its process has ended" in problem


def test_nobody_is_told_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "places", lambda: [tmp_path])
    for user, who in ((0, "any user"), (1000, "this user")):
        monkeypatch.setattr(os, "geteuid", lambda user=user: user)
        with pytest.raises(CannotLook) as caught:
            targets(name="shop").one()
        assert f"no member of the cluster 'shop' runs here as {who}; run it" in str(caught.value)
    with pytest.raises(CannotLook, match="no member listens at"):
        targets(tmp_path).one()
    assert CannotLook("x").exit_code == 2


def test_a_directory_that_is_closed_to_this_user_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(path: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_dir", closed)
    with pytest.raises(CannotLook, match=f"--socket {tmp_path}: Permission denied"):
        targets(tmp_path).look()


def test_of_several_clusters_one_must_be_chosen() -> None:
    chosen = targets()
    told = [
        (None, {"member": {"cluster": name, "ready": True, "age_s": 1.0}}) for name in ("a", "b")
    ]
    chosen.look = lambda: Look(told)  # type: ignore[arg-type,method-assign]
    with pytest.raises(CannotLook, match="several clusters run here: a, b; choose one: --name a"):
        chosen.one()


def test_the_one_that_is_ready_is_asked_and_of_those_the_oldest() -> None:
    chosen = targets()
    told = [
        (str(n), {"member": {"cluster": "a", "ready": ready, "age_s": age}})
        for n, (ready, age) in enumerate([(False, 9.0), (True, 1.0), (True, 5.0)])
    ]
    chosen.look = lambda: Look(told)  # type: ignore[arg-type,method-assign]
    assert chosen.one()[1]["member"]["age_s"] == 5.0


def test_a_url_is_signed_with_the_secret_that_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in list(os.environ):
        if variable.startswith("REPLSESSION_"):
            monkeypatch.delenv(variable)
    url = "http://127.0.0.1:1"

    def key_of(chosen: Targets) -> bytes:
        assert chosen._over_url is not None
        return chosen._over_url._key

    with pytest.raises(click.UsageError, match="--secret-file FILE"):
        targets(url=url)
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    file.chmod(0o644)
    with pytest.raises(click.UsageError, match="chmod 600"):
        targets(url=url, secret_file=str(file))
    file.chmod(0o600)
    local = ClusterKeys(SECRET, "local").control_key
    shop = ClusterKeys(SECRET, "shop").control_key
    assert key_of(targets(url=url, secret_file=str(file))) == local
    assert key_of(targets(url=url, name="shop", secret_file=str(file))) == shop
    monkeypatch.setenv("REPLSESSION_SECRET", SECRET)
    monkeypatch.setenv("REPLSESSION_CLUSTER", "lan:shop")
    assert key_of(targets(url=url)) == shop


def test_either_a_socket_or_a_url() -> None:
    with pytest.raises(click.UsageError, match="either --socket or --url"):
        targets(Path("x"), "http://x")
    with pytest.raises(click.UsageError, match="--url"):
        targets(url="shop")
