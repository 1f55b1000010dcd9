"""Signatures of administrators' requests: what they cover, and how long they are good."""

from __future__ import annotations

import time

import pytest

from replsession.config import CONTROL_CLOCKS_APART_S
from replsession.security.keys import ClusterKeys
from replsession.security.signing import WrongSignature, check_signature, signature

SECRET = "s1gNing-mQx7RtY4bLw1ZpN8sHc5JfG3aU_eXo6TiBrDy"
KEY = ClusterKeys(SECRET, "shop").control_key
REQUEST = ("POST", "/status", b'{"a":1}')


def refusal(given: str, *request: object, key: bytes = KEY, wall_s: float | None = None) -> str:
    method, path, body = request or REQUEST
    assert isinstance(method, str) and isinstance(path, str) and isinstance(body, bytes)
    with pytest.raises(WrongSignature) as caught:
        check_signature(key, given, method, path, body, time.time() if wall_s is None else wall_s)
    return str(caught.value)


def test_what_was_signed_is_answered_within_the_bound_either_way() -> None:
    given = signature(KEY, *REQUEST)
    now = time.time()
    for apart_s in (0, CONTROL_CLOCKS_APART_S - 5, 5 - CONTROL_CLOCKS_APART_S):
        check_signature(KEY, given, *REQUEST, now + apart_s)


@pytest.mark.parametrize(("apart_s", "word"), [(1000, "ago"), (-1000, "ahead")])
def test_clocks_too_far_apart_are_named(apart_s: int, word: str) -> None:
    told = refusal(signature(KEY, *REQUEST), wall_s=time.time() + apart_s)
    assert word in told and "look at the clocks" in told


@pytest.mark.parametrize(
    "changed",
    [
        ("GET", "/status", b'{"a":1}'),
        ("POST", "/sessions", b'{"a":1}'),
        ("POST", "/status", b'{"a":2}'),
        ("POST", "/status", b""),
        ("POST/", "status", b'{"a":1}'),
        ("POST", "/status\ud800", b'{"a":1}'),
    ],
)
def test_method_path_and_body_are_covered(changed: tuple[str, str, bytes]) -> None:
    assert refusal(signature(KEY, *REQUEST), *changed).startswith("wrong signature")


@pytest.mark.parametrize("given", ["x", ".", "a.b", "a.b.c", "é", "x" * 10_000, "\0", "MQ.x"])
def test_any_other_text_is_refused(given: str) -> None:
    assert refusal(given).startswith("wrong signature")


def test_the_time_cannot_be_changed() -> None:
    stamp, _, mac = signature(KEY, *REQUEST).partition(".")
    other = ("A" if stamp[0] != "A" else "B") + stamp[1:]
    assert refusal(f"{other}.{mac}").startswith("wrong signature")


def test_without_one_it_says_so() -> None:
    assert refusal("") == "no signature: X-Replsession-Signature is missing"


def test_another_secret_and_another_cluster_sign_for_nobody_here() -> None:
    for keys in (ClusterKeys(SECRET, "other"), ClusterKeys(SECRET + "x", "shop")):
        assert refusal(signature(keys.control_key, *REQUEST)).startswith("wrong signature")
        # A key is for one use: that of heartbeats signs no request.
        assert keys.control_key not in (keys.heartbeat_key, keys.ca_seed)
    assert refusal(signature(ClusterKeys(SECRET, "shop").heartbeat_key, *REQUEST))
