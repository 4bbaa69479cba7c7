"""The objects of the Cloud Storage emulator: one file each, generations, preconditions."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import struct
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import google_crc32c

_LENGTH = struct.Struct(">Q")
SETTINGS = "settings.json"


class Refused(Exception):
    """An answer that is not a success."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Stored:
    """What is known of an object. crc32c, md5: Base64, as the JSON API writes them."""

    bucket: str
    name: str
    generation: int
    size: int
    crc32c: str
    md5: str
    content_type: str
    updated: str
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Preconditions:
    """What must hold of an object's generation; 0 means that there is none."""

    match: int | None = None
    not_match: int | None = None

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> Preconditions:
        def number(name: str) -> int | None:
            return int(query[name]) if name in query else None

        return cls(number("ifGenerationMatch"), number("ifGenerationNotMatch"))

    def check(self, generation: int) -> None:
        """Raises Refused: with 412."""
        missed = self.match is not None and self.match != generation
        if missed or (self.not_match is not None and self.not_match == generation):
            raise Refused(412, "At least one of the pre-conditions you specified did not hold.")


class ObjectFiles:
    """Buckets are folders, objects are files that hold their metadata and then their bytes.

    A file is written aside, fsynced and renamed: a server that is killed keeps what it confirmed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.RLock()
        self._buckets: dict[str, dict[str, Stored]] = {}
        self._last_generation = 0
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(folder.glob("*/*.object")):
            stored, _ = _read(path)
            self._buckets.setdefault(stored.bucket, {})[stored.name] = stored
            self._last_generation = max(self._last_generation, stored.generation)
        for path in folder.iterdir():
            self._buckets.setdefault(path.name, {})

    def create_bucket(self, bucket: str) -> None:
        with self._lock:
            if bucket in self._buckets:
                raise Refused(409, "Your previous request to create the named bucket succeeded.")
            (self._folder / bucket).mkdir()
            self._buckets[bucket] = {}

    def settings(self, bucket: str) -> dict[str, Any]:
        """What was set on the bucket, with its metageneration."""
        self.bucket(bucket)
        path = self._folder / bucket / SETTINGS
        return json.loads(path.read_text()) if path.exists() else {"metageneration": "1"}

    def set_bucket(self, bucket: str, changes: Mapping[str, Any], metageneration: str) -> dict[str, Any]:
        """Change what is set on the bucket; raises Refused: with 412, it is at another metageneration."""
        with self._lock:
            settings = self.settings(bucket)
            if metageneration not in ("", settings["metageneration"]):
                raise Refused(412, "At least one of the pre-conditions you specified did not hold.")
            settings = {**settings, **changes, "metageneration": str(int(settings["metageneration"]) + 1)}
            (self._folder / bucket / SETTINGS).write_text(json.dumps(settings))
            return settings

    def bucket(self, bucket: str) -> dict[str, Stored]:
        """The bucket's objects by name. Raises Refused: there is no such bucket."""
        with self._lock:
            if bucket not in self._buckets:
                raise Refused(404, "The specified bucket does not exist.")
            return self._buckets[bucket]

    def put(
        self,
        bucket: str,
        name: str,
        data: bytes,
        *,
        conditions: Preconditions,
        content_type: str,
        metadata: dict[str, str],
        crc32c: str = "",
        md5: str = "",
    ) -> Stored:
        """Write the object whole. crc32c, md5: what the sender says they are."""
        true_crc32c, true_md5 = checksums(data)
        if crc32c not in ("", true_crc32c) or md5 not in ("", true_md5):
            raise Refused(400, "The checksum sent does not match the content received.")
        with self._lock:
            objects = self.bucket(bucket)
            conditions.check(objects[name].generation if name in objects else 0)
            self._last_generation = max(time.time_ns() // 1000, self._last_generation + 1)
            now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
            stored = Stored(
                bucket=bucket,
                name=name,
                generation=self._last_generation,
                size=len(data),
                crc32c=true_crc32c,
                md5=true_md5,
                content_type=content_type,
                updated=now,
                metadata=metadata,
            )
            _write(self._path(bucket, name), stored, data)
            objects[name] = stored
            return stored

    def stat(self, bucket: str, name: str, conditions: Preconditions) -> Stored:
        with self._lock:
            found = self.bucket(bucket).get(name)
        if found is None:
            raise Refused(404, f"No such object: {bucket}/{name}")
        conditions.check(found.generation)
        return found

    def get(self, bucket: str, name: str, conditions: Preconditions) -> tuple[Stored, bytes]:
        with self._lock:
            self.stat(bucket, name, conditions)
            return _read(self._path(bucket, name))

    def delete(self, bucket: str, name: str, conditions: Preconditions) -> None:
        with self._lock:
            self.stat(bucket, name, conditions)
            self._path(bucket, name).unlink()
            del self.bucket(bucket)[name]

    def _path(self, bucket: str, name: str) -> Path:
        return self._folder / bucket / f"{hashlib.sha256(name.encode()).hexdigest()}.object"


def checksums(data: bytes) -> tuple[str, str]:
    """CRC32C and MD5, each in Base64."""
    crc32c = google_crc32c.value(data).to_bytes(4, "big")
    md5 = hashlib.md5(data, usedforsecurity=False).digest()
    return base64.b64encode(crc32c).decode(), base64.b64encode(md5).decode()


def _write(path: Path, stored: Stored, data: bytes) -> None:
    head = json.dumps(asdict(stored)).encode()
    staged = path.with_suffix(f".{threading.get_ident()}")
    with staged.open("wb") as file:
        file.write(_LENGTH.pack(len(head)) + head)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    staged.rename(path)


def _read(path: Path) -> tuple[Stored, bytes]:
    content = path.read_bytes()
    (length,) = _LENGTH.unpack_from(content)
    head_end = _LENGTH.size + length
    return Stored(**json.loads(content[_LENGTH.size : head_end])), content[head_end:]
