"""Promote, roll back, and share traffic: each in one call, effective in this gateway at once, audited."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from flask import Flask, Response, jsonify, request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tidemill_chassis.logs import get_logger
from tidemill_contracts import label_changes
from tidemill_contracts.envelope import field_path
from tidemill_contracts.errors import Conflict, Malformed
from tidemill_contracts.events import Version
from tidemill_contracts.label_changes import LabelChange
from tidemill_contracts.manifest import read_labels
from tidemill_contracts.objects import ObjectStore
from tidemill_contracts.rollout import Rollout, read_rollout, write_rollout

from tidemill_gateway.audit import Audit, Change
from tidemill_gateway.plane.versions import ModelView, Target
from tidemill_gateway.server.wsgi_bridge import CALLER

log = get_logger(__name__)

REASON_LENGTH_MAX = 500


class Promotion(BaseModel):
    """The body of a promotion."""

    model_config = ConfigDict(extra="forbid")

    version: Version
    reason: str = Field(default="", max_length=REASON_LENGTH_MAX)


class Rollback(BaseModel):
    """The body of a rollback; it may be empty."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(default="", max_length=REASON_LENGTH_MAX)


Body = TypeVar("Body", bound=BaseModel)


def add_rollout_routes(
    app: Flask,
    store: ObjectStore,
    audit: Audit,
    find: Callable[[Target], ModelView],
    refresh: Callable[[str], None],
) -> None:
    """Put the routes on the application.

    find: the model of a target; raises NotFound.
    refresh: has this gateway look at a model again, now.
    """

    def told(change: LabelChange) -> Response:
        after = change.labels_after
        log.info("labels_changed_by_hand", model=change.model, action=change.action, by=change.by)
        refresh(change.model)
        return jsonify({"model": change.model, "labels": after.model_dump(exclude_none=True)})

    @app.post("/v1/models/<model>:promote")
    def promote(model: str) -> Response:
        body = _body(Promotion)
        view = find(Target(model))
        if body.version not in view.available:
            raise Conflict(f"version {body.version} of {model} is not loaded: only what answers is promoted")
        return told(label_changes.promote(store, model, body.version, by=_caller(), reason=body.reason))

    @app.post("/v1/models/<model>:rollback")
    def rollback(model: str) -> Response:
        body = _body(Rollback, may_be_empty=True)
        view = find(Target(model))
        previous = read_labels(store, model)[0].previous
        if previous is None:
            raise Conflict(f"{model} has no previous version to roll back to")
        if previous not in view.available:
            raise Conflict(f"version {previous} of {model}, the previous one, is not loaded")
        return told(label_changes.rollback(store, model, by=_caller(), reason=body.reason))

    @app.get("/v1/models/<model>/rollout")
    def rollout(model: str) -> Response:
        find(Target(model))
        return jsonify(read_rollout(store, model)[0].model_dump())

    @app.put("/v1/models/<model>/rollout")
    def set_rollout(model: str) -> Response:
        after = _body(Rollout)
        find(Target(model))
        before, generation = read_rollout(store, model)
        write_rollout(store, model, after, over_generation=generation)
        audit.write(
            Change(
                at=datetime.now(UTC),
                by=_caller(),
                action="rollout",
                model=model,
                rollout_before=before,
                rollout_after=after,
            )
        )
        refresh(model)
        return jsonify(after.model_dump())

    @app.get("/v1/models/<model>/audit")
    def changes(model: str) -> Response:
        find(Target(model))
        latest = [change.model_dump(mode="json", exclude_none=True) for change in audit.latest(model)]
        return jsonify({"model": model, "changes": latest})


def _caller() -> str:
    """Who asks: the name of the key, or the address where no keys are set up."""
    return str(request.environ.get(CALLER) or request.remote_addr or "unknown")


def _body(kind: type[Body], *, may_be_empty: bool = False) -> Body:
    """The JSON body, whatever its content type says. may_be_empty: then nothing is an empty object."""
    data = request.get_data()
    try:
        return kind.model_validate_json(data or b"{}" if may_be_empty else data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise Malformed(f"{field_path(first['loc']) or 'body'}: {first['msg']}") from error
