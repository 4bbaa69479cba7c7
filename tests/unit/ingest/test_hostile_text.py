"""Bodies made to break parsers: refused or taken, never a fault of ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

PUBLISHED = 202
REFUSED = {400, 413, 415, 422}


def test_no_json_that_breaks_parsers_breaks_us(ingest: Any, data_folder: Path) -> None:
    cases = sorted((data_folder / "json_test_suite" / "test_parsing").glob("*.json"))
    wrongly: list[str] = []

    for case in cases:
        raw = case.read_bytes()
        framed = b'{"dataset":"wine","samples":[{"label":"a","row":{"x":' + raw + b"}}]}"
        for body in (raw, framed):
            status = ingest.client.post("/v1/samples", data=body, content_type="application/json").status_code
            if status not in {PUBLISHED, *REFUSED} or (case.name.startswith("n_") and status == PUBLISHED):
                wrongly.append(f"{case.name}: {status}")

    assert cases
    assert wrongly == []


def test_naughty_strings_are_published_unchanged_or_refused(ingest: Any, data_folder: Path) -> None:
    strings = json.loads((data_folder / "naughty_strings" / "blns.json").read_text())
    sent: list[str] = []

    for string in strings:
        status = ingest.post({"dataset": "notes", "samples": [{"label": "a", "text": string}]}).status_code
        assert status == PUBLISHED
        sent.append(string)

    assert [sample.text for sample in ingest.samples()] == sent


@pytest.mark.long
def test_naughty_strings_in_every_field_are_never_a_fault_of_ours(ingest: Any, data_folder: Path) -> None:
    strings = json.loads((data_folder / "naughty_strings" / "blns.json").read_text())
    good: dict[str, Any] = {"dataset": "notes", "split": "train", "source": "s"}

    for string in strings:
        sample = {"id": "a", "label": "a", "text": "t"}
        bodies = [{**good, name: string, "samples": [sample]} for name in good]
        bodies += [{**good, "samples": [{**sample, name: string}]} for name in sample]
        bodies += [{**good, string: 1, "samples": [sample]}]
        bodies += [{**good, "samples": [{"label": "a", "row": {string: string}}]}]
        bodies += [{**good, "dataset": "digits", "samples": [{"label": "1", "image": string}]}]
        for body in bodies:
            assert ingest.post(body).status_code in {PUBLISHED, *REFUSED}
        form = {**good, "label": string, "dataset": string}
        assert ingest.client.post("/v1/files", data=form).status_code in REFUSED
