"""
The counter page's application under Flask: the same page and endpoints over ``flask.session``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import cast

from flask import Flask, Response, current_app, jsonify, request, session
from flask.json.provider import DefaultJSONProvider
from werkzeug.exceptions import BadRequest, HTTPException, RequestEntityTooLarge

from demo_app.listener import LoggingListener
from demo_app.visits import (
    BODY_BYTES_MAX,
    CONTEXT,
    NOT_STORED,
    TOO_LONG,
    Place,
    count_visit,
    json_object,
    place,
)
from replsession import Session, SessionError
from replsession.flask import ReplicatedSession


def create_app(environment: Mapping[str, str] = os.environ) -> Flask:
    """
    Return the application, configured by the environment.

    Args:
        environment: As for :func:`demo_app.visits.place`.

    Raises:
        ConfigError: the secret is missing, or a variable has a value that is not allowed.
    """
    here = place(environment)
    app = Flask("demo_app", static_folder=None)
    app.config.update(
        SECRET_KEY=here.secret,
        SESSION_COOKIE_SAMESITE="Lax",
        MAX_CONTENT_LENGTH=BODY_BYTES_MAX,
        REPLSESSION_CLUSTER=here.cluster,
        REPLSESSION_CONTEXT=CONTEXT,
        REPLSESSION_URL_TRACKING=True,
        REPLSESSION_VALVE=here.valve,
        REPLSESSION_LISTENERS=[LoggingListener()],
    )
    ReplicatedSession(app)
    # In the order in which attributes were set, as the other application answers.
    cast("DefaultJSONProvider", app.json).sort_keys = False
    app.extensions["place"] = here
    # As the other application: "//" in the name of an attribute is no mistake of the client.
    app.url_map.merge_slashes = False
    app.add_url_rule("/", view_func=home)
    app.add_url_rule("/session.json", view_func=session_json)
    app.add_url_rule("/attributes", view_func=set_attributes, methods=["POST"])
    for rule in ("/attributes/", "/attributes/<path:name>"):
        app.add_url_rule(rule, view_func=remove_attribute, methods=["DELETE"])
    app.add_url_rule("/logout", view_func=logout, methods=["POST"])
    app.add_url_rule("/rotate", view_func=rotate, methods=["POST"])
    app.add_url_rule("/readyz", view_func=readyz)
    app.register_error_handler(HTTPException, error_json)
    return app


def home() -> Response:
    """Count a visit, and show the page."""
    page = place_here().page(count_visit(session_here()), request.headers.get("Host", ""))
    return Response(page, headers=NOT_STORED)


def session_json() -> Response:
    """Count a visit, and answer with the session."""
    count_visit(session_here())
    return answer()


def set_attributes() -> Response:
    """Set the attributes that the body names; what may not be stored changes nothing."""
    try:
        session.update(json_object(request.get_data()))
    except ValueError as error:
        raise BadRequest(str(error)) from error
    return answer()


def remove_attribute(name: str = "") -> Response:
    """Remove one attribute, if it is there; the last one ends the session."""
    session.pop(name, None)
    return answer()


def logout() -> Response:
    """End the session, on every member."""
    session_here().invalidate()
    return answer()


def rotate() -> Response:
    """Give the session another id, as after a login."""
    session_here().rotate_id()
    return answer()


def readyz() -> tuple[dict[str, object], int]:
    """Say whether this member may be given traffic."""
    return place_here().state


def error_json(error: HTTPException) -> tuple[Response, int]:
    """
    Answer with what is wrong, as JSON like everything else.

    A session is committed when the response is there; what it refuses arrives as an error 500.
    """
    original = getattr(error, "original_exception", None)
    if isinstance(original, SessionError):
        return jsonify(error=str(original)), 400
    text = TOO_LONG if isinstance(error, RequestEntityTooLarge) else error.description
    return jsonify(error=text), error.code or 500


def session_here() -> Session:
    """Return ``flask.session`` as what it is: Flask's types know only what all sessions have."""
    return cast("Session", session)


def place_here() -> Place:
    """Return where the application runs."""
    here = current_app.extensions["place"]
    assert isinstance(here, Place)
    return here


def answer() -> Response:
    """Return the session as JSON."""
    response = jsonify(place_here().told(session_here()))
    response.headers.update(NOT_STORED)
    return response
