"""Files become samples, and what is wrong with a file is said by name."""

from __future__ import annotations

import gzip
import io
import struct
from pathlib import Path

import pytest
from PIL import Image
from tidemill.sources.bundled_digits import read_bundled_digits
from tidemill.sources.csv_table import count_rows, read_csv
from tidemill.sources.idx import count_idx, read_idx
from tidemill.sources.image_folder import read_folder
from tidemill.sources.raw_sample import RawSample, with_ids
from tidemill.sources.text_lines import count_lines, read_lines
from tidemill_contracts.errors import InvalidInput, NotFound, TidemillError


def write_idx(folder: Path, images: list[bytes], labels: list[int], *, zipped: bool = False) -> None:
    side = 4
    contents = {
        "train-images-idx3-ubyte": struct.pack(">4I", 2051, len(images), side, side) + b"".join(images),
        "train-labels-idx1-ubyte": struct.pack(">2I", 2049, len(labels)) + bytes(labels),
    }
    for name, content in contents.items():
        if zipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)


@pytest.mark.parametrize("zipped", [False, True])
def test_idx_images_are_read_with_their_pixels_and_labels(tmp_path: Path, zipped: bool) -> None:
    pixels = bytes(range(16))
    write_idx(tmp_path, [pixels, b"\x00" * 16], [7, 0], zipped=zipped)

    samples = list(read_idx(tmp_path, "train"))

    assert [sample.label for sample in samples] == ["7", "0"]
    assert Image.open(io.BytesIO(samples[0].image or b"")).tobytes() == pixels
    assert count_idx(tmp_path, "train") == 2


def test_the_ten_thousand_test_digits_of_mnist_are_read(data_folder: Path) -> None:
    samples = list(read_idx(data_folder / "mnist", "test"))

    assert len(samples) == 10_000
    assert [sample.label for sample in samples[:5]] == ["7", "2", "1", "0", "4"]
    assert {sample.split for sample in samples} == {"test"}


def spoil_missing(folder: Path) -> None:
    (folder / "train-labels-idx1-ubyte").unlink()


def spoil_cut(folder: Path) -> None:
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])


def spoil_magic(folder: Path) -> None:
    (folder / "train-labels-idx1-ubyte").write_bytes(b"\x89PNG\r\n\x1a\n" * 4)


def spoil_count(folder: Path) -> None:
    write_idx(folder, [b"\x00" * 16], [1, 2])


def spoil_empty(folder: Path) -> None:
    (folder / "train-images-idx3-ubyte").write_bytes(b"")


@pytest.mark.parametrize("spoil", [spoil_missing, spoil_cut, spoil_magic, spoil_count, spoil_empty])
def test_a_bad_idx_file_is_named(tmp_path: Path, spoil: object) -> None:
    write_idx(tmp_path, [b"\x00" * 16], [1])
    assert callable(spoil)
    spoil(tmp_path)

    with pytest.raises(TidemillError, match="train-"):
        list(read_idx(tmp_path, "train"))


def test_the_bundled_digits_are_all_there_and_each_once() -> None:
    train, test = read_bundled_digits()
    ids = [sample.id for _, sample in with_ids(train + test)]

    assert (len(train), len(test), len(set(ids))) == (4000, 1000, 5000)
    assert all(sum(raw.label == str(digit) for raw in test) == 100 for digit in range(10))
    assert {raw.label for raw in train[:100]} == set("0123456789"), "a wave must hold every digit"


def test_a_folder_of_images_gives_their_folders_as_labels(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        Image.new("RGB", (2, 2)).save(tmp_path / label / "a.PNG")
        (tmp_path / label / "notes.txt").write_text("not an image")

    samples = list(read_folder(tmp_path, "test"))

    assert [(sample.label, sample.split) for sample in samples] == [("cat", "test"), ("dog", "test")]


def test_an_empty_folder_says_what_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="folder per label"):
        list(read_folder(tmp_path, "train"))


def test_table_rows_have_numbers_text_and_missing_cells(data_folder: Path) -> None:
    path = data_folder / "tabular" / "penguins.csv"
    with path.open() as file:
        label = next(name for name in file.readline().strip().split(",") if "species" in name.lower())

    samples = list(read_csv(path, label, "train"))

    assert len(samples) == count_rows(path) == 344
    values = [value for sample in samples for value in (sample.row or {}).values()]
    assert {type(value) for value in values} >= {float, str, type(None)}
    assert all(label not in (sample.row or {}) for sample in samples)


def test_a_row_that_a_table_says_twice_is_two_samples(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,label\n1,x\n1,x\n")

    ids = [sample.id for _, sample in with_ids(read_csv(path, "label", "train"))]
    again = [sample.id for _, sample in with_ids(read_csv(path, "label", "train"))]

    assert len(set(ids)) == 2
    assert ids == again


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "", "a,label\n1\n", "a,label\n1,2,3\n", 'a,label\n"1,2\n'])
def test_a_bad_table_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)

    with pytest.raises(InvalidInput, match=r"t\.csv"):
        list(read_csv(path, "label", "train"))


def test_ids_come_from_the_file_and_not_from_how_it_is_encoded() -> None:
    one = RawSample("1", b"pixels", "idx:a", "train", image=b"encoded one way")
    other = RawSample("1", b"pixels", "idx:a", "train", image=b"encoded another way")

    [(_, first)], [(_, second)] = with_ids([one]), with_ids([other])

    assert first.id == second.id


def test_a_column_of_a_table_can_be_the_text(tmp_path: Path) -> None:
    path = tmp_path / "reviews.csv"
    path.write_text('review,opinion,stars\n"A fine film, really",positive,5\n12,negative,1\n')

    samples = list(read_csv(path, "opinion", "train", text="review"))

    assert [(sample.text, sample.label, sample.row) for sample in samples] == [
        ("A fine film, really", "positive", None),
        ("12", "negative", None),
    ]
    with pytest.raises(InvalidInput, match="no column 'sentence'"):
        read_csv(path, "opinion", "train", text="sentence")


def test_texts_are_read_line_by_line_and_only_line_feeds_divide(tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text("a\u0085b\r\n\n  c\u2028d  \nc\u2028d", "utf-8", newline="")
    (tmp_path / "bad.txt").write_text("e\n", "utf-8")

    samples = [sample for _, sample in with_ids(read_lines(tmp_path, "test"))]

    assert [(sample.label, sample.text) for sample in samples] == [
        ("bad", "e"),
        ("good", "a\u0085b"),
        ("good", "c\u2028d"),
        ("good", "c\u2028d"),
    ]
    assert len({sample.id for sample in samples}) == count_lines(tmp_path) == 4


def test_texts_that_cannot_be_read_are_refused_with_the_place_and_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no \.txt file"):
        count_lines(tmp_path)
    (tmp_path / "good.txt").write_bytes(b"fine\nfianc\xe9\n")
    with pytest.raises(InvalidInput, match=r"good\.txt, line 2: not UTF-8.*iconv"):
        count_lines(tmp_path)
