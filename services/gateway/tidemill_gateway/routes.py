"""Every route but the hot one: models, their versions, status and metadata, under Flask."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from flask import Flask, Response, jsonify, request
from google.protobuf.json_format import MessageToDict
from tidemill_chassis.rpc.codes import Code
from tidemill_contracts.errors import Malformed, NotFound, TidemillError
from werkzeug.exceptions import HTTPException

from tidemill_gateway.audit import Audit
from tidemill_gateway.model_facts import ModelFacts
from tidemill_gateway.plane.signatures import Signature, TensorSpec, VersionInfo
from tidemill_gateway.plane.version_book import VersionBook
from tidemill_gateway.plane.versions import ModelView, Target, VersionState
from tidemill_gateway.wire import model_pb2 as pb

T = TypeVar("T")
Ask = Callable[[Awaitable[T]], T]
_CODE_NAMES: dict[int, str] = {int(code): code.name for code in Code}
UNNAMED = VersionState(pb.ModelVersionStatus.UNKNOWN)


def add_routes(
    app: Flask,
    book: VersionBook,
    facts: ModelFacts,
    audit: Audit,
    find: Callable[[Target], ModelView],
    describe: Callable[[str, int], VersionInfo],
) -> None:
    """Put the routes on the application.

    find: the model of a target, looked for at serving if it is not known; raises NotFound.
    describe: the signatures of a version that is loaded.
    """

    @app.get("/v1/models")
    def models() -> Response:
        return jsonify({"models": [_summary(view) for _, view in sorted(book.views.items())]})

    @app.get("/v1/models/<model>")
    @app.get("/v1/models/<model>/versions/<int:version>")
    @app.get("/v1/models/<model>/labels/<label>")
    def status(model: str, version: int | None = None, label: str | None = None) -> Response:
        view = find(_target(model, version, label))
        states = dict(view.states)
        if label is not None:
            version = _labelled(view, label)
        if version is not None:
            if version not in states:
                raise NotFound(f"Could not find version {version} of model {model}")
            states = {version: states[version]}
        if not states:
            raise NotFound(f"Could not find any versions of model {model}")
        found = [_status(number, state) for number, state in sorted(states.items(), reverse=True)]
        return jsonify({"model_version_status": found})

    @app.get("/v1/models/<model>/metadata")
    @app.get("/v1/models/<model>/versions/<int:version>/metadata")
    @app.get("/v1/models/<model>/labels/<label>/metadata")
    def metadata(model: str, version: int | None = None, label: str | None = None) -> Response:
        view = find(_target(model, version, label))
        if label is not None:
            version = _labelled(view, label)
        number = version if version is not None else view.stable
        if number is None or number not in view.available:
            raise NotFound(f"Servable not found for request: Specific({model}, {number})")
        raw = MessageToDict(
            describe(model, number).raw,
            preserving_proto_field_name=True,
            always_print_fields_with_no_presence=True,
        )
        spec = {"name": model, "signature_name": "", "version": str(number)}
        return jsonify({"model_spec": spec, "metadata": {"signature_def": raw}})

    @app.get("/v1/models/<model>/versions")
    def versions(model: str) -> Response:
        view = find(_target(model, None, None))
        numbers = sorted({*view.states, *facts.versions(model)}, reverse=True)
        told = [_version(view, number, facts, audit, describe) for number in numbers]
        labels = view.labels.model_dump(exclude_none=True)
        return jsonify({"model": model, "stable": view.stable, "labels": labels, "versions": told})

    @app.errorhandler(404)
    @app.errorhandler(405)
    def malformed(error: HTTPException) -> tuple[Response, int]:
        """TensorFlow Serving knows no 405, and below /v1/ no 404 for paths."""
        path = request.environ.get("RAW_URI", request.path)
        if request.path.startswith("/v1/"):
            return jsonify({"error": f"Malformed request: {request.method} {path}"}), 400
        return jsonify({"error": f"{error.name}: {request.method} {path}"}), error.code or 404


def _target(model: str, version: int | None, label: str | None) -> Target:
    if ":" in model or (label is not None and ":" in label):
        raise Malformed(f"Malformed request: {request.method} {request.path}")
    return Target(model, version, label)


def _labelled(view: ModelView, label: str) -> int:
    version = view.stable if label == "stable" else view.labels.model_dump().get(label)
    if version is None:
        raise Malformed(f"Unrecognized servable version label: {label}")
    return int(version)


def _summary(view: ModelView) -> dict[str, Any]:
    return {
        "name": view.name,
        "ready": view.stable is not None,
        "stable": view.stable,
        "labels": view.labels.model_dump(exclude_none=True),
        "versions": sorted(view.available, reverse=True),
    }


def _status(version: int, seen: VersionState) -> dict[str, Any]:
    error = {"error_code": _CODE_NAMES.get(seen.error_code, "UNKNOWN"), "error_message": seen.error_message}
    return {"version": str(version), "state": _state(seen), "status": error}


def _state(seen: VersionState) -> str:
    return str(pb.ModelVersionStatus.State.Name(seen.state))


def _version(
    view: ModelView,
    version: int,
    facts: ModelFacts,
    audit: Audit,
    describe: Callable[[str, int], VersionInfo],
) -> dict[str, Any]:
    seen = view.states.get(version, UNNAMED)
    told: dict[str, Any] = {
        "version": version,
        "state": _state(seen),
        "labels": list(view.labels_of(version)),
    }
    if seen.error_code:
        told["error"] = {"code": _CODE_NAMES.get(seen.error_code, "UNKNOWN"), "message": seen.error_message}
    if version in view.available:
        told["signatures"] = _signatures(view.name, version, describe)
    promotion = audit.promotion(view.name, version)
    if promotion is not None:
        told["promoted"] = promotion.model_dump(mode="json", include={"at", "by", "action", "reason"})
    return {**facts.of(view.name, version), **told}


def _signatures(
    model: str, version: int, describe: Callable[[str, int], VersionInfo]
) -> dict[str, Any] | None:
    """Every signature by name; None while serving does not tell: no reason to tell nothing at all."""
    try:
        signatures = describe(model, version).signatures
    except TidemillError:
        return None
    return {name: _signature(one) for name, one in sorted(signatures.items())}


def _signature(signature: Signature) -> dict[str, Any]:
    tensors = {"inputs": _tensors(signature.inputs), "outputs": _tensors(signature.outputs)}
    return {"method": signature.method, **tensors}


def _tensors(specs: tuple[TensorSpec, ...]) -> dict[str, Any]:
    return {
        spec.name: {"dtype": spec.type_name, "shape": None if spec.shape is None else list(spec.shape)}
        for spec in specs
    }
