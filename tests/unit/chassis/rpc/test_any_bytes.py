"""However bytes come, and whatever they are: the same calls, or a fault; never anything else."""

from __future__ import annotations

import itertools
import random

from hpack import Decoder, Encoder
from hypothesis import given, settings
from hypothesis import strategies as st
from tidemill_chassis.rpc import frames
from tidemill_chassis.rpc.calling_side import CallingConnection
from tidemill_chassis.rpc.codes import ConnectionFault
from tidemill_chassis.rpc.connection import Connection
from tidemill_chassis.rpc.header_blocks import HeaderBlocks

from tests.unit.chassis.rpc.wire import GREETING, PATH, answered, block, frame, message, request, serving

QUICK = settings(max_examples=60, deadline=None)
CONTENTS = [b"", b"tide", bytes(range(256)) * 9, b"x" * 70_000]
CONVERSATION = (
    GREETING
    + frames.settings({frames.INITIAL_WINDOW_SIZE: 2**20, frames.MAX_FRAME_SIZE: 2**17})
    + frames.window_update(0, 2**24)
    + b"".join(request(1 + 2 * number, content) for number, content in enumerate(CONTENTS))
    + frame(frames.HEADERS, 0, 9, block()[:20])
    + frame(frames.CONTINUATION, frames.END_HEADERS, 9, block()[20:])
    + frame(frames.DATA, frames.PADDED, 9, b"\x02" + message(b"ebb")[:4] + bytes(2))
    + frames.ping(bytes(8), ack=False)
    + frame(frames.DATA, frames.END_STREAM, 9, message(b"ebb")[4:])
    + request(11)
    + frames.reset(11, 8)
    + frames.goaway(0, 0)
)


def heard(reads: list[bytes]) -> tuple[list[bytes], bytes]:
    """The messages that a server takes from these reads, and what it says."""
    connection = serving(greeted=False)
    messages, said = [], b""
    for data in reads:
        connection.receive(data)
        messages += [call.message for call in connection.take_calls()]
        said += connection.take_output()
    return messages, said


def pieces(data: bytes, ends: list[int]) -> list[bytes]:
    cuts = [0, *sorted({end % len(data) for end in ends}), len(data)]
    return [data[first:last] for first, last in itertools.pairwise(cuts) if last > first]


@QUICK
@given(st.lists(st.integers(0, 2**20), max_size=40))
def test_however_the_bytes_are_parted_the_calls_are_the_same(ends):
    assert heard(pieces(CONVERSATION, ends)) == heard([CONVERSATION])


def test_byte_by_byte_the_calls_are_the_same():
    short = CONVERSATION.replace(request(7, CONTENTS[3]), b"")

    assert heard([bytes((each,)) for each in short]) == heard([short])


def feed(connection: Connection, data: bytes, size: int) -> int:
    """How much it said of `data`, fed in reads of `size`; a fault ends it."""
    said = 0
    for at in range(0, len(data), size):
        try:
            connection.receive(data[at : at + size])
        except ConnectionFault:
            return said + len(connection.take_output())
        said += len(connection.take_output())
    return said


def mutated(data: bytes, seed: int) -> bytes:
    """With a few bytes changed, moved, doubled or lost."""
    rng, made = random.Random(seed), bytearray(data)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(made))
        match rng.randrange(4):
            case 0:
                made[at] = rng.randrange(256)
            case 1:
                made[at] ^= 1 << rng.randrange(8)
            case 2:
                del made[at : at + rng.randint(1, 20)]
            case _:
                other = rng.randrange(len(made))
                made[at:at] = made[other : other + rng.randint(1, 60)]
    return bytes(made)


def output_bound(data: bytes) -> int:
    """Of a server that has nothing to answer: its end, and a few bytes for each frame there can be."""
    return 4_000 + 13 * len(data)


@QUICK
@given(st.binary(max_size=300))
def test_random_bytes_make_a_fault_or_nothing(data):
    connection = serving()

    assert feed(connection, data, 50) < output_bound(data)


@QUICK
@given(
    st.lists(st.tuples(st.integers(0, 11), st.integers(0, 255), st.integers(0, 6), st.binary(max_size=40)))
)
def test_random_frames_make_a_fault_or_nothing(drawn):
    data = b"".join(frame(*each) for each in drawn)
    connection = serving()

    assert feed(connection, data, 64) < output_bound(data)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32))
def test_a_mutated_conversation_makes_calls_or_a_fault(seed):
    short = CONVERSATION.replace(request(7, CONTENTS[3]), b"")
    connection = serving(greeted=False)
    data = mutated(short, seed)

    said = feed(connection, data, 1 + seed % 999)
    answered(connection)

    assert said < output_bound(data)
    assert sum(stream.buffered for stream in connection.streams.values()) <= len(data)


def answers() -> bytes:
    """What a server says to three calls."""
    connection = serving(greeted=False)
    connection.receive(GREETING + b"".join(request(number, b"tide") for number in (1, 3, 5)))
    answered(connection)
    return frames.settings({}) + connection.take_output()


ANSWERS = answers()


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32))
def test_mutated_answers_make_results_or_a_fault(seed):
    ended: list[int] = []
    connection = CallingConnection("tides", message_bytes_max=10_000)
    for _ in range(3):
        connection.ask(PATH, b"tide", 1.0, (), lambda asked: ended.append(asked.number))
    connection.take_output()
    data = mutated(ANSWERS, seed)

    said = feed(connection, data, 1 + seed % 99)

    assert said < output_bound(data)
    assert len(ended) == len(set(ended)) == 3 - len(connection.streams)


NAMES = st.sampled_from([b"grpc-timeout", b"tide", b"user-agent", b":path", b"x" * 50, b"large"])
VALUES = st.sampled_from([b"", b"1m", b"999m", b"high", b"/t.T/Double", b"y" * 90, b"z" * 1500])
BLOCKS = st.lists(st.lists(st.tuples(NAMES, VALUES), max_size=5), min_size=1, max_size=6)


@QUICK
@given(
    BLOCKS, st.lists(st.tuples(st.integers(0, 5), st.sampled_from([None, None, 0, 100, 4096])), max_size=40)
)
def test_what_is_remembered_is_what_would_be_decoded(kinds, turns):
    encoder, plain = Encoder(), Decoder()
    remembering = HeaderBlocks(tuple)

    for which, table in turns:
        if table is not None:
            encoder.header_table_size = table
        coded = encoder.encode(kinds[which % len(kinds)])

        assert remembering.decode(coded) == tuple(plain.decode(coded, raw=True))


@QUICK
@given(st.lists(st.binary(min_size=1, max_size=6), min_size=1, max_size=30))
def test_what_is_remembered_of_random_blocks_is_what_would_be_decoded(blocks):
    plain, remembering = Decoder(), HeaderBlocks(tuple)
    table = b"\x40\x01a\x01b\x40\x01c\x01d"

    for coded in [table, *blocks, *blocks]:
        try:
            expected = tuple(plain.decode(coded, raw=True))
        except Exception:  # noqa: BLE001  (whichever: the connection would be at its end)
            return
        assert remembering.decode(coded) == expected
