"""The OpenAPI document and the code say the same, and nothing that the document allows breaks the gateway."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import jsonschema
import pytest
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st
from tidemill_gateway.audit import Audit
from tidemill_gateway.front_routes import add_front_routes
from tidemill_gateway.model_facts import ModelFacts
from tidemill_gateway.rollout_routes import add_rollout_routes
from tidemill_gateway.routes import add_routes

from tests.emulators.gateway_process import GatewayProcess, image

OTHERS = {"/healthz", "/readyz", "/metrics"}


@pytest.fixture(scope="module")
def document(shared_gateway: GatewayProcess) -> dict[str, Any]:
    found: dict[str, Any] = shared_gateway.ask("GET", "/openapi.json").json
    return found


def test_every_route_is_described_and_every_description_is_a_route(document: dict[str, Any]) -> None:
    app: Any = Flask("routes")
    nothing: Any = None
    add_routes(app, nothing, ModelFacts(nothing), Audit(nothing), nothing, nothing)
    add_rollout_routes(app, nothing, Audit(nothing), nothing, nothing)
    add_front_routes(app)
    coded = {
        (str(rule).replace("<int:", "<").replace("<", "{").replace(">", "}"), method)
        for rule in app.url_map.iter_rules()
        if rule.endpoint != "static"
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }

    described = {
        (path, method.upper())
        for path, item in document["paths"].items()
        for method in item.keys() & {"get", "post", "put", "delete"}
        if path not in OTHERS and not path.endswith((":predict", ":classify", ":regress"))
    }

    assert coded == described


def test_answers_fit_their_schemas(shared_gateway: GatewayProcess, document: dict[str, Any]) -> None:
    def check(name: str, value: object) -> None:
        schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        jsonschema.validate(value, schema)

    check("Status", shared_gateway.ask("GET", "/v1/models/digits").json)
    check("Rollout", shared_gateway.ask("GET", "/v1/models/digits/rollout").json)
    check("PredictRequest", {"instances": [image(1.0)]})
    check("PredictResponse", shared_gateway.predict({"instances": [image(1.0)]}).json)
    check("Error", shared_gateway.predict(b"").json)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(["digits", "digits", "letters"]) | st.text(min_size=1, max_size=20)
BODIES = (
    VALUES
    | st.fixed_dictionaries({"instances": VALUES}, optional={"signature_name": VALUES, "inputs": VALUES})
    | st.fixed_dictionaries({"inputs": VALUES})
    | st.fixed_dictionaries({}, optional={"version": VALUES, "reason": VALUES, "candidate_percent": VALUES})
)
HEADERS = st.dictionaries(
    st.sampled_from(["X-Request-Timeout", "X-Tidemill-Sticky", "Content-Type", "Accept", "Content-Encoding"]),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30).map(str.strip),
    max_size=3,
)


@settings(max_examples=300, deadline=None)
@given(data=st.data(), name=NAMES, body=BODIES, headers=HEADERS)
def test_whatever_is_sent_the_answer_is_a_status_with_a_reason_and_never_500(
    shared_gateway: GatewayProcess,
    document: dict[str, Any],
    data: Any,
    name: str,
    body: Any,
    headers: dict[str, str],
) -> None:
    path, item = data.draw(st.sampled_from(sorted(document["paths"].items())))
    method = data.draw(st.sampled_from(sorted({"get", "post", "put", "delete"} & item.keys()) or ["get"]))
    filled = (
        path.replace("{model}", quote(name, safe="")).replace("{version}", "1").replace("{label}", "stable")
    )

    answer = shared_gateway.ask(method.upper(), filled, json.dumps(body).encode(), headers)

    assert answer.status < 500 or (path == "/readyz" and answer.status == 503), (answer.status, answer.body)
    if answer.status >= 400:
        assert answer.json["error"]


def test_the_gateway_survived_all_of_it(shared_gateway: GatewayProcess) -> None:
    assert shared_gateway.predict({"instances": [image(1.0)]}).status == 200
    assert shared_gateway.process.poll() is None
