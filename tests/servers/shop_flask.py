"""The same shop under Flask: ``shop_flask:app``."""

from __future__ import annotations

import os
from typing import Any

from flask import Flask, session

from replsession.flask import ReplicatedSession
from tests.servers.shop import cluster, options, told_of_member

app = Flask(__name__)
app.secret_key = options()["secret_key"]
ReplicatedSession(app, cluster=cluster)


@app.post("/count")
def count() -> dict[str, Any]:
    """Count one more."""
    session["n"] = session.get("n", 0) + 1
    return shown()


@app.get("/")
def shown() -> dict[str, Any]:
    """Answer with what was counted."""
    return {"pid": os.getpid(), "n": session.get("n", 0)}


@app.get("/member")
def member() -> dict[str, Any]:
    """Say who answers."""
    return told_of_member()[1]


@app.get("/readyz")
def readyz() -> tuple[dict[str, Any], int]:
    """Say whether this member may be given traffic."""
    status, told = told_of_member()
    return told, status
