"""Every route but the hot one, as one Flask application, and its way back to the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from flask import Flask
from tidemill_chassis.web import create_app
from tidemill_contracts.errors import NotFound, Unavailable
from tidemill_contracts.objects import ObjectStore

from tidemill_gateway.audit import Audit
from tidemill_gateway.front_routes import add_front_routes
from tidemill_gateway.model_facts import ModelFacts
from tidemill_gateway.plane.signatures import SignatureCache, VersionInfo
from tidemill_gateway.plane.version_book import VersionBook
from tidemill_gateway.plane.versions import ModelView, Target
from tidemill_gateway.rollout_routes import add_rollout_routes
from tidemill_gateway.routes import add_routes

ASK_S_MAX = 10.0
"""How long a route waits for something that the event loop does for it."""

T = TypeVar("T")


def make_flask(
    book: VersionBook,
    signatures: SignatureCache,
    facts: ModelFacts,
    store: ObjectStore,
    *,
    body_bytes_max: int,
    ready: Callable[[], None],
) -> Flask:
    """The application; call it in the event loop that `book` belongs to, run it in other threads."""
    app = create_app(
        "gateway",
        body_bytes_max=body_bytes_max,
        ready=ready,
        render_error=lambda _kind, message, _field: {"error": message},
    )
    ask = _asker(asyncio.get_running_loop())

    def find(target: Target) -> ModelView:
        view = book.views.get(target.model)
        if view is None:
            ask(book.refresh_model(target.model))
            view = book.views.get(target.model)
        if view is None:
            raise NotFound(f"Could not find any versions of model {target.model}")
        return view

    def describe(model: str, version: int) -> VersionInfo:
        return ask(signatures.get(model, version))

    def refresh(model: str) -> None:
        ask(book.refresh_model(model))

    audit = Audit(store)
    add_routes(app, book, facts, audit, find, describe)
    add_front_routes(app)
    add_rollout_routes(app, store, audit, find, refresh)
    return app


def _asker(loop: asyncio.AbstractEventLoop) -> Callable[[Coroutine[Any, Any, T]], T]:
    """A function for other threads, that has the event loop do something and waits for it."""

    def ask(work: Coroutine[Any, Any, T]) -> T:
        try:
            return asyncio.run_coroutine_threadsafe(work, loop).result(ASK_S_MAX)
        except TimeoutError as error:
            raise Unavailable("the gateway is busy: try again in a moment") from error

    return ask
