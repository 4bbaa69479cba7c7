"""The store port: named immutable bytes, with generations for the few names that change."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from tidemill_contracts.errors import InvalidInput

ABSENT = 0
"""The generation of a name that holds nothing: ``put(..., if_generation=ABSENT)`` creates only."""

NAME_LENGTH_MAX = 1024
_SEGMENT = re.compile(r"[^/\x00-\x1f\x7f]+")


@dataclass(frozen=True)
class ObjectInfo:
    """What is known of an object without reading it.

    generation: grows with every write of the name; never 0.
    """

    name: str
    size_bytes: int
    generation: int


class ObjectStore(Protocol):
    """Keeps objects by name. A reader sees a whole object or none, never a part of one."""

    def put(self, name: str, data: bytes, *, if_generation: int | None = None) -> ObjectInfo:
        """Write the object durably, all or nothing.

        if_generation: write only if the name is at this generation; ABSENT to create only.

        Raises:
            Conflict: the name is at another generation.
            Unavailable: the store did not answer, or is full.
        """
        ...

    def get(self, name: str) -> bytes:
        """The object's bytes.

        Raises:
            NotFound: there is no such object.
            Unavailable: the store did not answer.
        """
        ...

    def stat(self, name: str) -> ObjectInfo:
        """What is known of the object; raises as `get` does."""
        ...

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Every object whose name begins with `prefix`, by name."""
        ...

    def delete(self, name: str) -> None:
        """Remove the object; nothing happens if there is none."""
        ...

    def ping(self) -> None:
        """Return if the store can be read and written.

        Raises:
            Unavailable: it cannot; the text says why.
        """
        ...


def check_name(name: str) -> str:
    """Return `name` if every store can hold it.

    Raises:
        InvalidInput: it is empty, too long, absolute, or has an empty, dotted or unprintable segment.
    """
    if not name or len(name.encode()) > NAME_LENGTH_MAX:
        raise InvalidInput(f"object name must have 1 to {NAME_LENGTH_MAX} bytes")
    for segment in name.split("/"):
        if segment in {".", ".."} or not _SEGMENT.fullmatch(segment):
            raise InvalidInput(f"object name {name!r} has a segment that no store takes: {segment!r}")
    return name
