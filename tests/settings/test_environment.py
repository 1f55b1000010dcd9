"""The environment as a configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from replsession import ConfigError
from replsession.settings.environment import read, whole


def test_every_name_is_a_variable_in_capitals() -> None:
    read_back = read(
        {
            "REPLSESSION_CLUSTER": "lan:shop",
            "REPLSESSION_PORT": "4001",
            "REPLSESSION_MULTICAST": "none",
            "REPLSESSION_SEEDS": "10.0.0.5,10.0.0.6",
            "REPLSESSION_DROP_AFTER_S": "5",
            "REPLSESSION_URL_TRACKING": "true",
            "REPLSESSION_VALVE": r".*\.css",
            "REPLSESSION_BIND": "",
            "REPLSESSION_OTHER": "x",
            "PORT": "80",
        }
    )
    assert read_back.values == {
        "cluster": "lan:shop",
        "port": 4001,
        "multicast": None,
        "seeds": ["10.0.0.5", "10.0.0.6"],
        "drop_after_s": 5.0,
        "url_tracking": True,
        "valve": r".*\.css",
    }
    assert read_back.written["drop_after_s"] == "REPLSESSION_DROP_AFTER_S"


def test_a_text_of_another_kind_is_refused_with_its_variable() -> None:
    with pytest.raises(ConfigError) as caught:
        read({"REPLSESSION_URL_TRACKING": "perhaps"})
    assert (caught.value.field, caught.value.given) == ("REPLSESSION_URL_TRACKING", "perhaps")
    assert caught.value.allowed == "true or false"


def test_variables_win_over_the_file_that_one_of_them_names(tmp_path: Path) -> None:
    path = tmp_path / "replsession.toml"
    path.write_text("[replsession]\nport = 4001\ncontrol = false\n")
    said = whole({"REPLSESSION_CONFIG": str(path), "REPLSESSION_PORT": "4002"})
    assert said.values == {"port": 4002, "control": None}
    assert whole({"REPLSESSION_CONTROL": "none"}).values == {"control": None}
