"""Publishing in requests, resumable, at a rate, tried again where that helps."""

from __future__ import annotations

import csv
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, jsonify, request
from tidemill.commands.publish import REFUSED_TOLD_MAX
from tidemill.ingest_client import ATTEMPTS_MAX, IngestClient
from tidemill.main import main
from tidemill.publishing import publish_all
from tidemill.resume import Resume
from tidemill.sources.raw_sample import RawSample, with_ids
from tidemill.unread import Unread
from tidemill_contracts.errors import InvalidInput, Unavailable
from werkzeug.serving import make_server


class Ingest:
    """Takes samples over real HTTP; answers in `refusals` first, a status each."""

    def __init__(self) -> None:
        self.refusals: list[int] = []
        self.requests: list[dict[str, Any]] = []
        app = Flask("ingest")
        app.post("/v1/samples")(self.take)
        self._server = make_server("127.0.0.1", 0, app, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def take(self) -> Response:
        if self.refusals:
            status = self.refusals.pop(0)
            answer = jsonify({"error": {"message": "samples[0].label: no"}})
            answer.status_code = status
            answer.headers["Retry-After"] = "7"
            return answer
        self.requests.append(request.get_json())
        return jsonify({"warnings": []})

    def ids(self) -> list[str]:
        return [sample["id"] for body in self.requests for sample in body["samples"]]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def ingest() -> Iterator[Ingest]:
    server = Ingest()
    yield server
    server.close()


def rows(count: int) -> Iterator[RawSample]:
    for number in range(count):
        yield RawSample("1", str(number).encode(), "csv:t", "train", row={"a": number})


def test_everything_is_published_once_and_in_order(ingest: Ingest) -> None:
    with IngestClient(ingest.url) as client:
        progress = [one.published for one in publish_all(client, "d", rows(25), per_request=10)]

    assert progress == [10, 20, 25]
    assert [sample["row"]["a"] for body in ingest.requests for sample in body["samples"]] == list(range(25))


def test_splits_and_sources_never_share_a_request(ingest: Ingest) -> None:
    mixed = [RawSample("1", b"a", "s", "train", text="a"), RawSample("1", b"b", "s", "test", text="b")]

    with IngestClient(ingest.url) as client:
        list(publish_all(client, "d", mixed))

    assert [body["split"] for body in ingest.requests] == ["train", "test"]


def test_a_stopped_publication_goes_on_where_it_was(ingest: Ingest, tmp_path: Path) -> None:
    resume, unread = Resume.of(tmp_path, "d", "t.csv"), Unread()
    with IngestClient(ingest.url) as client:
        stopped = publish_all(client, "d", rows(30), resume=resume, per_request=10)
        next(stopped)
        next(stopped)
        stopped.close()

        list(publish_all(client, "d", rows(30), resume=resume, per_request=10, unread=unread))

    assert len(ingest.ids()) == len(set(ingest.ids())) == 30
    assert unread.some(30) == ingest.ids(), "what an earlier try published is waited for too"
    assert resume.position() == 0, "a finished publication begins anew"


def test_a_busy_ingest_is_asked_again_when_it_said(ingest: Ingest) -> None:
    slept: list[object] = []
    ingest.refusals = [503, 429]
    with IngestClient(ingest.url, sleep=slept.append) as client:
        list(publish_all(client, "d", rows(5)))

    assert len(ingest.ids()) == 5
    assert slept == [7.0, 7.0]


def test_a_refusal_is_final_and_in_ingests_own_words(ingest: Ingest) -> None:
    ingest.refusals = [422]
    with IngestClient(ingest.url) as client, pytest.raises(InvalidInput, match=r"samples\[0\]\.label"):
        list(publish_all(client, "d", rows(5)))


def test_nobody_there_is_said_with_what_to_type(free_port: int) -> None:
    slept: list[object] = []
    with (
        IngestClient(f"http://127.0.0.1:{free_port}", sleep=slept.append) as client,
        pytest.raises(Unavailable, match="make up"),
    ):
        list(publish_all(client, "d", rows(1)))

    assert len(slept) == ATTEMPTS_MAX - 1


def test_a_rate_is_kept(ingest: Ingest) -> None:
    now_s = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds

    with IngestClient(ingest.url) as client:
        list(
            publish_all(
                client, "d", rows(30), rate_per_s=10, per_request=10, clock=lambda: now_s, sleep=sleep
            )
        )

    assert now_s == pytest.approx(3.0)


def test_a_broken_resume_file_begins_anew(tmp_path: Path) -> None:
    resume = Resume.of(tmp_path, "d")
    resume.advance(5)
    resume.path.write_text("{")

    assert resume.position() == 0


@pytest.mark.parametrize("label", ["body_mass_g", "sex"])
def test_of_a_row_without_a_label_the_line_is_told_and_the_others_are_published(
    ingest: Ingest,
    tmp_path: Path,
    data_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    label: str,
) -> None:
    table = data_folder / "tabular" / "penguins.csv"
    with table.open(newline="", encoding="utf-8") as file:
        without = [number for number, row in enumerate(csv.DictReader(file), start=2) if not row[label]]
    names = ("GATEWAY", "BUS", "STORE", "DATABASE", "MODELS")
    for name, value in {**dict.fromkeys(names, "not-needed"), "INGEST": ingest.url}.items():
        monkeypatch.setenv(f"TIDEMILL_{name}", value)
    arguments = ["--data", str(tmp_path), "publish", "penguin_mass", "--csv", str(table), "--label", label]
    monkeypatch.setattr("sys.argv", ["tidemill", *arguments])

    main()

    said = capsys.readouterr().err
    assert without
    assert len(ingest.ids()) == 344 - len(without)
    assert f"{344 - len(without)} samples published" in said
    assert f"{table}, line {without[0]}: the label is empty" in said
    assert said.count("not published") == min(len(without), REFUSED_TOLD_MAX + 1)


def test_a_label_that_is_filled_in_later_changes_no_id_of_its_neighbours() -> None:
    same = [RawSample(label, b"x", "csv:t", "train", row={"a": 1}) for label in ("1", "", "2", "9" * 200)]
    faults: list[str] = []

    ids = [sample.id for _, sample in with_ids(same, faults.append)]
    filled = [sample.id for _, sample in with_ids(replace(one, label="3") for one in same)]

    assert ids == [filled[0], filled[2]]
    assert faults[0] == "csv:t: the label is empty, and without one it can teach nothing"
    assert faults[1].startswith("csv:t: label: ")
    assert "at most 128" in faults[1]
    with pytest.raises(InvalidInput, match="the label is empty"):
        list(with_ids(same))
