"""Archives of pictures and tables, sent as files."""

from __future__ import annotations

import io
import struct
import zipfile
from typing import Any

import pytest
from tidemill_contracts.errors import InvalidInput, TooLarge
from tidemill_ingest import archives
from tidemill_ingest.archives import unpack

TABLE = 'length,colour,kind,note\n5.25,red,good,""\n3,"blue, dark",bad,nan\n'


def zipped(*files: tuple[str, bytes], packing: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", packing) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return file.getvalue()


def post(ingest: Any, name: str, data: bytes, **fields: str) -> Any:
    form = {"dataset": "digits", **fields, "file": (io.BytesIO(data), name)}
    return ingest.client.post("/v1/files", data=form, content_type="multipart/form-data")


def test_an_archive_has_a_folder_per_label(ingest: Any, digit: bytes) -> None:
    data = zipped(
        ("digits/1/one.png", digit),
        ("digits/2/two.png", digit + b"."),
        ("digits/1/", b""),
        ("__MACOSX/digits/1/._one.png", b"junk"),
        ("digits/1/.DS_Store", b"junk"),
    )

    answer = post(ingest, "digits.zip", data, split="test")

    assert answer.status_code == 202, answer.json
    assert [sample.label for sample in ingest.samples()] == ["1", "2"]
    assert ingest.samples()[0].content() == digit
    assert {event.split for event in ingest.events()} == {"test"}


def test_a_table_has_a_sample_per_row(ingest: Any) -> None:
    answer = post(ingest, "wine.csv", TABLE.encode(), dataset="wine", label="kind")

    assert answer.status_code == 202, answer.json
    assert [(sample.label, sample.row) for sample in ingest.samples()] == [
        ("good", {"length": 5.25, "colour": "red", "note": None}),
        ("bad", {"length": 3, "colour": "blue, dark", "note": "nan"}),
    ]


def test_a_column_may_be_the_text(ingest: Any) -> None:
    data = "\ufeffreview,stars\r\nfine film,good\r\n".encode()

    answer = post(ingest, "reviews.csv", data, dataset="reviews", label="stars", text="review")

    assert answer.status_code == 202, answer.json
    assert [(sample.label, sample.text) for sample in ingest.samples()] == [("good", "fine film")]


@pytest.mark.parametrize(
    ("table", "fields", "said"),
    [
        (TABLE, {"label": "taste"}, "no column 'taste'"),
        (TABLE, {"label": "kind", "text": "review"}, "no column 'review'"),
        (TABLE, {}, "label"),
        ("a,kind\n1,good\n2\n", {"label": "kind"}, "line 3: not as many cells"),
        ("a,kind\n1,good\n2,\n", {"label": "kind"}, "line 3: kind"),
        ("a,a,kind\n1,1,good\n", {"label": "kind"}, "another name"),
        ("a,kind\n", {"label": "kind"}, "no rows"),
        ("", {"label": "kind"}, "it has none"),
        ('a,kind\n"1,good\n', {"label": "kind"}, "line"),
        ("a,kind\n" + "x" * 200_000 + ",good\n", {"label": "kind"}, "field larger than"),
        ("a,kind\n1,good\n" * 5_001, {"label": "kind"}, "at most 10000 rows"),
    ],
)
def test_a_bad_table_is_refused_with_the_line(
    ingest: Any, table: str, fields: dict[str, str], said: str
) -> None:
    answer = post(ingest, "wine.csv", table.encode(), dataset="wine", **fields)

    assert answer.status_code == 422
    assert said in answer.json["error"]["message"]
    assert ingest.bus.published("samples") == []


def test_a_table_that_is_no_text_is_refused(ingest: Any) -> None:
    answer = post(ingest, "wine.csv", b"a,kind\n\xff,good\n", dataset="wine", label="kind")

    assert answer.status_code == 422
    assert "UTF-8" in answer.json["error"]["message"]


def test_a_bad_picture_in_an_archive_is_named(ingest: Any, digit: bytes) -> None:
    answer = post(ingest, "x.zip", zipped(("1/one.png", digit), ("2/two.png", b"only text")))

    assert answer.status_code == 422
    assert "2/two.png" in answer.json["error"]["message"]
    assert ingest.bus.published("samples") == []


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([("one.png", b"x")], "lies in no folder"),
        ([("1/one.png", b"")], "1/one.png is empty"),
        ([("9/one.png", b"x")], "'9' is no label"),
        ([("1/", b"")], "not 0"),
        ([("x" * 200 + "/one.png", b"x")], "its folder is no label"),
    ],
)
def test_a_bad_archive_is_refused_with_the_reason(ingest: Any, files: Any, said: str) -> None:
    answer = post(ingest, "x.zip", zipped(*files))

    assert answer.status_code == 422
    assert said in answer.json["error"]["message"]


def test_an_archive_or_a_table_goes_alone(ingest: Any, digit: bytes) -> None:
    form = {
        "dataset": "digits",
        "file": [(io.BytesIO(zipped(("1/one.png", digit))), "x.zip"), (io.BytesIO(digit), "y.png")],
    }

    answer = ingest.client.post("/v1/files", data=form, content_type="multipart/form-data")

    assert answer.status_code == 422
    assert "x.zip alone" in answer.json["error"]["message"]


def test_a_bomb_goes_off_at_the_limit_whatever_it_says_of_itself(ingest: Any) -> None:
    bomb = zipped(*((f"1/{number}.png", bytes(1_000_000)) for number in range(20)))
    assert len(bomb) < 50_000
    lying = bomb.replace(struct.pack("<L", 1_000_000), struct.pack("<L", 10))

    answers = [post(ingest, "bomb.zip", data) for data in (bomb, lying)]

    assert [answer.status_code for answer in answers] == [413, 422]
    assert "over the limit" in answers[0].json["error"]["message"]


def test_no_more_than_the_limits_are_unpacked() -> None:
    data = zipped(("1/a", bytes(600)), ("1/b", bytes(600)), ("1/c", bytes(600)))

    with pytest.raises(TooLarge, match="1/a"):
        list(unpack(data, file_bytes_max=599, all_bytes_max=10_000))
    with pytest.raises(TooLarge, match="1/c"):
        list(unpack(data, file_bytes_max=1_000, all_bytes_max=1_799))
    assert len(list(unpack(data, file_bytes_max=600, all_bytes_max=1_800))) == 3


def test_a_long_table_of_contents_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "DIRECTORY_BYTES_MAX", 1_000)

    with pytest.raises(TooLarge, match="table of contents"):
        list(unpack(zipped(*((f"1/{n}", b"x") for n in range(50))), file_bytes_max=9, all_bytes_max=999))


SOUND = zipped(("1/one.png", b"some bytes of a picture" * 20))


@pytest.mark.parametrize(
    "bad",
    [
        SOUND[:-10],
        SOUND[:40] + b"\xff" * 20 + SOUND[60:],
        SOUND[:-22] + b"PK\x06\x07" + bytes(16) + SOUND[-22:],
        SOUND.replace(struct.pack("<HH", 20, 0), struct.pack("<HH", 20, 1)),
        zipped(("1/one.png", b"x"), packing=zipfile.ZIP_LZMA),
        b"PK\x03\x04",
    ],
    ids=["cut", "damaged", "large kind", "encrypted", "packed otherwise", "nothing"],
)
def test_a_damaged_or_odd_archive_is_refused(bad: bytes) -> None:
    with pytest.raises(InvalidInput):
        list(unpack(bad, file_bytes_max=10_000, all_bytes_max=10_000))
