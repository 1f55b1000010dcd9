"""The launcher, started as a user does: what it shows, what it survives, and that it cleans up."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from demo_app.__main__ import main
from demo_app.launcher import Screen
from demo_app.members import Member
from tests.cluster.processes import Process, Processes, free_ports_in_a_row

pytestmark = pytest.mark.timeout(240)

LINE = r"^\[member-\d\] (\d\d:\d\d:\d\d\.\d{3} [A-Z]+ +|\*\*\* )\S"


@pytest.fixture
def processes() -> Iterator[Processes]:
    """Yield the helper; whatever a test starts with it is reaped."""
    with Processes() as started:
        yield started


def launch(processes: Processes, port: int, *options: str) -> Process:
    return processes.python("-m", "demo_app", "--port", str(port), *options, name="launcher")


def introduced(launcher: Process, member: str) -> tuple[str, int]:
    """Wait for the introduction, and return a member's URL and process."""
    found = launcher.output.wait_for(rf"^    {member}    (http://127\.0\.0\.1:\d+/)    pid (\d+)$")
    launcher.output.wait_for("^Ctrl-C stops all")
    return found[1], int(found[2])


def assert_stopped(launcher: Process) -> None:
    """Assert that it ended as it should, and left nothing running."""
    assert launcher.wait() == 0
    assert launcher.left_behind() == []
    assert "Traceback" not in launcher.output.text


@pytest.mark.cluster
def test_two_members_run_one_is_killed_and_comes_back(processes: Processes) -> None:
    ports = free_ports_in_a_row(2)
    launcher = launch(processes, ports[0], "--members", "2")
    url, pid = introduced(launcher, "member-1")
    assert url == f"http://127.0.0.1:{ports[0]}/"
    other, _ = introduced(launcher, "member-2")
    assert other == f"http://127.0.0.1:{ports[1]}/"

    # The link that is ready to be clicked leads to the launcher's own session.
    link = launcher.output.wait_for(rf"^    (http://localhost:{ports[1]}/;jsessionid=\S+)$")[1]
    told = httpx.get(link.replace("/;", "/session.json;"), trust_env=False).json()
    assert (told["member"], told["counter"]) == ("member-2", 2)

    assert_secret_is_kept(launcher, pid)

    assert launcher.output.matches(rf"^    kill -9 {pid}$")
    os.kill(pid, signal.SIGKILL)
    launcher.output.wait_for(
        r"^\[member-1\] \*\*\* ended by signal 9; press Enter to start it again$"
    )
    told = httpx.get(link.replace("/;", "/session.json;"), trust_env=False).json()
    assert (told["member"], told["counter"]) == ("member-2", 3)

    mark = launcher.output.mark()
    launcher.type("\n")
    again = launcher.output.wait_for(r"^\[member-1\] \*\*\* started again, pid (\d+)$", mark)
    assert int(again[1]) != pid
    launcher.output.wait_for(r"^\[member-1\] .* session state sent at .* \(1 sessions, ", mark)
    launcher.output.wait_for(r"^\[member-1\] .* Member is ready$", mark)

    mark = launcher.output.mark()
    launcher.send_signal_to_group(signal.SIGINT)
    assert_stopped(launcher)
    launcher.output.wait_for(
        r"^\[member-2\] .* Received member disappeared: .* name=member-1 .*\(said goodbye\)$", mark
    )
    for member in ("member-1", "member-2"):
        launcher.output.wait_for(rf"^\[{member}\] .* Cluster has stopped$", mark)
    shown = [line for line in launcher.output.lines if line.startswith("[")]
    assert all(re.search(LINE, line) for line in shown), shown
    assert "\x1b" not in launcher.output.text


def assert_secret_is_kept(launcher: Process, pid: int) -> None:
    """Assert that a member got a secret, and that no list of processes nor any log shows it."""
    environment = Path(f"/proc/{pid}/environ")
    if not environment.exists():
        return
    variables = environment.read_bytes().decode().split("\0")
    (secret,) = (text for text in variables if text.startswith("REPLSESSION_SECRET="))
    secret = secret.removeprefix("REPLSESSION_SECRET=")
    assert len(secret) >= 32
    assert secret not in launcher.output.text
    for process in (pid, launcher.pid):
        assert secret not in Path(f"/proc/{process}/cmdline").read_bytes().decode()


@pytest.mark.cluster
def test_members_under_different_frameworks_share_a_session(processes: Processes) -> None:
    ports = free_ports_in_a_row(2)
    launcher = launch(processes, ports[0], "--framework", "mixed")
    introduced(launcher, "member-2")
    launcher.output.wait_for("^Under Flask: member-2; the others under Starlette")
    link = launcher.output.wait_for(rf"^    (http://localhost:{ports[1]}/;jsessionid=\S+)$")[1]
    told = httpx.get(link.replace("/;", "/session.json;"), trust_env=False).json()
    assert (told["member"], told["counter"]) == ("member-2", 2)
    told = httpx.get(
        f"http://127.0.0.1:{ports[0]}/session.json;jsessionid={told['url_token']}", trust_env=False
    ).json()
    assert (told["member"], told["counter"]) == ("member-1", 3)

    mark = launcher.output.mark()
    launcher.send_signal_to_group(signal.SIGINT)
    assert_stopped(launcher)
    for member in ("member-1", "member-2"):
        launcher.output.wait_for(rf"^\[{member}\] .* Cluster has stopped$", mark)


@pytest.mark.cluster
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_can_be_stopped_while_it_starts(processes: Processes, number: signal.Signals) -> None:
    launcher = launch(processes, free_ports_in_a_row(2)[0])
    launcher.output.wait_for("Cluster is about to start")
    launcher.send_signal(number)
    assert_stopped(launcher)


@pytest.mark.cluster
def test_a_member_comes_back_by_itself_if_that_is_wanted(processes: Processes) -> None:
    launcher = launch(
        processes, free_ports_in_a_row(1)[0], "--members", "1", "--restart-after", "0.2"
    )
    _, pid = introduced(launcher, "member-1")
    os.kill(pid, signal.SIGKILL)
    launcher.output.wait_for(r"^\[member-1\] \*\*\* ended by signal 9; starts again in 0\.2 s$")
    launcher.output.wait_for(r"^\[member-1\] \*\*\* started again, pid \d+$")
    launcher.send_signal(signal.SIGTERM)
    assert_stopped(launcher)


@pytest.mark.cluster
def test_it_ends_when_no_member_is_left_and_nobody_can_press_enter(processes: Processes) -> None:
    launcher = launch(processes, free_ports_in_a_row(1)[0], "--members", "1")
    launcher.close_input()
    _, pid = introduced(launcher, "member-1")
    os.kill(pid, signal.SIGKILL)
    assert launcher.wait() == 1
    launcher.output.assert_in_order([r"ended by signal 9; stays down$", "^No member is left"])
    assert launcher.left_behind() == []


def test_a_port_that_is_taken_is_named(processes: Processes) -> None:
    with socket.socket() as taken:
        first, second = free_ports_in_a_row(2)
        taken.bind(("127.0.0.1", second))
        taken.listen()
        launcher = launch(processes, first, "--members", "2")
        assert launcher.wait() == 1
    assert launcher.output.lines == [
        f"demo_app: port {second} is taken; name another one with --port"
    ]


@pytest.mark.cluster
def test_a_member_that_does_not_start_is_named(processes: Processes, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nif 'uvicorn' in sys.orig_argv: sys.exit('no, thank you')\n"
    )
    launcher = processes.python(
        "-m",
        "demo_app",
        "--port",
        str(free_ports_in_a_row(2)[0]),
        name="launcher",
        environment={"PYTHONPATH": str(tmp_path)},
    )
    assert launcher.wait() == 1
    launcher.output.wait_for("^demo_app: member-1 did not start; its log says why$")
    launcher.output.assert_in_order(
        [r"^\[member-1\] .*no, thank you$", r"^\[member-1\] \*\*\* ended with code 1$"]
    )
    assert "member-2" not in launcher.output.text
    assert launcher.left_behind() == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--members", "0"], "--members: got 0; allowed: 1 to 16"),
        (["--members", "17"], "--members: got 17; allowed: 1 to 16"),
        (["--members", "two"], "argument --members: invalid int value: 'two'"),
        (["--port", "0"], "--port: got 0; allowed: 1 to 65520"),
        (["--port", "65535"], "--port: got 65535; allowed: 1 to 65520"),
        (["--restart-after", "-1"], "--restart-after: got -1.0; allowed: 0 to 3600 seconds"),
        (["--restart-after", "nan"], "--restart-after: got nan; allowed: 0 to 3600 seconds"),
        (
            ["--framework", "django"],
            "argument --framework: invalid choice: 'django' (choose from "
            "'starlette', 'flask', 'mixed')",
        ),
    ],
)
def test_a_wrong_option_is_named(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith(f"error: {message}")


@pytest.mark.parametrize(
    ("words", "missing", "named"),
    [
        ([], ["uvicorn"], "uvicorn"),
        ([], ["starlette"], "starlette"),
        ([], ["starlette", "uvicorn", "flask"], "starlette and uvicorn"),
        (["--framework", "flask"], ["waitress", "uvicorn"], "waitress"),
        (["--framework", "mixed"], ["flask", "uvicorn"], "uvicorn and flask"),
    ],
)
def test_missing_extras_are_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    missing: list[str],
    named: str,
) -> None:
    for name in missing:
        monkeypatch.setitem(sys.modules, name, None)
    assert main(words) == 1
    assert capsys.readouterr().err == (
        f'demo_app: {named} not installed: pip install "replsession[demo]"\n'
    )


@pytest.mark.parametrize(
    ("is_coloured", "expected"),
    [(False, "[a]        text\n"), (True, "\x1b[35m[a]       \x1b[0m text\n")],
)
def test_names_stand_in_a_column_and_have_colours_on_a_terminal(
    capsys: pytest.CaptureFixture[str], is_coloured: bool, expected: str
) -> None:
    screen = Screen(width=8, is_coloured=is_coloured, lost=lambda: None)
    screen.of(Member("a", 1, 8081), "text")
    assert capsys.readouterr().out == expected


@pytest.mark.cluster
def test_it_stops_when_nobody_reads_any_more(processes: Processes) -> None:
    (port,) = free_ports_in_a_row(1)
    command = f'"{sys.executable}" -m demo_app --members 1 --port {port} | head -n 1'
    process = processes.python("-c", f"import os; os.system({command!r})", name="pipeline")
    process.output.wait_for("Cluster is about to start")
    assert process.wait() == 0
    assert process.left_behind() == []
    assert len(process.output.lines) == 1
