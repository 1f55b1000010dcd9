"""
The application as a server loads it, and its log.

::

    REPLSESSION_SECRET=… uvicorn demo_app.asgi:app --port 8080 --lifespan on
"""

from __future__ import annotations

import logging

from demo_app.application import create_app

logging.basicConfig(
    level=logging.INFO,
    format="%(asctime)s.%(msecs)03d %(levelname)-7s %(message)s",
    datefmt="%H:%M:%S",
)
app = create_app()
