"""``replsession import``: the XML of the administrator becomes a file that says the same."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result

from replsession import Cluster
from replsession.cli.commands import program

XML = Path(__file__).resolve().parent.parent / "settings" / "cluster.xml"
KEY = "0123456789abcdeffedcba98765432100123456789abcdeffedcba9876543210"
ENCRYPTED = f"""
<Cluster className="org.apache.catalina.ha.tcp.SimpleTcpCluster">
  <Channel className="org.apache.catalina.tribes.group.GroupChannel">
    <Interceptor className="org.apache.catalina.tribes.group.interceptors.EncryptInterceptor"
                 encryptionKey="{KEY}"/>
  </Channel>
</Cluster>
"""


def imported(*words: str) -> Result:
    return CliRunner().invoke(program, ["import", *words])


def test_what_is_printed_describes_the_same_cluster(tmp_path: Path) -> None:
    told = imported(str(XML))
    assert told.exit_code == 0, told.output
    file = tmp_path / "replsession.toml"
    file.write_text(told.output)
    ours, theirs = Cluster.from_toml(file), Cluster.from_server_xml(XML)
    assert ours.settings == theirs.settings
    assert ours.configuration is not None
    assert theirs.configuration is not None
    assert ours.configuration.application == theirs.configuration.application


def test_a_secret_is_printed_only_when_it_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "server.xml"
    file.write_text(ENCRYPTED)
    assert KEY not in imported(str(file)).output
    assert KEY in imported(str(file), "--show-secret").output


def test_what_is_wrong_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "server.xml"
    file.write_text(XML.read_text().replace("dropTime", "dropTiem"))
    told = imported(str(file))
    assert told.exit_code == 1
    assert "dropTiem" in told.output
    assert "dropTime" in told.output
    assert f"{file.name}:" in told.output or "line " in told.output
