"""What of a message of samples can be read: a bad sample never takes its neighbours along.

A message is kept as it is, whole. Whoever reads it leaves out the samples that nobody could read; what is
left out, and why, is the same for every reader, because all of them read here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from tidemill_contracts.bus import Message
from tidemill_contracts.envelope import field_path, from_message
from tidemill_contracts.errors import InvalidInput, Malformed
from tidemill_contracts.events import SAMPLES_PER_MESSAGE_MAX, SamplesReceived
from tidemill_contracts.samples import Sample


class BadSample(NamedTuple):
    """A sample that cannot be read. position: in the message, from 0. raw: as it stood in the JSON."""

    position: int
    reason: str
    raw: Any


@dataclass(frozen=True)
class ReadableSamples:
    """event: with the sound samples alone. positions: where each of them stands in the message, from 0."""

    event: SamplesReceived
    positions: tuple[int, ...]
    bad: tuple[BadSample, ...] = ()


def read_samples(message: Message) -> ReadableSamples:
    """The samples that can be read, and the others.

    Raises:
        Malformed: the body is not JSON.
        InvalidInput: it is JSON of another shape, or none of its samples can be read; `field` says where.
    """
    try:
        event = from_message(message, SamplesReceived)
    except Malformed:
        raise
    except InvalidInput as error:
        found = _parted(message)
        if found is None:
            raise
        try:
            return _without_bad(message, *found)
        except InvalidInput:
            raise error from None
    return ReadableSamples(event, tuple(range(len(event.samples))))


def _parted(message: Message) -> tuple[dict[str, Any], dict[int, Sample], list[BadSample]] | None:
    """The body, its sound samples by position and the bad ones; None where it is not a matter of samples."""
    try:
        body = from_json(message.data)
    except ValueError:
        return None
    samples = body.get("samples") if isinstance(body, dict) else None
    if not isinstance(samples, list) or not 0 < len(samples) <= SAMPLES_PER_MESSAGE_MAX:
        return None
    sound: dict[int, Sample] = {}
    bad: list[BadSample] = []
    for position, raw in enumerate(samples):
        try:
            sound[position] = Sample.model_validate(raw)
        except ValidationError as error:
            bad.append(BadSample(position, _reason(position, error), raw))
    return (body, sound, bad) if sound and bad else None


def _without_bad(
    message: Message, body: dict[str, Any], sound: dict[int, Sample], bad: list[BadSample]
) -> ReadableSamples:
    """The message read as if only its sound samples stood in it; raises as `from_message` does."""
    told = body.get("count")
    if told is not None and told != len(sound) + len(bad):
        raise InvalidInput(f"count says {told}, but there are {len(sound) + len(bad)} samples", field="count")
    first = Message(_with_one_sample(body, next(iter(sound.values()))), message.attributes)
    event = from_message(first, SamplesReceived)  # its header, checked as any other's
    event = event.model_copy(update={"samples": tuple(sound.values())})
    return ReadableSamples(event, tuple(sound), tuple(bad))


def _with_one_sample(body: dict[str, Any], sample: Sample) -> bytes:
    header = {name: value for name, value in body.items() if name not in ("samples", "count")}
    shown = sample.model_dump(mode="json", exclude_none=True)
    return to_json({**header, "samples": [shown]})


def _reason(position: int, error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    said = first["msg"].removeprefix("Value error, ")
    return f"{field_path(('samples', position, *first['loc']))}: {said}"
