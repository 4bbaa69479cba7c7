"""What stands beside a model in the store: manifest, labels and model card."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from tidemill_contracts.errors import Conflict, Corrupt, NotFound
from tidemill_contracts.events import Sha256, Version
from tidemill_contracts.layout import labels_name
from tidemill_contracts.objects import ABSENT, ObjectStore
from tidemill_contracts.samples import Name

LABEL_CHANGES_MAX = 5
"""How often a change of labels is tried again when somebody else was faster."""

PATH_LENGTH_MAX = 512


def _stays_below(path: str) -> str:
    """A path that cannot leave the version's folder, in printable ASCII."""
    if any(segment in {"", ".", ".."} for segment in path.split("/")) or not path.isascii():
        raise ValueError("a file's path must stay below the version's folder")
    return path


RelativePath = Annotated[
    str,
    StringConstraints(pattern=r"^[\x21-\x7e]+$", max_length=PATH_LENGTH_MAX),
    AfterValidator(_stays_below),
]


class StoredFile(BaseModel):
    """One file of a version, by its path below the version's folder."""

    model_config = ConfigDict(frozen=True)

    path: RelativePath
    size_bytes: Annotated[int, Field(ge=0)]
    sha256: Sha256


class Manifest(BaseModel):
    """Every file of a version with size and digest. Written last: its presence means the version is whole."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    model: Name
    version: Version
    created_at: datetime
    round_id: str
    parent_version: Version | None = None
    files: Annotated[tuple[StoredFile, ...], Field(min_length=1)]

    @property
    def digest(self) -> str:
        """SHA-256 over paths, sizes and digests of all files: names the version's content."""
        return files_digest(self.files)


def files_digest(files: Iterable[StoredFile]) -> str:
    """SHA-256 over the files' paths, sizes and digests, by path."""
    lines = sorted(f"{file.path}\t{file.size_bytes}\t{file.sha256}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


class Labels(BaseModel):
    """Which version each label of a model means.

    stable: answers when a client names no version.
    candidate: published, not yet let through.
    previous: what was stable before; stays loaded, for rollback.
    """

    model_config = ConfigDict(frozen=True)

    stable: Version | None = None
    candidate: Version | None = None
    previous: Version | None = None

    def promote(self, version: int) -> Labels:
        """`version` becomes stable, what was stable becomes previous. Again the same: nothing changes."""
        candidate = None if self.candidate == version else self.candidate
        if self.stable == version:
            return self.model_copy(update={"candidate": candidate})
        return Labels(stable=version, previous=self.stable, candidate=candidate)


class ModelCard(BaseModel):
    """What a version is: when it was made, from what, how good it is, why it was let through."""

    model_config = ConfigDict(frozen=True)

    model: Name
    version: Version
    kind: str
    dataset: Name
    created_at: datetime
    round_id: str
    round_number: int
    parent_version: Version | None = None
    labels: tuple[str, ...]
    train_samples: int
    validation_samples: int
    metrics: dict[str, float]
    champion_metrics: dict[str, float] | None = None
    decision: str
    seed: int
    environment: dict[str, str] = Field(default_factory=dict)
    further: dict[str, Any] = Field(default_factory=dict)


Document = TypeVar("Document", bound=BaseModel)


def parse_document(kind: type[Document], data: bytes, name: str) -> Document:
    """A manifest, labels or card from its JSON.

    Raises:
        Corrupt: the object is not what it should be.
    """
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        raise Corrupt(f"{name} is not a valid {kind.__name__}: {error.error_count()} faults") from error


def dump_document(document: BaseModel) -> bytes:
    """The document as JSON that people can read, the same bytes for the same content."""
    return (document.model_dump_json(indent=2, exclude_none=True) + "\n").encode()


def read_labels(store: ObjectStore, model: str) -> tuple[Labels, int]:
    """The labels of a model and their generation; none and ABSENT where there are none yet."""
    name = labels_name(model)
    try:
        generation = store.stat(name).generation
        return parse_document(Labels, store.get(name), name), generation
    except NotFound:
        return Labels(), ABSENT


def write_labels(store: ObjectStore, model: str, labels: Labels, *, over_generation: int) -> int:
    """Replace the labels that were read at `over_generation`; return the new generation.

    Raises:
        Conflict: somebody changed them since; read again and decide again.
    """
    return store.put(labels_name(model), dump_document(labels), if_generation=over_generation).generation


def change_labels(store: ObjectStore, model: str, change: Any) -> Labels:
    """Read, apply ``change(labels) -> labels``, write over the known generation; try again if overtaken.

    Raises:
        Conflict: overtaken LABEL_CHANGES_MAX times in a row.
    """
    for _ in range(LABEL_CHANGES_MAX):
        labels, generation = read_labels(store, model)
        changed: Labels = change(labels)
        if changed == labels:
            return labels
        try:
            write_labels(store, model, changed, over_generation=generation)
        except Conflict:
            continue
        return changed
    raise Conflict(f"the labels of {model} changed {LABEL_CHANGES_MAX} times while they were being changed")
