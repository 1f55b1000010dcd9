"""
A Django project for tests: configured once in a process, where nothing else reads its settings.

What a page does is told by the test that asks for it. Nothing listens: clients call the handlers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import django
from asgiref.sync import async_to_sync
from django.conf import settings

OURS = "replsession.django.Middleware"
SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
SECRET = "a secret of these tests alone, which is long"

settings.configure(
    ALLOWED_HOSTS=["*"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.messages",
        "django.contrib.sessions",
    ],
    LOGGING_CONFIG=None,
    MIDDLEWARE=[
        OURS,
        SESSIONS,
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    REPLSESSION={"CLUSTER": None},
    ROOT_URLCONF=__name__,
    SECRET_KEY=SECRET,
    SESSION_ENGINE="replsession.django",
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
    USE_TZ=True,
)
django.setup()

from django.contrib import admin  # noqa: E402 - Django wants its settings first
from django.http import HttpResponse, HttpResponseBase, JsonResponse  # noqa: E402
from django.test import AsyncClient, Client  # noqa: E402
from django.urls import path  # noqa: E402

Session = Any
Act = Callable[[Session], object]
View = Callable[[Any], HttpResponseBase]

SEEN = "sessionid_seen"
pages: dict[str, Callable[[Any], Any]] = {}


def sync_page(request: Any, name: str = "") -> Any:
    """Do what the test said, in a thread where the server has a loop."""
    return pages[name](request)


async def async_page(request: Any, name: str = "") -> Any:
    """The same on the loop."""
    return await pages[name](request)


urlpatterns = [
    path("admin/", admin.site.urls),
    path("async/<str:name>", async_page),
    path("page/<str:name>", sync_page),
]


def answered(found: object) -> HttpResponseBase:
    """Return the response for what a page returned."""
    if isinstance(found, HttpResponseBase):
        return found
    return JsonResponse(found, safe=False) if found is not None else HttpResponse()


class Browser:
    """
    One browser, which asks plain views under a server without a loop.

    Args:
        like: Begins with the cookies of this one.
    """

    def __init__(self, like: Browser | None = None) -> None:
        self.client = Client(raise_request_exception=False)
        if like is not None:
            self.client.cookies.load(
                {name: morsel.value for name, morsel in like.client.cookies.items()}
            )

    @property
    def cookie(self) -> str | None:
        """The session's id, as it is kept."""
        morsel = self.client.cookies.get("sessionid")
        return None if morsel is None or not morsel.value else str(morsel.value)

    @cookie.setter
    def cookie(self, value: str) -> None:
        self.client.cookies["sessionid"] = value

    def ask(self, act: Act, name: str = "one", **sent: Any) -> Any:
        """Ask for a page that does this with its session."""
        return self.view(lambda request: answered(act(request.session)), name, **sent)

    def view(self, view: View, name: str = "one", **sent: Any) -> Any:
        """Ask for a page that this view makes."""
        pages[name] = view
        return self.client.get(f"/page/{name}", **sent)

    def content(self) -> Any:
        """Return what a page finds in the session."""
        return self.ask(lambda session: dict(session.items()), "content").json()


class LoopBrowser:
    """The same for coroutine views under a server with a loop."""

    def __init__(self, like: LoopBrowser | None = None) -> None:
        self.client = AsyncClient(raise_request_exception=False)
        if like is not None:
            self.client.cookies.load(
                {name: morsel.value for name, morsel in like.client.cookies.items()}
            )

    async def ask(self, act: Callable[[Session], Awaitable[object]], name: str = "one") -> Any:
        """Ask for a page that does this with its session."""

        async def view(request: Any) -> HttpResponseBase:
            return answered(await act(request.session))

        return await self.view(view, name)

    async def view(self, view: Callable[[Any], Awaitable[Any]], name: str = "one") -> Any:
        """Ask for a page that this view makes."""
        pages[name] = view
        return await self.client.get(f"/async/{name}")

    async def ask_sync(self, act: Act, name: str = "plain") -> Any:
        """Ask for a plain view under the same server."""
        pages[name] = lambda request: answered(act(request.session))
        return await self.client.get(f"/page/{name}")

    async def content(self) -> Any:
        """Return what a page finds in the session."""

        async def all_of(session: Session) -> object:
            return dict(await session.aitems())

        return (await self.ask(all_of, "content")).json()


def put(**values: Any) -> Act:
    """Return an act that writes these."""
    return lambda session: session.update(values)


def run(work: Awaitable[Any]) -> Any:
    """Run a test's coroutine; plain code that it calls runs in this thread, as Django does it."""

    async def main() -> Any:
        return await work

    return async_to_sync(main)()
