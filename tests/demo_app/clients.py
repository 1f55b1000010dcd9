"""Browsers for the demo's application under each of its frameworks, without a server."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import httpx
from starlette.testclient import TestClient
from werkzeug.test import create_environ, run_wsgi_app

from demo_app import application, flask_application
from demo_app.visits import Place

FRAMEWORKS = ("starlette", "flask")


class WsgiTransport(httpx.BaseTransport):
    """Calls a WSGI application, and says the URI as it was sent, as good servers do."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Return what the application answers."""
        environ = create_environ(
            base_url=f"{request.url.scheme}://{request.headers['host']}/",
            method=request.method,
            headers=list(request.headers.items()),
            input_stream=io.BytesIO(request.read()),
        )
        environ["PATH_INFO"] = request.url.path.encode().decode("latin-1")
        environ["REQUEST_URI"] = environ["RAW_URI"] = request.url.raw_path.decode()
        chunks, status, headers = run_wsgi_app(self._app, environ)
        body = b"".join(chunks)
        chunks.close()  # type: ignore[attr-defined]
        return httpx.Response(
            int(status.split()[0]), headers=list(headers), content=body, request=request
        )


class Running:
    """The application under a framework."""

    def __init__(self, framework: str, environment: Mapping[str, str]) -> None:
        self.app: Any
        if framework == "flask":
            self.app = flask_application.create_app(environment)
        else:
            self.app = application.create_app(environment)

    def client(self, base_url: str = "http://127.0.0.1:8080") -> Any:
        """Return a browser without a session."""
        if hasattr(self.app, "wsgi_app"):
            return httpx.Client(transport=WsgiTransport(self.app), base_url=base_url)
        return TestClient(self.app, base_url=base_url)

    @property
    def place(self) -> Place:
        """Where the application runs."""
        here = (
            self.app.extensions["place"] if hasattr(self.app, "wsgi_app") else self.app.state.place
        )
        assert isinstance(here, Place)
        return here

    @place.setter
    def place(self, here: Place) -> None:
        if hasattr(self.app, "wsgi_app"):
            self.app.extensions["place"] = here
        else:
            self.app.state.place = here
