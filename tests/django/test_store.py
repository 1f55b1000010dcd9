"""
The engine by itself, without a request: what Django's documentation says of a session.

The scenarios are those of ``SessionTestsMixin`` in Django's own tests, told anew.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.contrib.sessions.backends.base import CreateError, UpdateError
from django.core.management import call_command
from django.test import override_settings
from django.utils import timezone
from django.utils.safestring import SafeString, mark_safe

from replsession.django import SessionStore
from replsession.django.configuration import behind
from replsession.errors import SessionError, UnserializableAttribute
from tests.django import project

run = project.run


@pytest.fixture
def session() -> SessionStore:
    return SessionStore()


def saved(**values: Any) -> SessionStore:
    """Return a session that has these, and is saved."""
    store = SessionStore()
    store.update(values)
    store.save()
    return store


def again(store: SessionStore) -> SessionStore:
    """Return what another request finds under the same key."""
    return SessionStore(store.session_key)


def pretend_untouched(store: SessionStore) -> None:
    store.accessed = store.modified = False


def test_a_new_one_is_untouched(session: SessionStore) -> None:
    assert (session.accessed, session.modified, session.session_key) == (False, False, None)
    assert session.is_empty()
    assert session.get("missing") is None
    assert session.accessed
    assert not session.modified


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (lambda s: "n" in s, True),
        (lambda s: s.has_key("n"), True),
        (lambda s: s["n"], 1),
        (lambda s: s.get("n"), 1),
        (lambda s: list(s.keys()), ["n"]),
        (lambda s: list(s.values()), [1]),
        (lambda s: list(s.items()), [("n", 1)]),
        (lambda s: s.setdefault("n", 2), 1),
        (lambda s: s.pop("missing", "default"), "default"),
    ],
)
def test_what_only_reads_modifies_nothing(session: SessionStore, act: Any, expected: Any) -> None:
    session["n"] = 1
    pretend_untouched(session)
    assert act(session) == expected
    assert (session.accessed, session.modified) == (True, False)


@pytest.mark.parametrize(
    ("act", "left"),
    [
        (lambda s: s.__setitem__("n", 2), {"n": 2}),
        (lambda s: s.__delitem__("n"), {}),
        (lambda s: s.pop("n"), {}),
        (lambda s: s.update({"m": 2}), {"n": 1, "m": 2}),
        (lambda s: s.setdefault("m", 2), {"n": 1, "m": 2}),
        (lambda s: s.clear(), {}),
        (lambda s: s.set_test_cookie(), {"n": 1, "testcookie": "worked"}),
    ],
)
def test_what_writes_is_saved(act: Any, left: dict[str, Any]) -> None:
    store = again(saved(n=1))
    act(store)
    assert (store.accessed, store.modified) == (True, True)
    store.save()
    assert dict(again(store).items()) == left
    assert again(store).session_key == store.session_key


@pytest.mark.parametrize(
    ("act", "left"),
    [
        (lambda s: s.aset("n", 2), {"n": 2}),
        (lambda s: s.apop("n"), {}),
        (lambda s: s.aupdate({"m": 2}), {"n": 1, "m": 2}),
        (lambda s: s.asetdefault("m", 2), {"n": 1, "m": 2}),
        (lambda s: s.aset_test_cookie(), {"n": 1, "testcookie": "worked"}),
    ],
)
def test_the_coroutines_do_the_same(act: Any, left: dict[str, Any]) -> None:
    async def scenario() -> None:
        store = again(saved(n=1))
        assert await store.aget("n") == 1
        assert await store.ahas_key("n")
        assert list(await store.akeys()) == ["n"]
        assert list(await store.avalues()) == [1]
        assert not store.modified
        await act(store)
        assert store.modified
        await store.asave()
        assert dict(await again(store).aitems()) == left

    run(scenario())


def test_a_missing_name_is_a_key_error(session: SessionStore) -> None:
    with pytest.raises(KeyError):
        session["missing"]
    with pytest.raises(KeyError):
        session.pop("missing")


def test_the_test_cookie(session: SessionStore) -> None:
    session.set_test_cookie()
    assert session.test_cookie_worked()
    session.delete_test_cookie()
    assert not session.test_cookie_worked()


def test_a_change_in_place_counts_as_modified() -> None:
    store = again(saved(cart=[{"tags": []}]))
    assert store["cart"] == [{"tags": []}]
    assert not store.modified
    store["cart"][0]["tags"].append("new")
    assert store.modified
    store.save()
    assert again(store)["cart"] == [{"tags": ["new"]}]


def test_what_was_passed_over_is_not_modified_until_there_is_more() -> None:
    store = again(saved(cart=[]))
    store["cart"].append(1)
    store.modified = False
    assert not store.modified
    store["cart"].append(2)
    assert store.modified


def test_a_value_that_may_not_be_stored_is_told_by_save(session: SessionStore) -> None:
    session["n"] = 1
    session.save()
    session["cart"] = [object()]
    assert session.modified
    with pytest.raises(UnserializableAttribute, match=r"cart\[0\]"):
        session.save()
    assert dict(again(session).items()) == {"n": 1}


def test_saving_writes_only_what_changed() -> None:
    first = saved(a=1, b=1)
    one, two = again(first), again(first)
    one["a"], two["b"] = 2, 2
    one.save()
    two.save()
    assert dict(again(first).items()) == {"a": 2, "b": 2}


def test_saving_does_not_clear_what_is_there() -> None:
    store = saved(n=1)
    store.save()
    assert store["n"] == 1
    commits = behind().application.manager.metrics.commits
    store.save()
    assert behind().application.manager.metrics.commits == commits


def test_an_empty_one_may_live() -> None:
    store = SessionStore()
    store.save()
    assert store.session_key
    assert again(store).exists(store.session_key)
    other = again(store)
    assert dict(other.items()) == {}
    assert other.session_key == store.session_key
    assert not other.is_empty()


def test_create_makes_one_that_exists_at_once(session: SessionStore) -> None:
    session["n"] = 1
    session.create()
    first = session.session_key
    assert session.exists(first)
    assert session.modified
    session.create()
    assert session.session_key != first
    assert dict(again(session).items()) == {"n": 1}
    assert session.exists(first)


def test_acreate(session: SessionStore) -> None:
    run(session.acreate())
    assert session.session_key
    assert run(session.aexists(session.session_key))


def test_clear_leaves_a_session_without_attributes() -> None:
    store = saved(a=1, b=2)
    other = again(store)
    other["c"] = 3
    store.clear()
    store.save()
    other.save()
    assert dict(again(store).items()) == {"c": 3}


@pytest.mark.parametrize("is_loaded", [False, True])
@pytest.mark.parametrize("kind", ["plain", "coroutine"])
def test_flush_ends_it(is_loaded: bool, kind: str) -> None:
    store = again(saved(n=1))
    key = store.session_key
    if is_loaded:
        assert store["n"] == 1
    store.flush() if kind == "plain" else run(store.aflush())
    assert not store.exists(key)
    assert store.session_key is None
    assert (store.accessed, store.modified) == (True, True)
    assert store.is_empty()
    store["m"] = 1
    store.save()
    assert store.session_key not in (None, key)
    assert dict(again(store).items()) == {"m": 1}
    assert dict(SessionStore(key).items()) == {}


def test_flush_of_an_empty_key_does_nothing() -> None:
    store = SessionStore("")
    store.flush()
    assert store.session_key is None


@pytest.mark.parametrize("kind", ["plain", "coroutine"])
def test_delete(kind: str) -> None:
    store = saved(n=1)
    store.delete() if kind == "plain" else run(store.adelete())
    assert not store.exists(store.session_key)
    assert store["n"] == 1
    other = saved(n=2)
    store.delete(other.session_key) if kind == "plain" else run(store.adelete(other.session_key))
    assert not store.exists(other.session_key)
    store.delete("unknown to everybody")
    SessionStore().delete()


@pytest.mark.parametrize("kind", ["plain", "coroutine"])
@pytest.mark.parametrize("is_loaded", [False, True])
def test_cycle_key(kind: str, is_loaded: bool) -> None:
    store = again(saved(a=1, b=2))
    key = store.session_key
    if is_loaded:
        assert store["a"] == 1
    assert hasattr(store, "_session_cache") is is_loaded
    store.cycle_key() if kind == "plain" else run(store.acycle_key())
    assert store.session_key != key
    assert store.exists(store.session_key)
    assert not store.exists(key)
    assert dict(store.items()) == {"a": 1, "b": 2}
    assert dict(again(store).items()) == {"a": 1, "b": 2}
    assert store.modified


def test_cycle_key_of_what_is_not_there_begins_one(session: SessionStore) -> None:
    session["n"] = 1
    session.cycle_key()
    assert dict(again(session).items()) == {"n": 1}
    unknown = SessionStore("unknown to everybody")
    unknown.cycle_key()
    assert unknown.exists(unknown.session_key)


def test_cycle_key_of_what_was_ended_elsewhere_begins_with_nothing() -> None:
    store = saved(user="anna")
    again(store).flush()
    store.cycle_key()
    store["user"] = "bert"
    store.save()
    assert dict(again(store).items()) == {"user": "bert"}


def test_a_concurrent_write_survives_cycle_key() -> None:
    store = saved(n=1)
    other = again(store)
    other["m"] = 2
    store.cycle_key()
    # Without our middleware only an error keeps the dead id from the browser; the write is kept.
    with pytest.raises(UpdateError):
        other.save()
    assert dict(again(store).items()) == {"n": 1, "m": 2}


def test_the_names_of_our_own() -> None:
    store = saved(n=1)
    assert len(store.id) == 24
    assert store.id not in store.session_key
    assert store.is_new
    assert not store.stale
    assert store.created_at <= store.last_accessed_at
    store.max_inactive_interval = 5
    assert store.modified
    store.save()
    assert again(store).max_inactive_interval == 5
    key = store.session_key
    store.rotate_id()
    assert store.session_key != key
    store.invalidate()
    assert store.session_key is None


def test_a_commit_of_the_application_may_begin_it(session: SessionStore) -> None:
    session["n"] = 1
    session.commit_blocking()
    session["m"] = 2
    session.save()
    assert dict(again(session).items()) == {"n": 1, "m": 2}


@pytest.mark.parametrize("key", ["1", "unknown to everybody", "a" * 83, "x" * 5000, "é" * 83])
def test_a_key_that_is_not_ours_is_never_adopted(key: str) -> None:
    store = SessionStore(key)
    opens = behind().application.manager.metrics.opens
    assert store.get("n") is None
    assert behind().application.manager.metrics.opens == opens
    assert store.session_key is None
    store["n"] = 1
    store.save()
    assert store.session_key not in (None, key)
    assert not store.exists(key)
    assert not store.exists("") and not store.exists(None)


def test_a_key_of_another_secret_is_not_ours_and_one_of_an_older_secret_is() -> None:
    with override_settings(SECRET_KEY="another one"):
        store = saved(n=1)
    assert again(store).get("n") is None
    older = saved(n=1)
    channel = behind().application.channel
    with override_settings(SECRET_KEY="a newer one", SECRET_KEY_FALLBACKS=[project.SECRET]):
        behind().application.manager.channel = channel
        found = again(older)
        assert found["n"] == 1
        # It is signed by the new one from now on.
        assert found.session_key != older.session_key
        assert again(found)["n"] == 1


def test_loading_what_is_not_there_makes_nothing() -> None:
    store = SessionStore("unknown to everybody")
    assert store.load() == {}
    assert store.session_key is None
    with pytest.raises(UpdateError):
        SessionStore("unknown to everybody").save()
    with pytest.raises(UpdateError):
        run(SessionStore("unknown to everybody").asave())


@pytest.mark.parametrize("kind", ["plain", "coroutine"])
def test_saving_never_brings_back_what_was_ended_elsewhere(kind: str) -> None:
    store = saved(n=1)
    again(store).delete()
    store["n"] = 2
    with pytest.raises(UpdateError):
        store.save() if kind == "plain" else run(store.asave())
    assert store.load() == {}


def test_must_create() -> None:
    store = SessionStore()
    store._session_key = store._get_new_session_key()
    store["n"] = 1
    store.save(must_create=True)
    assert dict(again(store).items()) == {"n": 1}
    for taken in (store.session_key, "nobody has signed this"):
        other = SessionStore(taken)
        with pytest.raises(CreateError):
            other.save(must_create=True)
        with pytest.raises(CreateError):
            run(SessionStore(taken).asave(must_create=True))
    store.delete()
    with pytest.raises(CreateError):
        SessionStore(store.session_key).save(must_create=True)
    named = SessionStore(run(store._aget_new_session_key()))
    run(named.asave(must_create=True))
    assert named.exists(named.session_key)


def test_after_the_response_no_key_is_given() -> None:
    store = SessionStore()
    store.response_started()
    store["n"] = 1
    with pytest.raises(SessionError):
        store.save()
    known = saved(n=1)
    known.response_started()
    with pytest.raises(SessionError):
        known.cycle_key()


class TestExpiry:
    """``set_expiry`` in all its forms, and when sessions are really over."""

    def test_it_is_the_cookies_age_by_default(self, session: SessionStore) -> None:
        assert session.get_expiry_age() == settings.SESSION_COOKIE_AGE
        assert saved(n=1).max_inactive_interval == settings.SESSION_COOKIE_AGE

    def test_of_the_settings_max_inactive_interval_counts_first(self) -> None:
        with override_settings(REPLSESSION={"CLUSTER": None, "MAX_INACTIVE_INTERVAL": 7}):
            assert saved(n=1).max_inactive_interval == 7

    def test_a_store_may_have_its_own_age(self) -> None:
        class Brief(SessionStore):
            def get_session_cookie_age(self) -> int:
                return 90

        store = Brief()
        store["n"] = 1
        store.save()
        assert store.max_inactive_interval == 90

    @pytest.mark.parametrize("kind", ["plain", "coroutine"])
    def test_seconds_are_the_idle_interval(self, kind: str) -> None:
        store = saved(n=1)
        store.set_expiry(10) if kind == "plain" else run(store.aset_expiry(10))
        store.save()
        assert again(store).max_inactive_interval == 10
        now = timezone.now()
        assert store.get_expiry_age(modification=now) == 10
        assert store.get_expiry_date(modification=now) == now + timedelta(seconds=10)
        store.set_expiry(None)
        store.save()
        assert again(store).max_inactive_interval == settings.SESSION_COOKIE_AGE

    def test_zero_is_the_end_of_the_browser(self) -> None:
        store = saved(n=1)
        store.set_expiry(0)
        store.save()
        found = again(store)
        assert found.get_expire_at_browser_close()
        assert found.get_expiry_age() == found.max_inactive_interval == settings.SESSION_COOKIE_AGE
        found.set_expiry(None)
        assert not found.get_expire_at_browser_close()

    @pytest.mark.parametrize("form", ["timedelta", "datetime", "naive"])
    def test_a_moment_ends_it_whatever_is_used(self, form: str) -> None:
        given = {
            "timedelta": timedelta(hours=1),
            "datetime": timezone.now() + timedelta(hours=1),
            "naive": datetime.now() + timedelta(hours=1),
        }[form]
        with override_settings(USE_TZ=form != "naive"):
            store = SessionStore()
            store.set_expiry(given)
            store.save()
            assert 3590 < store.get_expiry_age() <= 3600
        found = again(store)
        assert found.max_inactive_interval is None
        limits = found._session._loaded.limits
        assert limits.idle_s is None
        assert 3590 < limits.lifetime_s <= 3600

    def test_a_moment_is_counted_from_now_not_from_the_birth(self) -> None:
        store = saved(n=1)
        store._session._loaded = store._session._loaded._replace(
            created_at=store.created_at - 1000.0
        )
        store.set_expiry(timedelta(seconds=60))
        store.save()
        assert 1050 < again(store)._session._loaded.limits.lifetime_s <= 1061

    def test_the_lifetime_of_the_settings_stays_the_longest(self) -> None:
        with override_settings(REPLSESSION={"CLUSTER": None, "LIFETIME": 30}):
            store = SessionStore()
            store.set_expiry(timedelta(hours=1))
            store.save()
            assert again(store)._session._loaded.limits.lifetime_s == 30

    @pytest.mark.parametrize("over", [-10, -timedelta(seconds=10)])
    def test_what_is_over_is_gone(self, over: Any) -> None:
        store = saved(n=1)
        store.set_expiry(over)
        store.save()
        assert "n" not in again(store)
        assert not again(store).exists(store.session_key)

    def test_a_slow_request_does_not_take_an_expiry_back(self) -> None:
        store = saved(n=1)
        slow = again(store)
        assert slow["n"] == 1
        store.set_expiry(10)
        store.save()
        slow["n"] = 2
        slow.save()
        assert again(store).max_inactive_interval == 10

    def test_clearsessions_has_nothing_to_do(self) -> None:
        store = saved(n=1)
        call_command("clearsessions")
        run(SessionStore.aclear_expired())
        assert again(store)["n"] == 1


def test_values_come_back_as_the_same_types() -> None:
    values = {
        "safe": mark_safe("<b>"),
        "nested": [mark_safe("<i>"), (1, 2), {3: UUID(int=4)}],
        "seen": timezone.now(),
        "price": Decimal("1.10"),
    }
    stored = again(saved(**values))
    assert dict(stored.items()) == values
    assert type(stored["safe"]) is type(stored["nested"][0]) is SafeString
    assert type(stored["nested"][1]) is tuple
