"""Notifications of the Cloud Storage emulator: made by the JSON API, published on Pub/Sub's emulator.

A notification goes out before the upload is answered, and the upload fails where it cannot: so that no test
waits for what was lost. The service sends it a moment later, and tries for days.
"""

from __future__ import annotations

import base64
import json
import threading
import urllib.request
from typing import Any

PUBLISH_TIMEOUT_S = 10.0
TOPIC_PREFIX = "//pubsub.googleapis.com/"


class Notifications:
    """The notification configurations of every bucket. pubsub: HOST:PORT of Pub/Sub's emulator."""

    def __init__(self, pubsub: str) -> None:
        self._pubsub = pubsub
        self._lock = threading.Lock()
        self._of: dict[str, list[dict[str, Any]]] = {}

    def add(self, bucket: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Make one; its resource as the JSON API gives it."""
        with self._lock:
            known = self._of.setdefault(bucket, [])
            made = {**asked, "kind": "storage#notification", "id": str(len(known) + 1)}
            known.append(made)
        return made

    def of(self, bucket: str) -> list[dict[str, Any]]:
        with self._lock:
            return list(self._of.get(bucket, []))

    def finalized(self, resource: dict[str, Any], overwrote: int) -> None:
        """Tell whoever asked that an object is whole. overwrote: the generation before, 0 for none."""
        for one in self.of(resource["bucket"]):
            kinds = one.get("event_types") or ["OBJECT_FINALIZE"]
            if "OBJECT_FINALIZE" in kinds and resource["name"].startswith(
                one.get("object_name_prefix") or ""
            ):
                self._publish(one, resource, overwrote)

    def _publish(self, one: dict[str, Any], resource: dict[str, Any], overwrote: int) -> None:
        attributes = {
            "notificationConfig": f"projects/_/buckets/{resource['bucket']}/notificationConfigs/{one['id']}",
            "eventType": "OBJECT_FINALIZE",
            "payloadFormat": one["payload_format"],
            "bucketId": resource["bucket"],
            "objectId": resource["name"],
            "objectGeneration": resource["generation"],
            "eventTime": resource["updated"],
            **(one.get("custom_attributes") or {}),
        }
        if overwrote:
            attributes["overwroteGeneration"] = str(overwrote)
        data = json.dumps(resource).encode() if one["payload_format"] == "JSON_API_V1" else b""
        message = {"data": base64.b64encode(data).decode(), "attributes": attributes}
        topic = one["topic"].removeprefix(TOPIC_PREFIX)
        request = urllib.request.Request(
            f"http://{self._pubsub}/v1/{topic}:publish",
            json.dumps({"messages": [message]}).encode(),
            {"Content-Type": "application/json"},
            method="POST",
        )
        urllib.request.urlopen(request, timeout=PUBLISH_TIMEOUT_S).close()  # noqa: S310
