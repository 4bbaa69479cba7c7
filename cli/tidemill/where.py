"""Conditions such as ``label=7`` on messages and the samples in them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tidemill_contracts.bus import Message
from tidemill_contracts.errors import InvalidInput
from tidemill_contracts.events import SamplesReceived
from tidemill_contracts.identified import IdentifiedSample, identified
from tidemill_contracts.readable import read_samples

OF_SAMPLES = ("label", "id")
"""Names that mean a sample's own fields; others mean the message: dataset, split, source or an attribute."""


@dataclass(frozen=True)
class Where:
    """wanted: by name, the values of which one must be there. All names must be satisfied."""

    wanted: Mapping[str, frozenset[str]]

    @classmethod
    def parse(cls, conditions: Sequence[str]) -> Where:
        """Conditions as people write them, ``NAME=VALUE``; a name given twice takes either value.

        Raises:
            InvalidInput: one is not of that form.
        """
        wanted: dict[str, frozenset[str]] = {}
        for condition in conditions:
            name, equals, value = condition.partition("=")
            if not name or not equals:
                raise InvalidInput(
                    f"--where takes NAME=VALUE such as label=7, not {condition!r}", field="--where"
                )
            wanted[name] = wanted.get(name, frozenset()) | {value}
        return cls(wanted)

    def cut(self, message: Message) -> tuple[Message | None, int]:
        """The message with only the samples that are wanted, and how many; None if there are none.

        Where all are wanted, it is the message itself; a bad sample of it, which is among the dead letters
        already, is never wanted. A cut one has ids at every sample and an envelope id
        of its own, made of both, so that cutting it again gives the same message.

        Raises:
            InvalidInput: the message holds no samples that can be read.
        """
        read = read_samples(message)
        event = read.event
        if not self.wanted and not read.bad:
            return message, len(event.samples)
        if not self._takes_message(message, event):
            return None, 0
        found = [each for each in identified(event, read.positions) if self._takes_sample(each)]
        if len(found) == len(event.samples) and not read.bad:
            return message, len(found)
        return (_cut(message, event, found), len(found)) if found else (None, 0)

    def _takes_message(self, message: Message, event: SamplesReceived) -> bool:
        of_event = {"dataset": event.dataset, "split": event.split, "source": event.source}
        has = {**of_event, **message.attributes}
        return all(has.get(name) in values for name, values in self.wanted.items() if name not in OF_SAMPLES)

    def _takes_sample(self, found: IdentifiedSample) -> bool:
        has = {"label": found.sample.label, "id": found.sample_id}
        return all(has[name] in self.wanted[name] for name in OF_SAMPLES if name in self.wanted)


def _cut(message: Message, event: SamplesReceived, found: list[IdentifiedSample]) -> Message:
    samples = [each.sample.model_copy(update={"id": each.sample_id}) for each in found]
    body = event.model_copy(update={"samples": tuple(samples), "count": len(samples)})
    attributes = dict(message.attributes)
    if "ce-id" in attributes:
        parts = [attributes["ce-id"], *(each.sample_id for each in found)]
        attributes["ce-id"] = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
    return message._replace(data=body.model_dump_json(exclude_none=True).encode(), attributes=attributes)
