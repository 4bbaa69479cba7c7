"""Reads texts from a folder with a file per label, one text a line: ``positive.txt``, ``negative.txt``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tidemill_contracts.errors import InvalidInput, NotFound
from tidemill_contracts.samples import Split

from tidemill.sources.raw_sample import RawSample

LINE_BYTES_MAX = 4 * 2**20


def list_texts(folder: Path) -> list[Path]:
    """Every text file of the folder, by name.

    Raises:
        NotFound: there is none.
    """
    paths = sorted(folder.glob("*.txt"))
    if not paths:
        raise NotFound(f"no .txt file in {folder}: put one per label there, such as {folder}/positive.txt")
    return paths


def count_lines(folder: Path) -> int:
    """How many texts `read_lines` gives; raises as it does."""
    return sum(1 for _ in read_lines(folder, "train"))


def read_lines(folder: Path, split: Split) -> Iterator[RawSample]:
    """Every line that is not empty, with its file's name as label.

    Lines end with a line feed and nothing else: texts hold other signs that some call ends of lines.

    Raises:
        NotFound: there is no text file.
        InvalidInput: a line is not UTF-8, or over LINE_BYTES_MAX.
    """
    for path in list_texts(folder):
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if len(line) > LINE_BYTES_MAX:
                    raise InvalidInput(f"{path}, line {number}: over {LINE_BYTES_MAX} bytes")
                try:
                    text = line.decode("utf-8").strip()
                except UnicodeDecodeError as error:
                    said = "not UTF-8; convert the file, such as with iconv -f latin1 -t utf-8"
                    raise InvalidInput(f"{path}, line {number}: {said}") from error
                if text:
                    yield RawSample(
                        label=path.stem,
                        identity=text.encode(),
                        source=f"lines:{folder.absolute().name}",
                        split=split,
                        text=text,
                    )
