"""
The application as a server loads it, and its log.

::

    REPLSESSION_SECRET=… uvicorn demo_app.asgi:app --port 8080 --lifespan on
"""

from __future__ import annotations

from demo_app.application import create_app
from demo_app.listener import begin_log

begin_log()
app = create_app()
