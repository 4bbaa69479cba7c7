"""Schemathesis over the OpenAPI document, and the JSON corpora: no crash, no hang, no 500, and a reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.emulators.gateway_process import Answered, GatewayProcess, image

EXAMPLES_PER_OPERATION = 12
STATUSES = {200, 400, 401, 403, 404, 405, 409, 413, 414, 415, 429, 431, 501, 503}
RANDOM = (Phase.explicit, Phase.generate, Phase.shrink)
GOOD_ROLLOUTS = {"y_object_empty.json"}
"""No shares at all are shares, too."""
DOCUMENTS = ("/", "/metrics")


@pytest.fixture(scope="module")
def schema(shared_gateway: GatewayProcess) -> Any:
    document = shared_gateway.ask("GET", "/openapi.json").json
    loaded = schemathesis.openapi.from_dict(document)
    loaded.config.base_url = f"http://127.0.0.1:{shared_gateway.port}"
    return loaded


def operations() -> list[str]:
    """Every path and method of the document, by name."""
    import yaml
    from tidemill_gateway import app

    document = yaml.safe_load(Path(app.__file__).with_name("openapi.yaml").read_text())
    return [
        f"{method.upper()} {path}"
        for path, item in document["paths"].items()
        for method in sorted(item.keys() & {"get", "post", "put", "delete"})
    ]


@pytest.mark.parametrize("operation", operations())
def test_what_the_document_allows_and_what_it_forbids_is_answered(
    shared_gateway: GatewayProcess, schema: Any, operation: str
) -> None:
    method, path = operation.split(" ", 1)
    described = schema[path][method]
    good = described.as_strategy(generation_mode=schemathesis.GenerationMode.POSITIVE)
    bad = described.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE)

    @settings(
        max_examples=EXAMPLES_PER_OPERATION,
        deadline=None,
        database=None,
        phases=RANDOM,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=good | bad if _can_be_wrong(described) else good)
    def ask(case: Any) -> None:
        answer = case.call(timeout=30)
        assert answer.status_code in STATUSES, (case.as_curl_command(), answer.text)
        if path in DOCUMENTS and answer.status_code == 200:
            return
        body = answer.json()
        if answer.status_code >= 400 and path != "/readyz":
            assert body["error"], case.as_curl_command()

    ask()


def _can_be_wrong(described: Any) -> bool:
    """Whether it takes anything that could be wrong."""
    return bool(len(described.path_parameters) or len(described.headers) or len(described.body))


def corpus(folder: Path) -> list[tuple[str, bytes]]:
    """Every text of the parsing corpus, by name."""
    return [(file.name, file.read_bytes()) for file in sorted((folder / "test_parsing").iterdir())]


def test_every_text_of_the_json_corpus_is_answered_everywhere(
    shared_gateway: GatewayProcess, data_folder: Path
) -> None:
    seen = 0
    for name, text in corpus(data_folder / "json_test_suite"):
        around = b'{"instances": [%b]}' % text
        for method, path, body in (
            ("POST", "/v1/models/digits:predict", text),
            ("POST", "/v1/models/digits:predict", around),
            ("POST", "/v1/models/digits:classify", b'{"examples": [%b]}' % text),
            ("PUT", "/v1/models/digits/rollout", text),
        ):
            answer = shared_gateway.ask(method, path, body)
            if name in GOOD_ROLLOUTS and method == "PUT":
                assert answer.status == 200
            else:
                assert answer.status == 400, (name, path, answer.body)
                assert answer.json["error"]
            seen += 1
    assert seen > 1000


def test_naughty_strings_are_names_and_values_like_others(
    shared_gateway: GatewayProcess, data_folder: Path
) -> None:
    texts = json.loads((data_folder / "naughty_strings" / "blns.json").read_text())
    document = {"signature_name": "encoded", "instances": texts}

    answer = shared_gateway.predict(document)

    assert answer.status == 200
    assert [row[1] for row in answer.json["predictions"]] == [len(text.encode()) for text in texts]
    for text in texts:
        for body in ({"signature_name": text, "instances": [image(1.0)]}, {text: 1}):
            _refused(shared_gateway.predict(body), text)


def _refused(answer: Answered, text: str) -> None:
    assert answer.status in (200, 400), text
    assert answer.status == 200 or answer.json["error"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    head=st.lists(
        st.tuples(st.text(st.characters(codec="ascii"), max_size=20), st.binary(max_size=40)), max_size=6
    ),
    line=st.binary(max_size=60),
    body=st.binary(max_size=100),
)
def test_bytes_that_are_nearly_http_are_answered_or_let_go(
    shared_gateway: GatewayProcess, head: list[tuple[str, bytes]], line: bytes, body: bytes
) -> None:
    fields = b"".join(b"%b: %b\r\n" % (name.encode(), value) for name, value in head)
    start = b"POST /v1/models/digits:predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"

    for data in (start + fields + b"Content-Length: %d\r\n\r\n" % len(body) + body, line + b"\r\n\r\n"):
        received = shared_gateway.raw_until_quiet(data)

        for part in received.split(b"HTTP/1.1 ")[1:]:
            assert int(part[:3]) in STATUSES | {100, 408, 505}, data


def test_the_gateway_survived_all_of_it(shared_gateway: GatewayProcess) -> None:
    assert shared_gateway.predict({"instances": [image(1.0)]}).status == 200
    assert shared_gateway.process.poll() is None
