"""Uploads as the JSON API takes them: in one piece, in two parts, in many requests."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from email.parser import BytesParser
from typing import Any
from uuid import uuid4

from tests.emulators.storage_objects import Refused

_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")


def split_multipart(content_type: str, body: bytes) -> tuple[bytes, str, bytes]:
    """The JSON part, the content's type and the content of a `multipart/related` body."""
    boundary = content_type.partition("boundary=")[2].strip("'\" ").encode()
    if not boundary:
        raise Refused(400, "a multipart upload needs a boundary")
    parts = body.split(b"--" + boundary)[1:-1]
    if len(parts) != 2:
        raise Refused(400, "a multipart upload has two parts")
    (_, resource), (head, content) = (
        part.removeprefix(b"\r\n").removesuffix(b"\r\n").split(b"\r\n\r\n", 1) for part in parts
    )
    kind = BytesParser().parsebytes(head + b"\r\n\r\n").get_content_type()
    return resource, kind, content


@dataclass
class Session:
    """A resumable upload under way."""

    bucket: str
    query: dict[str, str]
    resource: dict[str, Any]
    content: bytearray = field(default_factory=bytearray)


class Sessions:
    """Resumable uploads by id; a server that is started anew has forgotten them, as the service may."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, Session] = {}

    def begin(self, session: Session) -> str:
        with self._lock:
            ident = uuid4().hex
            self._open[ident] = session
            return ident

    def add(self, ident: str, content_range: str, body: bytes) -> tuple[Session, bool]:
        """Take a piece in; whether the upload is complete now. ``bytes */N`` only asks how far it is."""
        with self._lock:
            session = self._open.get(ident)
            if session is None:
                raise Refused(404, "there is no such upload")
            found = _RANGE.fullmatch(content_range or f"bytes 0-{len(body) - 1}/{len(body)}")
            if content_range == "" and not body:
                return session, True
            if found is None:
                raise Refused(400, f"not a Content-Range: {content_range}")
            first, _, total = found.groups()
            if first is not None:
                if int(first) > len(session.content):
                    raise Refused(400, "a piece is missing before this one")
                del session.content[int(first) :]
                session.content.extend(body)
            return session, total != "*" and len(session.content) == int(total)

    def end(self, ident: str) -> None:
        with self._lock:
            self._open.pop(ident, None)
