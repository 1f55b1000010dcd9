"""
The Flask application as a server loads it, and a server for it.

::

    REPLSESSION_SECRET=… gunicorn --threads 4 --bind 127.0.0.1:8080 demo_app.wsgi:app
    REPLSESSION_SECRET=… python -m demo_app.wsgi 127.0.0.1:8080
"""

from __future__ import annotations

import signal
import sys
from types import FrameType

from demo_app.flask_application import create_app
from demo_app.listener import begin_log

begin_log()
app = create_app()


def serve(address: str) -> None:
    """
    Serve the application with waitress until a signal comes.

    Args:
        address: ``HOST:PORT``.
    """
    import waitress

    def stop(number: int, frame: FrameType | None) -> None:
        # Waitress hears of Ctrl-C only: SIGTERM would end the process before it says goodbye.
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    waitress.serve(app, listen=address, threads=8, _quiet=True)


if __name__ == "__main__":
    serve(sys.argv[1])
