"""A small Cloud Storage server: as much of the JSON API as a store needs, told truly, with faults on demand.

    python -m tests.emulators.storage_server --folder DIR --port 9000 [--bucket NAME]
    export STORAGE_EMULATOR_HOST=http://127.0.0.1:9000

Buckets; uploads in one piece, multipart and resumable; reads with ranges; lists with prefix, delimiter and
pages; generations and their preconditions (412); CRC32C and MD5; notifications of finished uploads, published
on the emulator that PUBSUB_EMULATOR_HOST names. ``PUT /_faults`` sets faults,
``GET /_faults`` tells how often each struck.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.emulators.storage_faults import Fault, Faults
from tests.emulators.storage_notifications import Notifications
from tests.emulators.storage_objects import ObjectFiles, Preconditions, Refused, Stored
from tests.emulators.storage_uploads import Session, Sessions, split_multipart

PAGE_MAX = 1000
_BUCKET = r"/storage/v1/b/(?P<bucket>[^/]+)"
_OBJECT = rf"(?:/download)?{_BUCKET}/o/(?P<name>[^/]+)"


class StorageServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], folder: Path, pubsub: str = "") -> None:
        super().__init__(address, Handler)
        self.files = ObjectFiles(folder)
        self.sessions = Sessions()
        self.faults = Faults()
        self.notifications = Notifications(pubsub)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 2**16  # an answer in one packet: two would wait 40 ms for each other
    disable_nagle_algorithm = True
    server: StorageServer

    def handle_any(self) -> None:
        split = urlsplit(self.path)
        self.query = dict(parse_qsl(split.query, keep_blank_values=True))
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.fault: Fault | None = None
        try:
            for verb, pattern, operation, act in ROUTES:
                found = re.fullmatch(pattern, split.path)
                if verb == self.command and found:
                    self._act(operation, act, [unquote(group) for group in found.groups()])
                    return
            raise Refused(404, f"nothing is known of {self.command} {split.path}")
        except Refused as refused:
            error = {"code": refused.status, "message": str(refused)}
            self.answer(refused.status, json.dumps({"error": error}).encode())

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = handle_any

    def _act(self, operation: str, act: Callable[..., None], names: list[str]) -> None:
        self.fault = self.server.faults.strike(operation) if operation else None
        kind = self.fault.kind if self.fault else ""
        if self.fault and kind == "status":
            raise Refused(self.fault.status, "a fault that was asked for")
        if self.fault and kind == "slow":
            time.sleep(self.fault.delay_s)
        if kind == "reset":
            self.close_connection = True
        else:
            act(self, *names)

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Send the answer, unless a fault is that it gets lost or damaged."""
        kind = self.fault.kind if self.fault else ""
        if kind == "lost_answer":
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in {"content_type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if kind == "cut":
            self.close_connection = True
            body = body[: len(body) // 2]
        if kind == "flip" and body:
            body = bytes([body[0] ^ 1]) + body[1:]
        self.wfile.write(body)

    def answer_json(self, document: dict[str, Any]) -> None:
        self.answer(200, json.dumps(document).encode())

    def log_message(self, *_: object) -> None:
        """Quiet: a test run makes thousands of calls."""


def create_bucket(handler: Handler) -> None:
    name = json.loads(handler.body)["name"]
    handler.server.files.create_bucket(name)
    handler.answer_json({"kind": "storage#bucket", "name": name, "id": name})


def get_bucket(handler: Handler, bucket: str) -> None:
    settings = handler.server.files.settings(bucket)
    handler.answer_json({"kind": "storage#bucket", "name": bucket, "id": bucket, **settings})


def set_bucket(handler: Handler, bucket: str) -> None:
    asked = handler.query.get("ifMetagenerationMatch", "")
    settings = handler.server.files.set_bucket(bucket, json.loads(handler.body), asked)
    handler.answer_json({"kind": "storage#bucket", "name": bucket, "id": bucket, **settings})


def test_permissions(handler: Handler, bucket: str) -> None:
    handler.server.files.bucket(bucket)
    asked = [value for name, value in parse_qsl(urlsplit(handler.path).query) if name == "permissions"]
    handler.answer_json({"permissions": asked})


def add_notification(handler: Handler, bucket: str) -> None:
    handler.server.files.bucket(bucket)
    handler.answer_json(handler.server.notifications.add(bucket, json.loads(handler.body)))


def list_notifications(handler: Handler, bucket: str) -> None:
    handler.server.files.bucket(bucket)
    handler.answer_json({"kind": "storage#notifications", "items": handler.server.notifications.of(bucket)})


def list_objects(handler: Handler, bucket: str) -> None:
    query = handler.query
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    after = query.get("pageToken", "")
    limit = min(PAGE_MAX, int(query.get("maxResults", PAGE_MAX)))
    objects = handler.server.files.bucket(bucket).copy()
    items: list[dict[str, Any]] = []
    prefixes: set[str] = set()
    last = ""
    for name in sorted(objects, key=str.encode):
        if not name.startswith(prefix) or name.encode() <= after.encode():
            continue
        if len(items) + len(prefixes) >= limit:
            break
        cut = name.find(delimiter, len(prefix)) if delimiter else -1
        if cut >= 0:
            prefixes.add(name[: cut + len(delimiter)])
        else:
            items.append(resource(objects[name]))
        last = name
    else:
        last = ""
    page = {"nextPageToken": last} if last else {}
    handler.answer_json({"kind": "storage#objects", "items": items, "prefixes": sorted(prefixes), **page})


def get_object(handler: Handler, bucket: str, name: str) -> None:
    conditions = Preconditions.from_query(handler.query)
    if "generation" in handler.query:
        conditions = Preconditions(match=int(handler.query["generation"]))
    if handler.query.get("alt") != "media":
        handler.answer_json(resource(handler.server.files.stat(bucket, name, conditions)))
        return
    stored, data = handler.server.files.get(bucket, name, conditions)
    headers = {
        "content_type": stored.content_type,
        "X_Goog_Hash": f"crc32c={stored.crc32c},md5={stored.md5}",
        "X_Goog_Generation": str(stored.generation),
        "X_Goog_Stored_Content_Length": str(stored.size),
    }
    wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", handler.headers.get("Range", ""))
    if wanted is None or not (wanted[1] or wanted[2]):
        handler.answer(200, data, **headers)
        return
    first = int(wanted[1]) if wanted[1] else max(0, len(data) - int(wanted[2]))
    last = min(len(data) - 1, int(wanted[2])) if wanted[1] and wanted[2] else len(data) - 1
    if first > last:
        raise Refused(416, "the range asked for cannot be had")
    headers["Content_Range"] = f"bytes {first}-{last}/{len(data)}"
    handler.answer(206, data[first : last + 1], **headers)


def delete_object(handler: Handler, bucket: str, name: str) -> None:
    handler.server.files.delete(bucket, name, Preconditions.from_query(handler.query))
    handler.answer(204)


def upload(handler: Handler, bucket: str) -> None:
    query, kind = handler.query, handler.query.get("uploadType")
    handler.server.files.bucket(bucket)
    if kind == "media":
        content_type = handler.headers.get("Content-Type", "application/octet-stream")
        keep(handler, bucket, {"contentType": content_type}, query, handler.body)
    elif kind == "multipart":
        described, content_type, content = split_multipart(
            handler.headers.get("Content-Type", ""), handler.body
        )
        keep(handler, bucket, {"contentType": content_type, **json.loads(described)}, query, content)
    elif kind == "resumable":
        session = Session(bucket, query, json.loads(handler.body or b"{}"))
        ident = handler.server.sessions.begin(session)
        host = handler.headers.get("Host", "")
        place = f"http://{host}/upload/storage/v1/b/{bucket}/o?uploadType=resumable&upload_id={ident}"
        handler.answer(200, Location=place)
    else:
        raise Refused(400, f"no upload of type {kind}")


def upload_piece(handler: Handler, _bucket: str) -> None:
    ident = handler.query.get("upload_id", "")
    sessions = handler.server.sessions
    session, complete = sessions.add(ident, handler.headers.get("Content-Range", ""), handler.body)
    if complete:
        keep(handler, session.bucket, session.resource, session.query, bytes(session.content))
        sessions.end(ident)
    elif session.content:
        handler.answer(308, Range=f"bytes=0-{len(session.content) - 1}")
    else:
        handler.answer(308)


def keep(
    handler: Handler, bucket: str, described: dict[str, Any], query: dict[str, str], data: bytes
) -> None:
    name = query.get("name") or described["name"]
    before = handler.server.files.bucket(bucket).get(name)
    stored = handler.server.files.put(
        bucket,
        name,
        data,
        conditions=Preconditions.from_query(query),
        content_type=described.get("contentType", "application/octet-stream"),
        metadata=described.get("metadata", {}),
        crc32c=described.get("crc32c", ""),
        md5=described.get("md5Hash", ""),
    )
    handler.server.notifications.finalized(resource(stored), before.generation if before else 0)
    handler.answer_json(resource(stored))


def resource(stored: Stored) -> dict[str, Any]:
    """The object as the JSON API describes it; numbers over 32 bits are text there."""
    return {
        "kind": "storage#object",
        "id": f"{stored.bucket}/{stored.name}/{stored.generation}",
        "bucket": stored.bucket,
        "name": stored.name,
        "generation": str(stored.generation),
        "metageneration": "1",
        "size": str(stored.size),
        "crc32c": stored.crc32c,
        "md5Hash": stored.md5,
        "contentType": stored.content_type,
        "metadata": stored.metadata,
        "updated": stored.updated,
        "timeCreated": stored.updated,
    }


def set_faults(handler: Handler) -> None:
    handler.server.faults.set(json.loads(handler.body))
    handler.answer(204)


def tell_faults(handler: Handler) -> None:
    handler.answer_json(handler.server.faults.told())


ROUTES: tuple[tuple[str, str, str, Callable[..., None]], ...] = (
    ("POST", "/storage/v1/b", "", create_bucket),
    ("GET", _BUCKET, "", get_bucket),
    ("PATCH", _BUCKET, "", set_bucket),
    ("GET", f"{_BUCKET}/iam/testPermissions", "stat", test_permissions),
    ("POST", f"{_BUCKET}/notificationConfigs", "", add_notification),
    ("GET", f"{_BUCKET}/notificationConfigs", "", list_notifications),
    ("GET", f"{_BUCKET}/o", "list", list_objects),
    ("GET", _OBJECT, "get", get_object),
    ("DELETE", _OBJECT, "delete", delete_object),
    ("POST", f"/upload{_BUCKET}/o", "put", upload),
    ("PUT", f"/upload{_BUCKET}/o", "put", upload_piece),
    ("PUT", "/_faults", "", set_faults),
    ("GET", "/_faults", "", tell_faults),
)


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description="A small Cloud Storage server for tests.")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--bucket", help="make it if it is missing")
    options = parser.parse_args()
    pubsub = os.environ.get("PUBSUB_EMULATOR_HOST", "")
    server = StorageServer((options.host, options.port), options.folder, pubsub)
    if options.bucket:
        try:
            server.files.create_bucket(options.bucket)
        except Refused as refused:
            if refused.status != 409:
                raise
    server.serve_forever()


if __name__ == "__main__":
    main()
