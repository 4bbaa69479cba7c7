"""The film reviews as samples."""

from __future__ import annotations

from pathlib import Path

from tidemill_contracts.samples import Sample, sample_id

FILES = {"negative": "rt-polarity.neg", "positive": "rt-polarity.pos"}


def review_samples(data_folder: Path) -> list[Sample]:
    """One a line, each with its id."""
    return [
        Sample(id=sample_id(line.encode(), "reviews"), label=label, text=line)
        for label, name in FILES.items()
        for line in (data_folder / "sentiment_rt" / name).read_text("latin-1").split("\n")
        if line.strip()
    ]
