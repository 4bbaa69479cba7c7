"""Samples over HTTP: what is taken, and as what it is published."""

from __future__ import annotations

import base64
import io
from typing import Any

from PIL import Image
from tidemill_contracts.samples import sample_id


def test_samples_are_answered_with_ids_after_the_bus_has_them(
    ingest: Any, digit: bytes, digit_b64: str
) -> None:
    answer = ingest.post(
        {"dataset": "digits", "source": "camera", "samples": [{"label": "1", "image": digit_b64}]}
    )

    assert answer.status_code == 202
    assert answer.json == {
        "ids": [sample_id(digit, "camera")],
        "messages": ["1"],
        "accepted": 1,
        "warnings": [],
    }
    assert [sample.id for sample in ingest.samples()] == answer.json["ids"]


def test_a_message_says_beside_its_body_what_it_holds(ingest: Any, digit_b64: str) -> None:
    ingest.post({"dataset": "digits", "split": "test", "samples": [{"label": 1, "image": digit_b64}] * 2})

    (message,) = ingest.bus.published("samples")
    said = {name: message.attributes[name] for name in ("dataset", "split", "source", "count", "ce-source")}
    assert said == {
        "dataset": "digits",
        "split": "test",
        "source": "unknown",
        "count": "2",
        "ce-source": "tidemill/ingest",
    }


def test_many_samples_become_messages_of_the_size_that_is_set(ingest: Any, digit_b64: str) -> None:
    answer = ingest.post({"dataset": "digits", "samples": [{"label": "1", "image": digit_b64}] * 10})

    assert [len(event.samples) for event in ingest.events()] == [4, 4, 2]
    assert [sample.id for sample in ingest.samples()] == answer.json["ids"]
    assert answer.json["messages"] == ["1", "2", "3"]


def test_large_samples_become_messages_of_about_a_megabyte(ingest: Any) -> None:
    ingest.post({"dataset": "reviews", "samples": [{"label": "good", "text": "x" * 400_000}] * 4})

    assert [len(event.samples) for event in ingest.events()] == [2, 2]


def test_the_same_request_sent_again_has_the_same_ids(ingest: Any, digit_b64: str) -> None:
    body = {"dataset": "digits", "samples": [{"label": "1", "image": digit_b64}] * 3}

    first, again = ingest.post(body), ingest.post(body)

    assert first.json["ids"] == again.json["ids"]
    assert len(set(first.json["ids"])) == 3


def test_an_id_of_the_producer_is_kept(ingest: Any, digit_b64: str) -> None:
    answer = ingest.post({"dataset": "digits", "samples": [{"id": "a:1", "label": "1", "image": digit_b64}]})

    assert answer.json["ids"] == ["a:1"]


def test_the_id_is_that_of_the_content_as_sent(ingest: Any, encode: Any) -> None:
    photo = encode(Image.radial_gradient("L").convert("RGB"), "JPEG")

    answer = ingest.post({"dataset": "digits", "samples": [{"label": "1", "image": b64(photo)}]})

    assert answer.json["ids"] == [sample_id(photo, "unknown")]


def test_images_are_brought_to_what_the_model_wants(ingest: Any, encode: Any) -> None:
    photo = encode(Image.new("RGB", (640, 480), "red"), "JPEG")

    ingest.post({"dataset": "digits", "samples": [{"label": "1", "image": b64(photo)}]})

    image = published_image(ingest)
    assert (image.format, image.mode, image.size) == ("PNG", "L", (28, 28))


def test_an_image_that_conforms_is_published_unchanged(ingest: Any, digit_b64: str) -> None:
    ingest.post({"dataset": "digits", "samples": [{"label": "1", "image": digit_b64}]})

    assert ingest.samples()[0].image == digit_b64


def test_a_dataset_without_a_model_is_taken_with_a_warning(ingest: Any, encode: Any) -> None:
    photo = encode(Image.new("L", (2048, 512)))

    answer = ingest.post({"dataset": "cats", "samples": [{"label": "tabby", "image": b64(photo)}]})

    image = published_image(ingest)
    assert answer.json["warnings"] == ["no model trains on dataset cats; known: digits, reviews"]
    assert (image.mode, image.size) == ("RGB", (1024, 256))


def test_texts_and_rows_are_published_as_they_are(ingest: Any) -> None:
    text = "naïve \u0000 ☃ <script>"
    row = {"length": 5.25, "count": 3, "colour": "red", "missing": None, "old": True}

    ingest.post({"dataset": "reviews", "samples": [{"label": "bad", "text": text}]})
    ingest.post({"dataset": "wine", "samples": [{"label": "red", "row": row}]})

    first, second = ingest.samples()
    assert first.text == text
    assert second.row == row


def test_a_text_that_says_that_it_is_no_number_is_a_text(ingest: Any) -> None:
    row = {"name": "NaN", "far": "Infinity", "near": 1.5}

    ingest.post({"dataset": "wine", "samples": [{"label": "red", "row": row}]})

    (sample,) = ingest.samples()
    assert sample.row == row


def test_files_become_samples_of_one_label(ingest: Any, digit: bytes, encode: Any) -> None:
    jpeg = encode(Image.new("L", (28, 28), 200), "JPEG")
    form = {
        "dataset": "digits",
        "label": "2",
        "split": "test",
        "file": [(io.BytesIO(digit), "a.png"), (io.BytesIO(jpeg), "../../b.jpg")],
    }

    answer = ingest.client.post("/v1/files", data=form)

    assert answer.status_code == 202
    assert answer.json["ids"] == [sample_id(digit, "files"), sample_id(jpeg, "files")]
    assert {(sample.label, event.split) for event in ingest.events() for sample in event.samples} == {
        ("2", "test")
    }


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def published_image(ingest: Any) -> Image.Image:
    (sample,) = ingest.samples()
    return Image.open(io.BytesIO(sample.content()))
