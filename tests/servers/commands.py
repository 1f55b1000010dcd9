"""
The command lines of ``docs/servers.md``, each by the name that tests call it.

``test_page.py`` holds that the page has these and no others, and that a test runs each.
"""

from __future__ import annotations

UVICORN = "uvicorn shop:app --port 8000 --lifespan on"
UVICORN_WORKERS = (
    "uvicorn shop:app --port 8000 --lifespan on --workers 4 --timeout-worker-healthcheck 60"
)
HYPERCORN = "hypercorn shop:app --bind 127.0.0.1:8000 --workers 4"
GRANIAN = "granian shop:app --interface asgi --port 8000 --workers 4 --respawn-failed-workers"
GRANIAN_WSGI = (
    "granian shop_wsgi:app --interface wsgi --port 8000 --workers 4 --respawn-failed-workers"
)
GUNICORN = "gunicorn shop_wsgi:app --bind 127.0.0.1:8000 --workers 4"
GUNICORN_THREADS = f"{GUNICORN} --worker-class gthread --threads 4"
GUNICORN_PRELOAD = f"{GUNICORN} --preload"
GUNICORN_RECYCLING = f"{GUNICORN} --max-requests 1000 --max-requests-jitter 1000"
GUNICORN_GEVENT = f"{GUNICORN} --worker-class gevent"
GUNICORN_ASGI = "gunicorn shop:app --bind 127.0.0.1:8000 --workers 4 --worker-class asgi"
GUNICORN_UVICORN = (
    "gunicorn shop:app --bind 127.0.0.1:8000 --workers 4 "
    "--worker-class uvicorn.workers.UvicornWorker"
)
WAITRESS = "waitress-serve --listen 127.0.0.1:8000 --threads 8 shop_wsgi:app"
FLASK = "flask --app shop_flask run --port 8000 --debug"
KEEPER = "python keeper.py"
