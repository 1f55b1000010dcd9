"""A TOML file as a configuration, and the other way."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replsession import ConfigError
from replsession.settings.configuration import Configuration
from replsession.settings.toml import FILE_BYTES_MAX, read, to_toml

WHOLE_FILE = r"""
[replsession]
cluster = "lan:shop"
secret_file = "keys/shop.secret"
bind = "eth0"
port = 4001
auto_bind = 5
member_name = "left"
multicast = "239.1.2.3:4567"
seeds = ["10.0.0.5", "members.internal:4000"]
drop_after_s = 5
context = "/shop"
max_inactive_interval = false
url_tracking = true
valve = '.*\.gif;.*\.css'
concern = "one"
expected_members = 3
"""


def file(folder: Path, text: str, mode: int = 0o644) -> Path:
    path = folder / "replsession.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


def refused(path: Path, table: str = "replsession") -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read(path, table)
    assert str(path) in caught.value.field
    return caught.value


def test_a_whole_file(tmp_path: Path) -> None:
    path = file(tmp_path, WHOLE_FILE)
    found = read(path)
    assert found.values == {
        "cluster": "lan:shop",
        "secret_file": str(tmp_path / "keys/shop.secret"),
        "bind": "eth0",
        "port": 4001,
        "auto_bind": 5,
        "member_name": "left",
        "multicast": ("239.1.2.3", 4567),
        "seeds": ["10.0.0.5", "members.internal:4000"],
        "drop_after_s": 5,
        "context": "/shop",
        "max_inactive_interval": None,
        "url_tracking": True,
        "valve": r".*\.gif;.*\.css",
        "concern": "one",
        "expected_members": 3,
    }
    assert found.written["port"] == f"{path}: port"


def test_an_absolute_path_stays_one(tmp_path: Path) -> None:
    path = file(tmp_path, '[replsession]\nsecret_file = "/etc/shop.secret"')
    assert read(path).values == {"secret_file": "/etc/shop.secret"}


def test_another_table_may_be_meant(tmp_path: Path) -> None:
    path = file(tmp_path, "[tool.replsession]\nport = 5\n[tool.other]\nx = 1")
    assert read(path, "tool.replsession").values == {"port": 5}
    assert "[replsession]" in refused(path).allowed
    assert "[tool.other.x]" in refused(path, "tool.other.x").allowed


@pytest.mark.parametrize(
    ("line", "name", "says"),
    [
        ("prot = 4000", "prot", "did you mean 'port'?"),
        ("Port = 4000", "Port", "did you mean 'port'?"),
        ('sekret = "hush"', "sekret", "did you mean 'secret'?"),
        ("listeners = []", "listeners", "given in code only"),
        ("port = '4000'", "port", "a whole number"),
        ("port = true", "port", "a whole number"),
        ("secret = ['hush']", "secret", "a text"),
        ("seeds = 'a,b'", "seeds", "a list of texts"),
        ("url_tracking = 1", "url_tracking", "true or false"),
        ("multicast = '228.0.0.4'", "multicast", "228.0.0.4:45564"),
        ("[replsession.port]\nx = 1", "port", "a whole number"),
    ],
)
def test_what_is_not_known_or_of_another_kind(
    tmp_path: Path, line: str, name: str, says: str
) -> None:
    error = refused(file(tmp_path, f"[replsession]\n{line}"))
    assert error.field.endswith(f": {name}")
    assert says in error.allowed
    assert "hush" not in str(error)


@pytest.mark.parametrize(
    "data", [b"[replsession", b"[replsession]\nport = \xff", b"x = " + b"[" * 5000]
)
def test_what_is_no_toml(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "replsession.toml"
    path.write_bytes(data)
    assert refused(path).allowed == "TOML"


def test_what_cannot_be_read(tmp_path: Path) -> None:
    assert "No such file" in str(refused(tmp_path / "none.toml"))
    path = file(tmp_path, "#" * (FILE_BYTES_MAX + 1))
    assert str(FILE_BYTES_MAX) in refused(path).allowed


def test_a_secret_wants_a_file_that_others_cannot_read(tmp_path: Path) -> None:
    text = '[replsession]\nsecret = "hush"'
    error = refused(file(tmp_path, text))
    assert "chmod 600" in error.allowed
    assert read(file(tmp_path, text, 0o600)).values == {"secret": "hush"}


def test_a_text_that_says_the_same(tmp_path: Path) -> None:
    found = read(file(tmp_path, WHOLE_FILE))
    again = read(file(tmp_path, to_toml(found)))
    assert again.values == found.values
    other = file(tmp_path, to_toml(found, table="tool.replsession"))
    assert read(other, "tool.replsession").values == found.values


def test_a_secret_is_shown_only_when_asked(tmp_path: Path) -> None:
    one = Configuration({"secret": "hush"}, remarks=("there is more",))
    text = to_toml(one)
    assert "hush" not in text
    assert text.startswith("# there is more\n\n[replsession]\n")
    assert "# secret_file" in text
    assert read(file(tmp_path, text)).values == {}
    shown = file(tmp_path, to_toml(one, shows_secret=True), 0o600)
    assert read(shown).values == {"secret": "hush"}


TEXTS = st.text(st.characters(codec="utf-8"))


@settings(max_examples=50, deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "member_name": TEXTS,
            "port": st.integers(-(2**40), 2**40),
            "drop_after_s": st.floats(allow_nan=False, allow_infinity=False),
            "seeds": st.lists(TEXTS),
            "valve": st.none() | TEXTS | st.lists(TEXTS),
            "required": st.booleans(),
            "multicast": st.none() | st.tuples(TEXTS, st.integers(0, 65535)),
        },
    )
)
def test_whatever_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, object]
) -> None:
    path = tmp_path_factory.mktemp("toml") / "one.toml"
    path.write_text(to_toml(Configuration(values)), encoding="utf-8", newline="")
    assert read(path).values == values


@pytest.mark.parametrize(
    ("said", "control"), [('"auto"', "auto"), ("false", None), ('"/run/shop"', "/run/shop")]
)
def test_the_place_of_the_control_socket(tmp_path: Path, said: str, control: str | None) -> None:
    assert read(file(tmp_path, f"[replsession]\ncontrol = {said}")).values["control"] == control


def test_a_relative_place_is_relative_to_the_file(tmp_path: Path) -> None:
    found = read(file(tmp_path, '[replsession]\ncontrol = "run"')).values["control"]
    assert found == str(tmp_path / "run")
