"""Bad input: each kind has its answer, names its field, and publishes nothing."""

from __future__ import annotations

import base64
import io
import json
import threading
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image
from tidemill_contracts.errors import Overloaded

GOOD_TEXT = {"label": "good", "text": "fine"}


def reviews(*samples: object, **more: object) -> bytes:
    return json.dumps({"dataset": "reviews", "samples": list(samples), **more}).encode()


def image(data: bytes) -> bytes:
    sample = {"label": "1", "image": base64.b64encode(data).decode()}
    return json.dumps({"dataset": "digits", "samples": [sample]}).encode()


def png_of_20000_squared() -> bytes:
    """A valid PNG of 400 megapixels in about 50 kB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    side = 20_000
    header = side.to_bytes(4, "big") * 2 + bytes([1, 0, 0, 0, 0])
    row = bytes(1 + side // 8)
    pixels = zlib.compress(row * side, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"", 400, None),
        (b"not JSON", 400, None),
        (b'{"dataset":"reviews","samples":[', 400, None),
        (b"\xff\xfe{\x00", 400, None),
        (b"[]", 422, None),
        (b"null", 422, None),
        (b"{}", 422, "dataset"),
        (b'{"dataset":"reviews"}', 422, "samples"),
        (reviews(), 422, "samples"),
        (reviews(GOOD_TEXT, dataset="../up"), 422, "dataset"),
        (reviews(GOOD_TEXT, dataset=7), 422, "dataset"),
        (reviews(GOOD_TEXT, splitt="test"), 422, "splitt"),
        (reviews(GOOD_TEXT, split="both"), 422, "split"),
        (reviews(GOOD_TEXT, source=""), 422, "source"),
        (reviews(GOOD_TEXT, count=2), 422, None),
        (reviews("fine"), 422, "samples[0]"),
        (reviews(GOOD_TEXT, {"text": "x"}), 422, "samples[1].label"),
        (reviews(GOOD_TEXT, {"label": "good"}), 422, "samples[1]"),
        (reviews({"label": "good", "text": "a", "row": {"a": 1}}), 422, "samples[0]"),
        (reviews({"label": "good", "text": ["a"]}), 422, "samples[0].text"),
        (reviews({"label": ["good"], "text": "a"}), 422, "samples[0].label"),
        (reviews({"label": "", "text": "a"}), 422, "samples[0].label"),
        (reviews({"label": "a\0b", "text": "a"}, dataset="notes"), 422, "samples[0].label"),
        (reviews({"label": "good", "text": "a", "id": "../x"}), 422, "samples[0].id"),
        (reviews({"label": "good", "text": "a", "weight": 1}), 422, "samples[0].weight"),
        (reviews(GOOD_TEXT, {"label": "ugly", "text": "a"}), 422, "samples[1].label"),
        (reviews({"label": "good", "row": {"a": 1}}), 422, "samples[0].row"),
        (reviews({"label": "x", "row": {"a": float("nan")}}, dataset="wine"), 422, "samples[0].row"),
        (reviews({"label": "x", "row": {"a": float("-inf")}}, dataset="wine"), 422, "samples[0].row"),
        (reviews({"label": "x", "row": {"a": {"b": 1}}}, dataset="wine"), 422, "samples[0].row.a.str"),
        (reviews({"label": "x", "row": {}}, dataset="wine"), 422, "samples[0].row"),
        (reviews({"label": "1", "image": "%%%"}, dataset="digits"), 422, "samples[0].image"),
        (reviews({"label": "1", "image": ""}, dataset="digits"), 422, "samples[0].image"),
        (image(b"only text"), 422, "samples[0].image"),
        (image(png_of_20000_squared()), 422, "samples[0].image"),
    ],
)
def test_bad_samples_are_refused_by_field_and_nothing_is_published(
    ingest: Any, body: bytes, status: int, field: str | None
) -> None:
    answer = ingest.client.post("/v1/samples", data=body, content_type="application/json")

    assert answer.status_code == status, answer.json
    assert answer.json["error"].get("field") in ({field} if field else {None, "count"})
    assert field is None or field in answer.json["error"]["message"]
    assert ingest.bus.published("samples") == []


def test_one_bad_sample_refuses_the_whole_request(ingest: Any, digit_b64: str) -> None:
    good = {"label": "1", "image": digit_b64}

    answer = ingest.post({"dataset": "digits", "samples": [good, good, {**good, "image": "AAAA"}]})

    assert answer.json["error"]["field"] == "samples[2].image"
    assert ingest.bus.published("samples") == []


def test_a_wrong_label_is_answered_with_the_right_ones(ingest: Any, digit_b64: str) -> None:
    answer = ingest.post({"dataset": "digits", "samples": [{"label": "seven", "image": digit_b64}]})

    said = answer.json["error"]["message"]
    assert said == "samples[0].label: 'seven' is no label of dataset digits; it knows 0, 1, 2"


def test_a_truncated_image_is_refused(ingest: Any, digit: bytes) -> None:
    answer = ingest.client.post("/v1/samples", data=image(digit[:-30]), content_type="application/json")

    assert answer.status_code == 422
    assert "damaged" in answer.json["error"]["message"]


def test_an_image_over_the_limit_of_bytes_is_refused_with_413(make_ingest: Callable[..., Any]) -> None:
    ingest = make_ingest(TIDEMILL_INGEST_IMAGE_BYTES_MAX="1000")

    answer = ingest.client.post("/v1/samples", data=image(bytes(1001)), content_type="application/json")

    assert answer.status_code == 413
    assert answer.json["error"]["field"] == "samples[0].image"


def test_a_body_over_the_limit_is_refused_with_413(ingest: Any) -> None:
    answer = ingest.client.post("/v1/samples", data=bytes(3 * 1024 * 1024), content_type="application/json")

    assert answer.status_code == 413
    assert "2097152 bytes" in answer.json["error"]["message"]


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/samples", {"Content-Type": "text/plain"}),
        ("/v1/samples", {}),
        ("/v1/samples", {"Content-Type": "application/json", "Content-Encoding": "gzip"}),
        ("/v1/files", {"Content-Type": "application/json"}),
    ],
)
def test_another_content_type_is_refused_with_415_that_names_the_right_one(
    ingest: Any, path: str, headers: dict[str, str]
) -> None:
    answer = ingest.client.post(path, data=reviews(GOOD_TEXT), headers=headers)

    assert answer.status_code == 415
    assert answer.json["error"]["type"] == "UnsupportedType"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"dataset": None}, "dataset"),
        ({"label": None}, "label"),
        ({"label": "nine"}, "file[0].label"),
        ({"split": "both"}, "split"),
        ({"lable": "1"}, "lable"),
        ({"file": None}, "file"),
        ({"file": b""}, "file[0]"),
        ({"file": b"text renamed"}, "file[0].image"),
    ],
)
def test_bad_files_are_refused_by_field(
    ingest: Any, digit: bytes, change: dict[str, Any], field: str
) -> None:
    fields = {"dataset": "digits", "label": "1", "file": digit, **change}
    form: dict[str, Any] = {name: value for name, value in fields.items() if value is not None}
    if "file" in form:
        form["file"] = (io.BytesIO(form["file"]), "x.jpg")

    answer = ingest.client.post("/v1/files", data=form, content_type="multipart/form-data")

    assert answer.status_code == 422
    assert answer.json["error"]["field"] == field
    assert ingest.bus.published("samples") == []


def test_a_stopped_bus_is_answered_with_503_and_when_to_come_again(ingest: Any) -> None:
    ingest.bus.failing = True

    answer = ingest.client.post("/v1/samples", data=reviews(GOOD_TEXT), content_type="application/json")

    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
    assert ingest.client.get("/readyz").status_code == 503


def test_a_full_bus_is_answered_with_429(ingest: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> list[str]:
        raise Overloaded("the bus is full", retry_after_s=5.0)

    monkeypatch.setattr(ingest.bus, "publish", full)

    answer = ingest.client.post("/v1/samples", data=reviews(GOOD_TEXT), content_type="application/json")

    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "5"


def test_large_requests_beyond_the_budget_are_told_to_come_again(
    ingest: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = reviews({"label": "good", "text": "x" * (2 * 1024 * 1024 - 200)})
    entered, leave = threading.Semaphore(0), threading.Event()

    def publish_slowly(*_: object) -> list[str]:
        entered.release()
        assert leave.wait(10.0)
        return ["1"]

    def post(body: bytes) -> Any:
        return ingest.client.post("/v1/samples", data=body, content_type="application/json")

    monkeypatch.setattr(ingest.bus, "publish", publish_slowly)
    others = [threading.Thread(target=post, args=(large,)) for _ in range(2)]
    for other in others:
        other.start()
        assert entered.acquire(timeout=10.0)

    refused = post(large)
    leave.set()
    small = post(reviews(GOOD_TEXT))
    for other in others:
        other.join(10.0)

    assert (refused.status_code, refused.json["error"]["type"]) == (429, "Overloaded")
    assert small.status_code == 202
    assert post(large).status_code == 202


def test_metrics_name_no_dataset_that_a_stranger_made_up(ingest: Any) -> None:
    ingest.post({"dataset": "made-up", "samples": [{"label": "a", "text": "b"}]})

    said = ingest.client.get("/metrics").text
    assert "made-up" not in said
    assert 'dataset="other"' in said


def test_pixels_are_refused_from_the_header_alone(encode: Any, ingest: Any) -> None:
    wide = encode(Image.new("1", (32_769, 10)))

    answer = ingest.client.post("/v1/samples", data=image(wide), content_type="application/json")

    assert answer.status_code == 422
    assert "a side" in answer.json["error"]["message"]
