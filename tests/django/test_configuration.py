"""Settings: what is read, what is refused, and by which name it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from replsession import Cluster, ConfigError
from replsession.django.configuration import OPTIONS, behind, check_order
from replsession.web.application import Options
from tests.django.project import OURS, SECRET, SESSIONS


class Heard:
    """A listener that a dotted path names."""

    def session_created(self, event: Any) -> None:
        """Hear of a session."""


HEARD = Heard()


def of(**options: Any) -> Any:
    """Return what stands behind the engine with these settings."""
    with override_settings(REPLSESSION={"CLUSTER": None, **options}):
        return behind()


def refused(**options: Any) -> ConfigError:
    """Return the error of these settings."""
    with pytest.raises(ConfigError) as caught:
        of(**options)
    return caught.value


def test_every_option_of_the_front_doors_is_a_name() -> None:
    assert sorted(OPTIONS) == sorted(name.upper() for name in Options.__annotations__)
    given = {
        "CONTEXT": "/shop",
        "MAX_INACTIVE_INTERVAL": 60,
        "LIFETIME": 600,
        "URL_TRACKING": False,
        "VALVE": r".*\.ico",
        "LISTENERS": [],
        "NOTIFY_LISTENERS_ON_REPLICATION": False,
        "EXPIRE_SESSIONS_ON_SHUTDOWN": True,
        "REQUIRED": True,
        "CONCERN": "majority",
        "ACK_TIMEOUT_S": 2.0,
        "ON_SHORTFALL": "warn",
        "EXPECTED_MEMBERS": 3,
        "STALE": "error",
    }
    application = of(**given).application
    assert application.manager.context == "/shop"
    limits = application.manager.session_limits
    assert (limits.idle_s, limits.lifetime_s) == (60, 600)
    assert not application.valve.admits("/favicon.ico")
    assert application.policy.asked == ("majority", 2.0, 3)
    assert (application.policy.on_shortfall, application.policy.stale) == ("warn", "error")


def test_it_is_made_once() -> None:
    assert behind() is behind()
    before = behind()
    with override_settings(SESSION_COOKIE_AGE=60):
        assert behind() is not before
        assert behind().application.manager.session_limits.idle_s == 60
        assert behind().follows_cookie_age
    assert not of(MAX_INACTIVE_INTERVAL=5).follows_cookie_age
    with override_settings(USE_TZ=False):
        assert behind() is behind()


def test_without_the_setting_it_is_the_cluster_of_this_host() -> None:
    with override_settings(REPLSESSION={}):
        settings = behind().application.channel.settings
    assert settings is not None
    assert settings.on_this_host
    assert settings.secret == SECRET


@pytest.mark.parametrize(
    ("cluster", "name"),
    [("local", "local"), ("lan:shop", "shop"), ("none", None), (Cluster.lan("x"), "x")],
)
def test_a_cluster_or_a_text(cluster: Any, name: str | None) -> None:
    with override_settings(SECRET_KEY="k2Vd9-mQx7RtY4bLw1ZpN8sHc5JfG3aU_eXo6TiBrDy"):
        settings = of(CLUSTER=cluster).application.channel.settings
    assert (settings and settings.name) == name


def test_a_text_goes_with_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLSESSION_CLUSTER", "none")
    monkeypatch.setenv("REPLSESSION_PORT", "4321")
    assert of(CLUSTER="local").application.channel.settings.port == 4321
    monkeypatch.setenv("REPLSESSION_PORT", "no number")
    assert refused(CLUSTER="local").field == "REPLSESSION_PORT"


def test_a_file_says_what_the_setting_does_not(tmp_path: Path) -> None:
    path = tmp_path / "replsession.toml"
    path.write_text(
        '[replsession]\ncluster = "none"\nconcern = "one"\nstale = "error"\n'
        "max_inactive_interval = 60\n"
    )
    made = of(CLUSTER=Cluster.from_toml(path), STALE="serve")
    assert (made.application.policy.asked.concern, made.application.policy.stale) == (
        "one",
        "serve",
    )
    assert not made.follows_cookie_age
    path.write_text('[replsession]\ncluster = "none"\nurl_tracking = true\n')
    assert refused(CLUSTER=Cluster.from_toml(path)).field == f"{path}: url_tracking"


@pytest.mark.parametrize(
    ("options", "field", "says"),
    [
        ({"CLUSTER": "wan"}, "REPLSESSION['CLUSTER']", "lan:NAME"),
        ({"CLUSTER": 7}, "REPLSESSION['CLUSTER']", "Cluster.local()"),
        ({"CONCERN": "some"}, "REPLSESSION['CONCERN']", "majority"),
        ({"STALE": "perhaps"}, "REPLSESSION['STALE']", "serve"),
        ({"LIFETIME": -1}, "REPLSESSION['LIFETIME']", "above 0"),
        ({"URL_TRACKING": True}, "REPLSESSION['URL_TRACKING']", "False"),
        ({"PRIMARY_INDICATOR": "mine"}, "REPLSESSION['PRIMARY_INDICATOR']", "None"),
        ({"LOCAL_ATTRIBUTES": "x"}, "REPLSESSION['LOCAL_ATTRIBUTES']", "every member"),
        ({"LISTENERS": ["no.such.Thing"]}, "REPLSESSION['LISTENERS']", "dotted path"),
        ({"CONCERNS": "one"}, "REPLSESSION['CONCERNS']", "did you mean 'CONCERN'?"),
        ({"concern": "one"}, "REPLSESSION['concern']", "did you mean 'CONCERN'?"),
        ({"SECRET": "hidden"}, "REPLSESSION['SECRET']", "CLUSTER"),
        ({7: "hidden"}, "REPLSESSION[7]", "CLUSTER"),
    ],
)
def test_what_is_refused(options: dict[Any, Any], field: str, says: str) -> None:
    with override_settings(REPLSESSION={"CLUSTER": None, **options}):
        with pytest.raises(ConfigError) as caught:
            behind()
    assert caught.value.field == field
    assert says in caught.value.allowed
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"SECRET_KEY": ""}, "SECRET_KEY"),
        ({"SECRET_KEY_FALLBACKS": [7]}, "SECRET_KEY"),
        ({"SESSION_COOKIE_NAME": "a cookie"}, "SESSION_COOKIE_NAME"),
        ({"REPLSESSION": "lan:shop"}, "REPLSESSION"),
    ],
)
def test_settings_of_django_are_called_by_their_names(settings: Any, field: str) -> None:
    with override_settings(**settings):
        if field == "SECRET_KEY" and settings.get("SECRET_KEY") == "":
            # Django itself does not let it be read.
            with pytest.raises(Exception, match="SECRET_KEY"):
                behind()
            return
        if field == "SESSION_COOKIE_NAME":
            with override_settings(REPLSESSION={"CLUSTER": None, "CONTEXT": "/other"}):
                with pytest.raises(ConfigError, match=field):
                    behind()
            return
        with pytest.raises(ConfigError, match=field):
            behind()


def test_listeners_may_be_dotted_paths() -> None:
    here = "tests.django.test_configuration"
    listeners = [f"{here}.Heard", f"{here}.HEARD", HEARD]
    heard = of(LISTENERS=listeners).application.manager._listeners
    assert heard


@pytest.mark.parametrize(
    ("names", "is_right"),
    [
        ([OURS, SESSIONS], True),
        ([SESSIONS], True),
        ([OURS], True),
        (["somebody.Else", OURS, "another.One", SESSIONS], True),
        ([SESSIONS, OURS], False),
    ],
)
def test_the_order_of_middlewares(names: list[str], is_right: bool) -> None:
    with override_settings(MIDDLEWARE=names):
        if is_right:
            check_order()
        else:
            with pytest.raises(ConfigError, match="MIDDLEWARE"):
                check_order()
