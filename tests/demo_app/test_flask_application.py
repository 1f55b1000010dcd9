"""What of the application under Flask is Flask's; the endpoints are tested with the other's."""

from __future__ import annotations

from demo_app.flask_application import create_app
from tests.demo_app.test_application import ALONE


def test_the_cookie_is_as_that_of_the_other_application() -> None:
    answer = create_app(ALONE).test_client().get("/")
    cookie = answer.headers["Set-Cookie"].lower()
    assert cookie.startswith("session=")
    assert "httponly" in cookie and "samesite=lax" in cookie and "path=/" in cookie


def test_there_are_no_files_beside_the_page() -> None:
    assert create_app(ALONE).test_client().get("/static/page.html").status_code == 404


def test_two_applications_have_settings_of_their_own() -> None:
    one, two = create_app(ALONE), create_app({**ALONE, "REPLSESSION_MEMBER_NAME": "other"})
    told = [app.test_client().get("/session.json").json for app in (one, two)]
    assert [each["member"] for each in told if each] == ["member-1", "other"]
