"""
One member of the counter page, in this process: for a cluster of several hosts.

::

    replsession demo --config server.xml --secret-file secret.txt

What the file says of the cluster and its applications holds; the page only adds what it needs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

FRAMEWORKS: Final = ("starlette", "flask")
REQUEST_GRACE_S: Final = 3
"""How long uvicorn waits for requests that still run when it is told to stop."""


@dataclass(frozen=True, slots=True)
class Serving:
    """
    What one member is told.

    Args:
        config: Path of a ``server.xml`` or a TOML file.
        secret_file: Path of the secret's file; None: the configuration has it, or the environment.
        host: Address to listen on for browsers.
        port: Its port.
        framework: ``starlette`` or ``flask``.
    """

    config: str
    secret_file: str | None
    host: str
    port: int
    framework: str = "starlette"

    def environment(self) -> Mapping[str, str]:
        """Return the variables that say so to :func:`demo_app.visits.place`."""
        said = {"REPLSESSION_CONFIG": self.config}
        if self.secret_file is not None:
            said["REPLSESSION_SECRET_FILE"] = self.secret_file
        return said

    def run(self, begins: Callable[[], None]) -> None:
        """
        Serve until a signal comes.

        Args:
            begins: Called when the application is made, before it is served.

        Raises:
            ConfigError: the configuration has something that is not allowed, or no secret.
        """
        os.environ.update(self.environment())
        if self.framework == "flask":
            from demo_app import wsgi

            begins()
            wsgi.serve(f"{self.host}:{self.port}")
            return
        import uvicorn

        from demo_app.asgi import app

        begins()
        uvicorn.run(
            app,
            host=self.host,
            port=self.port,
            lifespan="on",
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=REQUEST_GRACE_S,
        )
