"""Settings that stand in a framework's configuration, and change while the process runs."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from replsession import Cluster, ConfigError
from replsession.web.configured import (
    IDLE_MIN_S,
    ConfiguredApplication,
    ConfiguredSession,
)

SECRET = "a secret of sufficient length, 0123456789"


def configured(**config: Any) -> ConfiguredApplication:
    """Return an application that is configured so."""
    whole = {
        "SECRET_KEY": SECRET,
        "SECRET_KEY_FALLBACKS": None,
        "PERMANENT_SESSION_LIFETIME": timedelta(days=31),
        "REPLSESSION_CLUSTER": "none",
        **config,
    }
    return ConfiguredApplication(whole, ConfiguredSession, {})


@pytest.mark.parametrize("secret", [None, "", b""])
def test_without_a_secret_there_is_none(secret: Any) -> None:
    one = configured(SECRET_KEY=secret)
    assert (one.application, one.cluster) == (None, None)


def test_it_is_put_together_once_as_long_as_nothing_changes() -> None:
    one = configured()
    assert one.application is one.application


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("SECRET_KEY", "another"),
        ("SECRET_KEY_FALLBACKS", ["old"]),
        ("PERMANENT_SESSION_LIFETIME", timedelta(1)),
        ("REPLSESSION_LIFETIME", 5),
    ],
)
def test_a_change_is_seen_and_costs_no_session(key: str, value: Any) -> None:
    one = configured()
    before = one.application
    assert before is not None
    one._config[key] = value  # type: ignore[index]
    after = one.application
    assert after is not None
    assert after is not before
    assert after.channel is before.channel


def test_a_fallback_that_is_added_in_place_is_seen() -> None:
    fallbacks = ["old"]
    one = configured(SECRET_KEY_FALLBACKS=fallbacks)
    before = one.application
    fallbacks.append("older")
    assert one.application is not before


def test_another_cluster_is_another_member() -> None:
    one = configured()
    before = one.application
    one._config["REPLSESSION_CLUSTER"] = Cluster.local(port=4321)  # type: ignore[index]
    assert before is not None and one.application is not None
    assert one.application.channel is not before.channel


def test_a_cluster_that_is_described_in_words_is_made_once() -> None:
    one = configured(REPLSESSION_CLUSTER="lan:shop", REPLSESSION_PORT=4500)
    cluster = one.cluster
    assert cluster is not None and cluster._settings is not None
    assert "'shop'" in repr(cluster)
    assert cluster._settings.port == 4500
    one._config["REPLSESSION_LIFETIME"] = 5  # type: ignore[index]
    assert one.cluster is cluster


@pytest.mark.parametrize("cluster", [Cluster.local(port=4321), None])
def test_a_setting_that_would_do_nothing_is_refused(cluster: Cluster | None) -> None:
    with pytest.raises(ConfigError, match=r"REPLSESSION_PORT: .* only beside"):
        _ = configured(REPLSESSION_CLUSTER=cluster, REPLSESSION_PORT=4500).application


def test_the_default_is_the_cluster_of_this_host() -> None:
    one = ConfiguredApplication(
        {"SECRET_KEY": SECRET, "PERMANENT_SESSION_LIFETIME": 1}, ConfiguredSession, {}
    )
    assert one.cluster is not None and one.cluster._settings is not None
    assert one.cluster._settings.on_this_host


def test_seeds_may_be_a_list_or_a_text() -> None:
    for seeds in (["10.0.0.5", "10.0.0.6:4001"], "10.0.0.5, 10.0.0.6:4001"):
        one = configured(REPLSESSION_CLUSTER="lan:shop", REPLSESSION_SEEDS=seeds)
        assert one.cluster is not None and one.cluster._settings is not None
        assert len(one.cluster._settings.seeds) == 2


def test_the_configuration_wins_over_options() -> None:
    config = {"SECRET_KEY": "s", "PERMANENT_SESSION_LIFETIME": 1, "REPLSESSION_CONTEXT": "/shop"}
    options = {"context": "/other", "stale": "error", "cluster": None}
    application = ConfiguredApplication(config, ConfiguredSession, options).application
    assert application is not None
    assert (application.manager.context, application.policy.stale) == ("/shop", "error")


def test_a_secret_of_bytes_is_the_same_as_its_text() -> None:
    one, two = configured(SECRET_KEY="café"), configured(SECRET_KEY="café".encode())
    three = configured(SECRET_KEY=b"\xff\xfe")
    tokens = []
    for each in (one, two, three):
        assert each.application is not None
        signer = each.application.manager._signer
        tokens.append(signer.sign(b"l" * 12, b"s" * 16))
    assert tokens[0] == tokens[1] != tokens[2]


def test_what_is_not_known_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="did you mean REPLSESSION_CONCERN"):
        _ = configured(REPLSESSION_CONCERNS="all").application
    with pytest.raises(ConfigError, match="one of REPLSESSION_CLUSTER, "):
        _ = configured(REPLSESSION_XYZ=1).application
    with pytest.raises(ConfigError, match="did you mean context"):
        ConfiguredApplication({}, ConfiguredSession, {"contexts": "/"})


def test_an_error_stays_an_error_until_it_is_put_right() -> None:
    one = configured(REPLSESSION_STALE="x")
    for _ in range(2):
        with pytest.raises(ConfigError):
            _ = one.application
    one._config["REPLSESSION_STALE"] = "serve"  # type: ignore[index]
    assert one.application is not None


@pytest.mark.parametrize(
    ("lifetime", "idle_s"),
    [(timedelta(hours=1), 3600.0), (60, 60.0), (0, IDLE_MIN_S), (-1, IDLE_MIN_S), (2**63, None)],
)
def test_a_permanent_session_lives_as_long_as_its_cookie(
    lifetime: Any, idle_s: float | None
) -> None:
    application = configured(PERMANENT_SESSION_LIFETIME=lifetime).application
    assert application is not None
    cls = application._session_class
    assert issubclass(cls, ConfiguredSession)
    assert cls._idle_s == (1800, idle_s)


def test_a_file_is_read_and_the_configuration_wins_over_it(tmp_path: Path) -> None:
    path = tmp_path / "replsession.toml"
    path.write_text(
        '[replsession]\ncluster = "none"\nconcern = "one"\nstale = "error"\n'
        "max_inactive_interval = 60\n"
    )
    one = configured(REPLSESSION_CONFIG=str(path), REPLSESSION_STALE="serve")
    one._config.pop("REPLSESSION_CLUSTER")  # type: ignore[attr-defined]
    application = one.application
    assert application is not None and one.cluster is not None
    assert (application.policy.asked.concern, application.policy.stale) == ("one", "serve")
    session_class = application._session_class
    assert issubclass(session_class, ConfiguredSession)
    assert session_class._idle_s == (60, 60)

    path.write_text('[replsession]\nconcern = "some"\n')
    again = configured(REPLSESSION_CONFIG=str(path))
    with pytest.raises(ConfigError, match=r"^.*replsession\.toml: concern: got 'some'"):
        again.application  # noqa: B018
