"""The messages that torture publishes: samples that can be recognised again, and poison."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from random import Random

from tidemill_contracts.bus import Message

DATASET = "torture"
LABELS = tuple("0123456789")
POISON_ID = "torture-poison"
"""The attribute by which a poisonous message is known again among the dead letters."""
TEST_EVERY = 10


def split_of(sample_id: str) -> str:
    """Every tenth sample is for test; the id says which."""
    return "test" if int(sample_id[1:]) % TEST_EVERY == 0 else "train"


def text_of(sample_id: str) -> str:
    """The one content that the sample may have: 64 to 1,024 characters, made of its id."""
    digest = hashlib.sha256(sample_id.encode()).hexdigest()
    return digest * (1 + int(digest[:2], 16) % 16)


def label_of(sample_id: str) -> str:
    """A label that can be learned: it follows from how the text begins."""
    return LABELS[int(text_of(sample_id)[0], 16) % len(LABELS)]


def message_of(sample_ids: Iterable[str]) -> Message:
    """A message with these samples, which must be of one split."""
    ids = list(sample_ids)
    samples = [{"id": ident, "label": label_of(ident), "text": text_of(ident)} for ident in ids]
    body = {"dataset": DATASET, "split": split_of(ids[0]), "source": "tidemill/torture", "samples": samples}
    return Message(json.dumps(body).encode(), {"content-type": "application/json"})


def mixed(sample_ids: Sequence[str], number: int) -> tuple[Message, str]:
    """A message with these samples, and between them one that nobody can read; its id is a poison id."""
    sound = message_of(sample_ids)
    ident = f"p{number}-sample"
    body = json.loads(sound.data)
    body["samples"].insert(len(sample_ids) // 2, {"id": ident, "text": "no label", "weight": 1})
    return Message(json.dumps(body).encode(), sound.attributes), ident


def pack(sample_ids: Iterable[str], dice: Random, *, samples_max: int) -> list[Message]:
    """The samples in messages of 1 to `samples_max`, never two splits in one."""
    messages = []
    for split in ("train", "test"):
        ids = [ident for ident in sample_ids if split_of(ident) == split]
        while ids:
            size = dice.randint(1, samples_max)
            messages.append(message_of(ids[:size]))
            ids = ids[size:]
    return messages


def poison(number: int) -> list[Message]:
    """One message of every kind that no reader could read."""
    sound = message_of(["s1"]).data
    bodies: list[tuple[bytes, dict[str, str]]] = [
        (b"", {}),
        (b"\xff\xfe\x00 not text", {}),
        (sound[: len(sound) // 2], {}),
        (b"[1, 2, 3]", {}),
        (sound.replace(b'"torture"', b'"../../etc"'), {}),
        (sound.replace(b'"label"', b'"lable"'), {}),
        (b'{"dataset":"torture","samples":[]}', {}),
        (sound, {"ce-type": "tidemill.model.published.v1"}),
        (sound, {"ce-time": "yesterday"}),
        (sound, {"note": "\ud800"}),
        (b"[" * 100_000, {}),
        (b"x" * 2_000_000, {}),
    ]
    return [
        Message(body, {**attributes, POISON_ID: f"p{number}-{kind}"})
        for kind, (body, attributes) in enumerate(bodies)
    ]
