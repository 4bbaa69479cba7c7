"""Files that Cloud Storage announces: its notifications as Pub/Sub carries them.

Source: cloud.google.com/storage/docs/pubsub-notifications. The attributes say what happened; the body, in
form JSON_API_V1, is the object's metadata. A file is announced as OBJECT_FINALIZE only when it is whole: an
upload that still runs has no object, and is neither listed nor announced.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, ValidationError

from tidemill_contracts.bus import Message
from tidemill_contracts.envelope import field_path
from tidemill_contracts.errors import InvalidInput
from tidemill_contracts.objects import ObjectInfo

TOPIC = "files"
SUBSCRIPTION = "ingest"
FINALIZED = "OBJECT_FINALIZE"
PAYLOAD_FORMAT = "JSON_API_V1"


class _Resource(BaseModel):
    """What is asked of the object's metadata; numbers of 64 bits are text there."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    bucket: str
    name: str
    generation: int
    size: int


@dataclass(frozen=True)
class AnnouncedFile:
    """A file that was whole in a bucket when this was said."""

    bucket: str
    info: ObjectInfo


def announced_file(message: Message) -> AnnouncedFile | None:
    """The file that a notification announces; None for one about something else, such as a deletion.

    Raises:
        InvalidInput: it is no notification, or has no payload in form JSON_API_V1.
    """
    attributes = message.attributes
    kind = attributes.get("eventType")
    if kind is None:
        raise InvalidInput("this is no notification of Cloud Storage: it has no eventType", field="eventType")
    if kind != FINALIZED:
        return None
    form = attributes.get("payloadFormat")
    if form != PAYLOAD_FORMAT:
        raise InvalidInput(
            f"the notification has payload format {form!r}: make it anew with {PAYLOAD_FORMAT}, as "
            f"`tidemill provision` does",
            field="payloadFormat",
        )
    try:
        found = _Resource.model_validate_json(message.data)
    except ValidationError as error:
        field = field_path(error.errors()[0]["loc"])
        said = f"the notification's payload is no object's metadata: {field or 'it is not JSON'}"
        raise InvalidInput(said, field=field or None) from error
    told = (attributes.get("bucketId", found.bucket), attributes.get("objectId", found.name))
    if told != (found.bucket, found.name):
        raise InvalidInput(f"the notification says {told}, its payload {(found.bucket, found.name)}")
    return AnnouncedFile(found.bucket, ObjectInfo(found.name, found.size, found.generation))
