"""Publishes a challenger: files first, manifest last, then the label, then the news."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tidemill_contracts.bus import Bus
from tidemill_contracts.envelope import to_message
from tidemill_contracts.errors import Conflict, NotFound
from tidemill_contracts.events import ModelPublished
from tidemill_contracts.layout import manifest_name, model_prefix, version_prefix
from tidemill_contracts.manifest import (
    Labels,
    Manifest,
    StoredFile,
    change_labels,
    dump_document,
    parse_document,
)
from tidemill_contracts.objects import ABSENT, ObjectStore

SOURCE = "tidemill/trainer"


@dataclass(frozen=True)
class Publication:
    """What names a version: fixed when its round was decided, so that a second attempt writes the same.

    snapshot: digest of the objects that the round's own samples lie in.
    """

    model: str
    version: int
    round_id: str
    parent_version: int | None
    created_at: datetime
    snapshot: str | None = None


def last_stored_version(store: ObjectStore, model: str) -> int:
    """The highest version that has any file in the store, whole or not; 0 if none has."""
    prefix = model_prefix(model)
    folders = {info.name.removeprefix(prefix).split("/")[0] for info in store.list(prefix)}
    return max((int(folder) for folder in folders if folder.isdecimal()), default=0)


def find_manifest(store: ObjectStore, publication: Publication) -> Manifest | None:
    """The manifest, if an earlier attempt of the same round got that far; None if the version is not whole.

    Raises:
        Conflict: the version belongs to another round.
    """
    name = manifest_name(publication.model, publication.version)
    try:
        manifest = parse_document(Manifest, store.get(name), name)
    except NotFound:
        return None
    if manifest.round_id != publication.round_id:
        raise Conflict(f"{name} belongs to round {manifest.round_id}, not {publication.round_id}")
    return manifest


def write_version(store: ObjectStore, publication: Publication, files: Mapping[str, bytes]) -> Manifest:
    """Write every file of the version, then its manifest, which makes it visible.

    Files of an attempt that did not get to the manifest are overwritten; nobody has seen them.

    Raises:
        Conflict: the version has become whole already.
        Unavailable: the store did not answer; try again.
    """
    prefix = version_prefix(publication.model, publication.version)
    for path, data in sorted(files.items()):
        store.put(prefix + path, data)
    manifest = Manifest(
        model=publication.model,
        version=publication.version,
        created_at=publication.created_at,
        round_id=publication.round_id,
        parent_version=publication.parent_version,
        files=tuple(_stored_file(path, data) for path, data in sorted(files.items())),
    )
    name = manifest_name(publication.model, publication.version)
    store.put(name, dump_document(manifest), if_generation=ABSENT)
    return manifest


def announce_version(store: ObjectStore, bus: Bus, publication: Publication, manifest: Manifest) -> None:
    """Label the version `candidate` and tell everybody. Idempotent; the event keeps its id.

    Raises:
        Conflict: the labels are changed by others all the time; try again.
        Unavailable: store or bus did not answer; try again.
    """
    change_labels(store, publication.model, lambda labels: _with_candidate(labels, publication.version))
    event = ModelPublished(
        event_id=f"{publication.round_id}-published",
        event_time=publication.created_at,
        model=publication.model,
        version=publication.version,
        manifest=manifest_name(publication.model, publication.version),
        digest=manifest.digest,
        round_id=publication.round_id,
        parent_version=publication.parent_version,
        snapshot=publication.snapshot,
    )
    bus.publish(ModelPublished.topic, [to_message(event, source=SOURCE, ordering_key=publication.model)])


def read_folder(folder: Path) -> dict[str, bytes]:
    """Every file below the folder by its path there, with forward slashes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _with_candidate(labels: Labels, version: int) -> Labels:
    """The version as candidate, unless serving has let it through, or a newer one came, already."""
    newest = max(labels.candidate or 0, labels.stable or 0)
    served = version in (labels.stable, labels.previous)
    return labels if served or newest > version else labels.model_copy(update={"candidate": version})


def _stored_file(path: str, data: bytes) -> StoredFile:
    return StoredFile(path=path, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
