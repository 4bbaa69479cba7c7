"""What was uploaded as files: pictures of one label, an archive of pictures, or a table."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError
from tidemill_contracts.errors import InvalidInput
from tidemill_contracts.events import SamplesReceived
from tidemill_contracts.samples import Sample

from tidemill_ingest.archives import is_archive, unpack
from tidemill_ingest.submissions import ArchiveForm, TableForm, read_form, read_form_of, submission_of_files
from tidemill_ingest.tables import read_table

TABLE_TYPES = ("text/csv", "application/csv")


@dataclass(frozen=True)
class Upload:
    """A file as the client named it."""

    name: str
    content_type: str
    data: bytes

    @property
    def is_table(self) -> bool:
        return self.content_type in TABLE_TYPES or self.name.lower().endswith(".csv")


@dataclass(frozen=True)
class UploadLimits:
    """file_bytes_max: of a picture. unpacked_bytes_max: of everything in an archive together."""

    file_bytes_max: int
    unpacked_bytes_max: int


def read_uploads(
    fields: Mapping[str, str], uploads: Sequence[Upload], limits: UploadLimits
) -> tuple[SamplesReceived, list[str]]:
    """The samples of a request, and where each stands in it, for errors.

    Raises:
        InvalidInput: a field or a file is wrong; the text says which.
    """
    special = [upload for upload in uploads if upload.is_table or is_archive(upload.data)]
    if not special:
        received = submission_of_files(read_form(fields), [upload.data for upload in uploads])
        return received, [f"file[{index}]" for index in range(len(received.samples))]
    if len(uploads) > 1:
        raise InvalidInput(f"send {special[0].name} alone: one table or archive a request", field="file")
    return _table(fields, special[0]) if special[0].is_table else _archive(fields, special[0], limits)


def _table(fields: Mapping[str, str], upload: Upload) -> tuple[SamplesReceived, list[str]]:
    form = read_form_of(TableForm, fields)
    try:
        rows = list(read_table(upload.data, label=form.label, text=form.text))
    except InvalidInput as error:
        raise InvalidInput(f"file[0]: {error}", field=error.field or "file[0]") from error
    samples = tuple(sample for _, sample in rows)
    received = SamplesReceived(dataset=form.dataset, split=form.split, source=form.source, samples=samples)
    return received, [f"file[0] line {line}" for line, _ in rows]


def _archive(
    fields: Mapping[str, str], upload: Upload, limits: UploadLimits
) -> tuple[SamplesReceived, list[str]]:
    form = read_form_of(ArchiveForm, fields)
    samples: list[Sample] = []
    places: list[str] = []
    try:
        for found in unpack(
            upload.data, file_bytes_max=limits.file_bytes_max, all_bytes_max=limits.unpacked_bytes_max
        ):
            places.append(f"file[0]/{found.name}")
            samples.append(_picture(found.label, found.data, found.name))
    except InvalidInput as error:
        raise type(error)(f"file[0]: {error}", field="file[0]") from error
    received = SamplesReceived(
        dataset=form.dataset, split=form.split, source=form.source, samples=tuple(samples)
    )
    return received, places


def _picture(label: str, data: bytes, name: str) -> Sample:
    if not data:
        raise InvalidInput(f"{name} is empty")
    try:
        return Sample(label=label, image=base64.b64encode(data).decode())
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise InvalidInput(f"{name}: its folder is no label: {first['msg']}") from error
