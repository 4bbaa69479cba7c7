"""Brings a version from the store to the serving folder: whole and true to its manifest, or not at all."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tidemill_contracts.errors import Corrupt, NotFound
from tidemill_contracts.layout import MANIFEST, manifest_name, version_prefix
from tidemill_contracts.manifest import Manifest, StoredFile, parse_document
from tidemill_contracts.objects import ObjectStore

from tidemill_serving.version_folder import VersionFolder

VERSION_BYTES_MAX = 64 * 2**30
FILES_MAX = 10_000


def fetch(store: ObjectStore, folder: VersionFolder, model: str, version: int) -> Manifest:
    """Lay the version in the folder, if its manifest is in order and every file is as it says.

    Raises:
        NotFound: it has no manifest: it does not exist (yet).
        Corrupt: the manifest or a file is not what it should be; trying again will not mend it.
        Unavailable: store or disk did not do their part; try again.
    """
    name = manifest_name(model, version)
    raw = store.get(name)
    manifest = parse_document(Manifest, raw, name)
    check(manifest, model, version)
    with folder.staged(model, version) as staged:
        for file in manifest.files:
            _fetch_file(store, version_prefix(model, version), file, staged)
        (staged / MANIFEST).write_bytes(raw)
    return manifest


def check(manifest: Manifest, model: str, version: int) -> None:
    """Return if the manifest may be acted upon.

    Raises:
        Corrupt: it is another version's, or its paths cannot all lie in one folder, or it is over a limit.
    """
    said = f"the manifest of {model} version {version}"
    if (manifest.model, manifest.version) != (model, version):
        raise Corrupt(f"{said} speaks of {manifest.model} version {manifest.version}")
    if len(manifest.files) > FILES_MAX or sum(file.size_bytes for file in manifest.files) > VERSION_BYTES_MAX:
        raise Corrupt(f"{said} is over {FILES_MAX} files or {VERSION_BYTES_MAX} bytes")
    paths = {file.path for file in manifest.files}
    if len(paths) != len(manifest.files):
        raise Corrupt(f"{said} names a file twice")
    for path in paths:
        parents = {str(parent) for parent in Path(path).parents}
        if path == MANIFEST or "//" in path or path.endswith("/") or parents & paths:
            raise Corrupt(f"{said} has a path that cannot be laid: {path}")


def _fetch_file(store: ObjectStore, prefix: str, file: StoredFile, staged: Path) -> None:
    name = prefix + file.path
    try:
        size_bytes = store.stat(name).size_bytes
        if size_bytes != file.size_bytes:  # before reading: a wrong object may be huge
            raise Corrupt(f"{name} has {size_bytes} bytes, its manifest says {file.size_bytes}")
        data = store.get(name)
    except NotFound as error:
        raise Corrupt(f"{name} is missing, though its manifest names it") from error
    if len(data) != file.size_bytes or hashlib.sha256(data).hexdigest() != file.sha256:
        raise Corrupt(f"{name} is not what its manifest says: its SHA-256 differs")
    target = staged / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
