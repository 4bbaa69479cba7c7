"""REST, rule by rule: what is asked, what is answered."""
# ruff: noqa: E501  (a rule is one line of the table)

from __future__ import annotations

import gzip
import json
import math

import pytest

HALF = "/v1/models/half_plus_two"
SEVERAL = "/v1/models/several"
TYPES = "/v1/models/types"
STRINGS = "/v1/models/strings"
THREE = '{"instances": [[1.0], [2.0], [5.0]]}'
MALFORMED = "Malformed request: {}"

# Rule, request, status, and what the JSON of the answer is. Text stands for the `error` that is answered;
# a text that ends with … is its beginning.
PATHS = [
    ("predict, the highest version answers", "POST", f"{HALF}:predict", THREE, 200, {"predictions": [[3.5], [4.0], [5.5]]}),
    ("predict, a version answers", "POST", f"{HALF}/versions/1:predict", THREE, 200, {"predictions": [[2.5], [3.0], [4.5]]}),
    ("predict, a label answers", "POST", f"{HALF}/labels/stable:predict", THREE, 200, {"predictions": [[2.5], [3.0], [4.5]]}),
    ("another label answers", "POST", f"{HALF}/labels/candidate:predict", THREE, 200, {"predictions": [[3.5], [4.0], [5.5]]}),
    ("a name is percent-decoded", "POST", "/v1/models/half%5Fplus_two:predict", THREE, 200, {"predictions": [[3.5], [4.0], [5.5]]}),
    ("the path's case does not matter", "POST", "/V1/Models/half_plus_two:predict", THREE, 200, {"predictions": [[3.5], [4.0], [5.5]]}),
    ("the verb's case does", "POST", f"{HALF}:PREDICT", THREE, 400, MALFORMED.format(f"POST {HALF}:PREDICT")),
    ("unknown model", "POST", "/v1/models/nope:predict", THREE, 404, "Servable not found for request: Latest(nope)"),
    ("unknown version", "POST", f"{HALF}/versions/9:predict", THREE, 404, "Servable not found for request: Specific(half_plus_two, 9)"),
    ("unknown label", "POST", f"{HALF}/labels/nope:predict", THREE, 400, "Unrecognized servable version label: nope"),
    ("version and label exclude each other", "POST", f"{HALF}/versions/1/labels/stable:predict", THREE, 400, MALFORMED.format(f"POST {HALF}/versions/1/labels/stable:predict")),
    ("a version beyond int64", "POST", f"{HALF}/versions/9223372036854775808:predict", THREE, 400, "Failed to convert version: 9223372036854775808 to numeric."),
    ("a version that is no number", "POST", f"{HALF}/versions/one:predict", THREE, 400, MALFORMED.format(f"POST {HALF}/versions/one:predict")),
    ("the query belongs to the path", "POST", f"{HALF}:predict?a=1", THREE, 400, MALFORMED.format(f"POST {HALF}:predict?a=1")),
    ("an unknown method", "POST", f"{HALF}:explain", THREE, 400, MALFORMED.format(f"POST {HALF}:explain")),
    ("GET on predict", "GET", f"{HALF}:predict", None, 400, MALFORMED.format(f"GET {HALF}:predict")),
    ("PUT is malformed, never 405", "PUT", f"{HALF}:predict", THREE, 400, MALFORMED.format(f"PUT {HALF}:predict")),
    ("DELETE too", "DELETE", HALF, None, 400, MALFORMED.format(f"DELETE {HALF}")),
    ("anything else under /v1/", "GET", "/v1/other", None, 400, MALFORMED.format("GET /v1/other")),
    ("no list of models", "GET", "/v1/models", None, 400, "Missing model name in request."),
    ("status of an unknown model", "GET", "/v1/models/nope", None, 404, "Could not find any versions of model nope"),
    ("status of an unknown version", "GET", f"{HALF}/versions/9", None, 404, "Could not find version 9 of model half_plus_two"),
    ("metadata of an unknown model", "GET", "/v1/models/nope/metadata", None, 404, "Servable not found for request: Latest(nope)"),
    ("in a status the query is part of the name", "GET", f"{HALF}?x", None, 404, "Could not find any versions of model half_plus_two?x"),
]  # fmt: skip

BODIES = [
    ("an empty body", f"{HALF}:predict", "", 400, "JSON Parse error: The document is empty"),
    ("not JSON", f"{HALF}:predict", "nonsense", 400, "JSON Parse error: Invalid value. at offset: …"),
    ("JSON comes before the model's name", "/v1/models/nope:predict", "nonsense", 400, "JSON Parse error: Invalid value. at offset: …"),
    ("a list at the top", f"{HALF}:predict", "[1]", 400, "JSON Value: [1] Is not object"),
    ("bytes after the first value are ignored", f"{HALF}:predict", '{"instances": [[1.0]]} and more', 200, {"predictions": [[3.5]]}),
    ("signature_name must be a string", f"{HALF}:predict", '{"signature_name": 5, "instances": [1]}', 400, "JSON Value: …"),
    ("an unknown signature", f"{HALF}:predict", '{"signature_name": "nope", "instances": [1]}', 400, 'Serving signature name: "nope" not found in signature def'),
    ("the signature comes before the inputs", f"{HALF}:predict", '{"signature_name": "nope"}', 400, 'Serving signature name: "nope" not found in signature def'),
    ("a signature of an odd method", f"{HALF}:predict", '{"signature_name": "odd_method", "instances": [[1]]}', 500, "Expected prediction signature method_name to be one of …"),
    ("both keys", f"{HALF}:predict", '{"instances": [1], "inputs": [1]}', 400, "JSON Value: …"),
    ("neither key", f"{HALF}:predict", "{}", 400, "Missing 'inputs' or 'instances' key"),
    ("instances is no list", f"{HALF}:predict", '{"instances": 1}', 400, 'JSON Value: {"instances": 1} Excepting \'instances\' to be an list/array'),
    ("instances is empty", f"{HALF}:predict", '{"instances": []}', 400, 'JSON Value: {"instances": []} No values in \'instances\' array'),
    ("a plain list for several inputs", f"{SEVERAL}:predict", '{"instances": [1]}', 400, "instances is a plain list, but expecting list of objects as multiple input tensors required as per tensorinfo_map"),
    ("rows as objects", f"{SEVERAL}:predict", '{"instances": [{"a": 1, "b": 2}, {"b": 4, "a": 3}]}', 200, {"predictions": [{"product": 2.0, "sum": 3.0}, {"product": 12.0, "sum": 7.0}]}),
    ("one input may be an object too", f"{HALF}:predict", '{"instances": [{"x": [1.0]}]}', 200, {"predictions": [[3.5]]}),
    ("objects first, then a list", f"{SEVERAL}:predict", '{"instances": [{"a": 1, "b": 2}, [1]]}', 400, "Expecting object but got list at item 1 of input list"),
    ("a list first, then an object", f"{HALF}:predict", '{"instances": [[1.0], {"x": [1.0]}]}', 400, "Expecting value/list but got object at item 1 of input list"),
    ("a key is missing", f"{SEVERAL}:predict", '{"instances": [{"a": 1}]}', 400, "Failed to process element: 0 of 'instances' list. JSON object: …"),
    ("a key is unknown", f"{SEVERAL}:predict", '{"instances": [{"c": 1}]}', 400, "Failed to process element: 0 key: c of 'instances' list. Error: INVALID_ARGUMENT: JSON object: does not have named input: c"),
    ("rows of unequal shape", f"{HALF}:predict", '{"instances": [[1.0], [1.0, 2.0]]}', 400, "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting tensor size: 1 but got: 2"),
    ("rows of equal size and unequal shape", f"{HALF}:predict", '{"instances": [[1.0], 1.0]}', 400, "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting shape [1] but got: []"),
    ("a ragged row", f"{HALF}:predict", '{"instances": [[[1.0], [1.0, 2.0]]]}', 400, "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: Encountered list at unexpected size: 2 at level: 1 expected size: 1"),
    ("columns by name", f"{SEVERAL}:predict", '{"inputs": {"a": [1, 2], "b": [3, 4]}}', 200, {"outputs": {"product": [3.0, 8.0], "sum": [4.0, 6.0]}}),
    ("columns, extras are ignored", f"{SEVERAL}:predict", '{"inputs": {"a": [1], "b": [3], "c": "x"}}', 200, {"outputs": {"product": [3.0], "sum": [4.0]}}),
    ("columns, one is missing", f"{SEVERAL}:predict", '{"inputs": {"a": [1]}}', 400, "Missing named input: b in 'inputs' object."),
    ("columns, one input bare", f"{HALF}:predict", '{"inputs": [[1.0]]}', 200, {"outputs": [[3.5]]}),
    ("columns, several inputs bare", f"{SEVERAL}:predict", '{"inputs": [1]}', 400, "inputs is a plain value/list, but expecting an object as multiple input tensors required as per tensorinfo_map"),
    ("rows that do not fit together", f"{SEVERAL}:predict", '{"signature_name": "uneven", "instances": [1, 2]}', 400, "Tensor name: first has inconsistent batch size: 1 expecting: 2"),
    ("a scalar has no rows", f"{SEVERAL}:predict", '{"signature_name": "scalar", "instances": [1, 2]}', 400, "Tensor name: total has no shape information "),
    ("a scalar stands in a column", f"{SEVERAL}:predict", '{"signature_name": "scalar", "inputs": [1, 2]}', 200, {"outputs": 3.0}),
]  # fmt: skip

VALUES = [
    # Type, the JSON value, what comes back; None: 400.
    ("float32", "1", 1.0), ("float32", "0.1", 0.1), ("float32", "true", None), ("float32", '"1"', None), ("float32", "null", None),
    ("float32", "1e400", math.inf), ("float32", "1e39", math.inf), ("float32", "-1e39", -math.inf),
    ("float64", "0.1", 0.1), ("float64", "7", 7.0), ("float64", "1e300", 1e300),
    ("int32", "7", 7), ("int32", "2.0", None), ("int32", "2147483648", None), ("int32", "true", None), ("int32", '"1"', None),
    ("int64", "9007199254740993", 9007199254740993), ("int64", "9223372036854775808", None), ("int64", "1e2", None),
    ("int8", "-5", -5), ("int16", "-300", -300), ("uint8", "200", 200),
    ("uint32", "4294967295", 4294967295), ("uint32", "-1", None),
    ("uint64", "18446744073709551615", 18446744073709551615), ("uint64", "-1", None),
    ("bool", "true", True), ("bool", "false", False), ("bool", "1", None), ("bool", '"true"', None),
]  # fmt: skip


def check(reply, status, expected):
    assert reply.status == status, reply.body
    assert reply.headers["Content-Type"] == "application/json"
    document = json.loads(reply.body)
    if isinstance(expected, str):
        found = document["error"]
        assert found.startswith(expected[:-1]) if expected.endswith("…") else found == expected
    else:
        assert document == expected


@pytest.mark.parametrize(
    ("rule", "verb", "path", "body", "status", "expected"), PATHS, ids=[p[0] for p in PATHS]
)
def test_paths(server, rule, verb, path, body, status, expected):
    check(server.http(verb, path, body.encode() if body else None), status, expected)


@pytest.mark.parametrize(("rule", "path", "body", "status", "expected"), BODIES, ids=[b[0] for b in BODIES])
def test_bodies(server, rule, path, body, status, expected):
    check(server.http("POST", path, body.encode()), status, expected)


@pytest.mark.parametrize(("dtype", "value", "expected"), VALUES)
def test_values(server, dtype, value, expected):
    body = f'{{"signature_name": "{dtype}", "instances": [{value}]}}'

    reply = server.http("POST", f"{TYPES}:predict", body.encode())

    if expected is None:
        assert reply.status == 400
        assert "is not of expected type" in json.loads(reply.body)["error"]
    else:
        assert json.loads(reply.body)["predictions"] == [expected]


@pytest.mark.parametrize("dtype", ["half", "bfloat16", "complex64"])
def test_some_types_have_no_form_in_json(server, dtype):
    body = f'{{"signature_name": "{dtype}", "inputs": [1]}}'

    reply = server.http("POST", f"{TYPES}:predict", body.encode())

    check(reply, 501, f"Conversion of JSON Value: 1 to type: {dtype}")


def test_a_signatures_default_does_not_stand_in_over_rest(server):
    reply = server.http("POST", "/v1/models/with_default:predict", b'{"inputs": {"a": [1, 2]}}')

    check(reply, 400, "Missing named input: b in 'inputs' object.")


@pytest.mark.parametrize("column", [True, False])
def test_a_type_error_names_value_type_and_what_was_expected(server, column):
    key = "inputs" if column else "instances"

    reply = server.http("POST", f"{HALF}:predict", f'{{"{key}": ["one"]}}'.encode())

    said = 'JSON Value: "one" Type: String is not of expected type: float'
    row = f"Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: {said}"
    check(reply, 400, said if column else row)


def test_a_long_value_is_cut_in_the_error(server):
    body = json.dumps({"inputs": ["x" * 10_000]})

    reply = server.http("POST", f"{HALF}:predict", body.encode())

    assert len(reply.body) < 600


def test_nan_and_infinity_are_taken_and_given(server):
    body = b'{"signature_name": "float32", "instances": [NaN, Infinity, -Infinity, 1]}'

    reply = server.http("POST", f"{TYPES}:predict", body)

    assert b"NaN" in reply.body
    assert b"-Infinity" in reply.body
    assert json.loads(reply.body)["predictions"][1:] == [math.inf, -math.inf, 1.0]


@pytest.mark.parametrize(
    ("value", "written"), [("3", b"3.0"), ("0.2", b"0.2"), ("1e30", b"1e30"), ("0.1234567", b"0.1234567")]
)
def test_floats_are_as_short_as_they_can_be(server, value, written):
    body = f'{{"signature_name": "float32", "instances": [{value}]}}'

    reply = server.http("POST", f"{TYPES}:predict", body.encode())

    assert written in reply.body.replace(b"e+", b"e")


def test_bytes_are_base64_where_the_output_says_so(server):
    body = b'{"instances": [{"b64": "aGVsbG8="}, "plain"]}'

    reply = server.http("POST", f"{STRINGS}:predict", body)

    assert json.loads(reply.body)["predictions"] == [
        {"raw_bytes": {"b64": "aGVsbG8="}, "text": "hello"},
        {"raw_bytes": {"b64": "cGxhaW4="}, "text": "plain"},
    ]


def test_other_strings_are_raw_even_if_they_are_no_utf8(server):
    body = b'{"signature_name": "text", "instances": [{"b64": "/w=="}]}'

    reply = server.http("POST", f"{STRINGS}:predict", body)

    assert b'"\xff"' in reply.body


@pytest.mark.parametrize("value", ['{"b64": "!"}', '{"b64": 5}', '{"b64": "AA==", "more": 1}'])
def test_base64_that_is_none_is_refused(server, value):
    body = f'{{"signature_name": "text", "inputs": [{value}]}}'

    assert server.http("POST", f"{STRINGS}:predict", body.encode()).status == 400


@pytest.mark.parametrize(
    ("method", "body", "expected"),
    [
        ("regress", {"signature_name": "regress", "examples": [{"x": 1.0}, {"x": [2.0]}]}, [3.5, 4.0]),
        (
            "regress",
            {"signature_name": "regress", "examples": [{"x": 1.0, "i": 2, "s": "t", "b": {"b64": "AA=="}}]},
            [3.5],
        ),
        ("regress", {"signature_name": "regress", "context": {"x": 8.0}, "examples": [{}]}, [7.0]),
        (
            "classify",
            {"signature_name": "classify", "examples": [{"x": 1.0}, {"x": 2.0}]},
            [[["low", 3.5]], [["low", 4.0]]],
        ),
        ("classify", {"signature_name": "classify_scores", "examples": [{"x": 1.0}]}, [[["", 3.5]]]),
    ],
)
def test_classify_and_regress_give_results(server, method, body, expected):
    check(server.http("POST", f"{HALF}:{method}", json.dumps(body).encode()), 200, {"results": expected})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "JSON Value: {} When method is classify, key 'examples' is expected and was not found"),
        ({"examples": 1}, "JSON Value: {\"examples\": 1} Expecting 'examples' value to be an list/array"),
        ({"examples": []}, "JSON Value: {\"examples\": []} 'examples' value is an empty array"),
        ({"examples": [1]}, "Example must be JSON object but got JSON Number"),
        ({"examples": [{"x": [1.0, 1]}]}, "Unexpected element type in feature: x expecting type: float"),
        ({"examples": [{"x": None}]}, "Feature: x has element with unexpected JSON type: Null"),
        ({"examples": [{"x": [[1]]}]}, "Feature: x has element with unexpected JSON type: Array"),
        ({"examples": [{"x": 2**63}]}, "Feature: x has uint64 element. Only int64 is supported."),
        ({"examples": [{"x": 1.0}]}, "Expected regression signature method_name to be …"),
        ({"signature_name": "nope", "examples": [{"x": 1.0}]}, "No signature was found with the name: nope"),
    ],
)
def test_examples_that_are_wrong_are_refused(server, body, said):
    check(server.http("POST", f"{HALF}:regress", json.dumps(body).encode()), 400, said)


def test_status_lists_versions_from_the_highest(server):
    ok = {"error_code": "OK", "error_message": ""}

    reply = server.http("GET", HALF)

    listed = [{"version": number, "state": "AVAILABLE", "status": ok} for number in ("2", "1")]
    check(reply, 200, {"model_version_status": listed})


def test_status_of_one_version_and_a_label_that_is_ignored(server):
    one = json.loads(server.http("GET", f"{HALF}/versions/1").body)
    labelled = json.loads(server.http("GET", f"{HALF}/labels/nope").body)

    assert [each["version"] for each in one["model_version_status"]] == ["1"]
    assert [each["version"] for each in labelled["model_version_status"]] == ["2", "1"]


@pytest.mark.parametrize(("path", "version"), [("", "2"), ("/versions/1", "1"), ("/labels/stable", "1")])
def test_metadata_prints_every_field(server, path, version):
    document = json.loads(server.http("GET", f"{HALF}{path}/metadata").body)

    assert document["model_spec"] == {
        "name": "half_plus_two",
        "signature_name": "",
        "version": version,
    }
    signature = document["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["inputs"]["x"]["dtype"] == "DT_FLOAT"
    assert signature["inputs"]["x"]["tensor_shape"] == {
        "dim": [{"size": "-1", "name": ""}, {"size": "1", "name": ""}],
        "unknown_rank": False,
    }
    assert signature["method_name"] == "tensorflow/serving/predict"


@pytest.mark.parametrize("path", ["/", "/v2/models/half_plus_two", "/metrics", "/v1"])
def test_outside_of_v1_even_the_404_is_plain(server, path):
    reply = server.http("GET", path)

    assert reply.status == 404
    assert not reply.body.startswith(b"{")


@pytest.mark.parametrize(("origin", "status"), [("https://a.example", 200), ("a.example", 400)])
def test_options_asks_for_an_origin(server, origin, status):
    reply = server.http("OPTIONS", f"{HALF}:predict", Origin=origin)

    assert reply.status == status
    assert reply.headers["Access-Control-Allow-Origin"] is None


def test_a_gzip_body_is_taken(server):
    reply = server.http("POST", f"{HALF}:predict", gzip.compress(THREE.encode()), Content_Encoding="gzip")

    check(reply, 200, {"predictions": [[3.5], [4.0], [5.5]]})


def test_metrics_bear_the_servers_names(server):
    server.http("POST", f"{HALF}:predict", THREE.encode())

    reply = server.http("GET", "/monitoring/prometheus/metrics")

    text = reply.body.decode()
    assert ':tensorflow:serving:request_count{model_name="half_plus_two",status="OK"}' in text
    assert ":tensorflow:serving:request_latency_bucket{" in text
    assert 'API="Predict",entrypoint="REST"' in text
