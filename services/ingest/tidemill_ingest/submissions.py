"""What clients send: a JSON body of samples, or files with a form."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError
from tidemill_contracts.bus import Message
from tidemill_contracts.envelope import field_path, from_message
from tidemill_contracts.errors import InvalidInput
from tidemill_contracts.events import SAMPLES_PER_MESSAGE_MAX, SamplesReceived, Source
from tidemill_contracts.samples import Label, Name, Sample, Split


class Submission(SamplesReceived):
    """The body of a request. Unknown fields are refused: with `splitt` mistyped, test samples would train."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class UploadForm(BaseModel):
    """The fields beside whatever is uploaded; they hold for all of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: Name
    split: Split = "train"
    source: Source = "files"


class FilesForm(UploadForm):
    """Beside pictures: the label of all of them."""

    label: Label


class ArchiveForm(UploadForm):
    """Beside an archive: nothing more, for its folders are the labels."""


class TableForm(UploadForm):
    """Beside a table: which column is the label, and which one is the text, if the sample is a text."""

    label: Annotated[str, StringConstraints(min_length=1)]
    text: Annotated[str, StringConstraints(min_length=1)] | None = None


F = TypeVar("F", bound=UploadForm)


def read_submission(body: bytes) -> SamplesReceived:
    """The samples of a JSON body.

    Raises:
        Malformed: it is not JSON.
        InvalidInput: it is JSON of another shape; `field` says where.
    """
    return from_message(Message(body), Submission)


def read_form(fields: Mapping[str, str]) -> FilesForm:
    """The fields beside pictures; raises as `read_form_of` does."""
    return read_form_of(FilesForm, fields)


def read_form_of(kind: type[F], fields: Mapping[str, str]) -> F:
    """The form's fields.

    Raises:
        InvalidInput: one is missing, wrong or unknown; `field` says which.
    """
    try:
        return kind.model_validate(dict(fields))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = field_path(first["loc"])
        raise InvalidInput(f"{field}: {first['msg']}", field=field) from error


def submission_of_files(form: FilesForm, files: Sequence[bytes]) -> SamplesReceived:
    """One image sample per file, in order.

    Raises:
        InvalidInput: there is no file, or an empty one, or more than a message may hold.
    """
    if not 1 <= len(files) <= SAMPLES_PER_MESSAGE_MAX:
        raise InvalidInput(f"file: send 1 to {SAMPLES_PER_MESSAGE_MAX} files, not {len(files)}", field="file")
    for index, file in enumerate(files):
        if not file:
            raise InvalidInput(f"file[{index}]: the file is empty", field=f"file[{index}]")
    samples = tuple(Sample(label=form.label, image=base64.b64encode(file).decode()) for file in files)
    return SamplesReceived(dataset=form.dataset, split=form.split, source=form.source, samples=samples)
