"""What an attacker gets: an end, or no more memory and time than he spends himself."""

from __future__ import annotations

import zlib

import pytest
from tidemill_chassis.rpc import frames
from tidemill_chassis.rpc.codes import ENHANCE_YOUR_CALM, REFUSED_STREAM, CallFailed, Code, ConnectionFault
from tidemill_chassis.rpc.connection import CHORES_A_SECOND_MAX, WINDOW_CHANGES_A_SECOND_MAX
from tidemill_chassis.rpc.header_blocks import BLOCK_KEPT_BYTES_MAX, BLOCKS_KEPT_MAX
from tidemill_chassis.rpc.messages import TEXT_BYTES_MAX, unescaped
from tidemill_chassis.rpc.serving_side import ServingConnection
from tidemill_chassis.rpc.stream import PARTS_KEPT_MAX

from tests.unit.chassis.rpc.wire import (
    GREETING,
    MESSAGE_BYTES_MAX,
    PATH,
    answered,
    block,
    frame,
    frames_of,
    message,
    request,
    serving,
)

OPEN = frames.headers(1, block(), end=False)
WINDOW = frames.INITIAL_WINDOW_SIZE
CHORES = {
    "pings": frame(frames.PING, 0, 0, bytes(8)),
    "settings": frame(frames.SETTINGS),
    "resets of what is over": frame(frames.RST_STREAM, 0, 1, bytes(4)),
    "priorities": frame(frames.PRIORITY, 0, 1, bytes(5)),
    "windows": frame(frames.WINDOW_UPDATE, 0, 0, b"\0\0\0\1"),
    "unknown frames": frame(99),
}


@pytest.mark.parametrize("chore", CHORES.values(), ids=CHORES)
def test_a_flood_of_what_says_nothing_ends_the_connection(chore):
    connection = serving()
    connection.receive(request(1))
    answered(connection)

    with pytest.raises(ConnectionFault) as fault:
        connection.receive(chore * (2 * CHORES_A_SECOND_MAX + 2))

    assert fault.value.code == ENHANCE_YOUR_CALM


@pytest.mark.parametrize(
    ("first", "again"),
    [(OPEN, frame(frames.DATA, 0, 1)), (frame(frames.HEADERS, 0, 1), frame(frames.CONTINUATION, 0, 1))],
    ids=["empty data", "empty continuations"],
)
def test_a_flood_of_emptiness_ends_the_connection(first, again):
    connection = serving()
    connection.receive(first)

    with pytest.raises(ConnectionFault) as fault:
        connection.receive(again * (2 * CHORES_A_SECOND_MAX + 2))

    assert fault.value.code == ENHANCE_YOUR_CALM


def test_a_client_that_opens_its_windows_for_every_4_kb_gets_a_large_answer():
    connection = serving()
    size, step = 2 * MESSAGE_BYTES_MAX, 4_096
    connection.receive(request(1))
    (call,) = connection.take_calls()
    connection.answer(call, bytes(size))
    more = frames.window_update(0, step // 2) * 2 + frames.window_update(1, step // 2) * 2

    got = 0
    for _ in range(size // step + 1):
        got += sum(len(each.payload) for each in frames_of(connection.take_output()) if each.kind == 0)
        connection.receive(more)
    got += sum(len(each.payload) for each in frames_of(connection.take_output()) if each.kind == 0)

    assert got == size + 5


def test_windows_that_change_all_the_time_end_the_connection_though_data_comes_between():
    connection = serving()
    connection.receive(OPEN)
    turn = frames.settings({WINDOW: 9}) + frame(frames.DATA, 0, 1, b"x") + frames.settings({WINDOW: 8})

    with pytest.raises(ConnectionFault) as fault:
        connection.receive(turn * (WINDOW_CHANGES_A_SECOND_MAX + 2))

    assert fault.value.code == ENHANCE_YOUR_CALM


def test_calls_that_are_asked_and_reset_leave_nothing_behind():
    connection = serving(streams_max=10)

    for number in range(1, 1001, 2):
        connection.receive(request(number) + frames.reset(number, 8))
        calls = connection.take_calls() + connection.take_cancelled()
        assert not any(call.active for call in calls)

    assert not connection.streams
    assert not connection.take_output()


def test_calls_over_the_limit_are_refused_and_the_others_answered():
    connection = serving(streams_max=2)

    connection.receive(b"".join(request(number) for number in (1, 3, 5)))
    calls = answered(connection)

    refused = [each for each in frames_of(connection.take_output()) if each.kind == frames.RST_STREAM]
    assert [call.number for call in calls] == [1, 3]
    assert refused == [(frames.RST_STREAM, 0, 5, REFUSED_STREAM.to_bytes(4, "big"))]


def test_a_message_in_tiny_pieces_takes_little_more_memory_than_its_length():
    connection = serving()
    pieces, size = 5_000, 3
    connection.receive(OPEN)

    for _ in range(pieces):
        connection.receive(frame(frames.DATA, 0, 1, bytes(size)))

    (call,) = connection.streams.values()
    assert sum(map(len, call.parts)) == pieces * size
    assert len(call.parts) <= PARTS_KEPT_MAX


def test_a_small_piece_does_not_keep_what_was_read_with_it():
    connection = serving()
    connection.receive(OPEN)

    connection.receive(frame(frames.DATA, 0, 1, b"x" * 100) + frame(99, 0, 0, bytes(100_000)))

    (call,) = connection.streams.values()
    assert [each.obj for each in call.parts] == [b"x" * 100]


def test_a_message_over_the_limit_is_refused_before_it_is_whole():
    connection = ServingConnection([PATH], message_bytes_max=1000, streams_max=1)
    connection.receive(GREETING + OPEN)
    connection.take_output()

    connection.receive(frame(frames.DATA, 0, 1, bytes(1006)))

    ended, reset = frames_of(connection.take_output())
    assert b"grpc-status\x018" in ended.payload
    assert ended.flags & frames.END_STREAM
    assert reset.kind == frames.RST_STREAM
    assert not connection.streams


def test_what_unpacks_to_more_than_the_limit_is_refused():
    packed = zlib.compress(bytes(MESSAGE_BYTES_MAX + 1))
    connection = serving()
    head = frames.headers(1, block(("grpc-encoding", "deflate")), end=False)

    connection.receive(head + frame(frames.DATA, frames.END_STREAM, 1, message(packed, 1)))

    (ended,) = frames_of(connection.take_output())
    assert b"grpc-status\x018" in ended.payload
    assert not connection.take_calls()


def test_long_headers_are_not_remembered():
    connection = serving()

    for number in range(1, 2 * BLOCKS_KEPT_MAX, 2):
        connection.receive(request(number, b"", ("long", str(number) + "x" * BLOCK_KEPT_BYTES_MAX)))
        answered(connection)

    assert not connection._blocks._known


def test_many_different_headers_are_forgotten_again():
    connection = serving()

    for number in range(1, 201, 2):
        connection.receive(request(number, b"", ("tide", str(number))))
        answered(connection)

    assert len(connection._blocks._known) <= BLOCKS_KEPT_MAX


def test_a_long_text_is_cut_where_a_letter_ends():
    connection = serving()
    connection.receive(request(1))
    (call,) = connection.take_calls()

    connection.fail(call, CallFailed(Code.INTERNAL, "häuser\n" * 10_000))

    (ended,) = frames_of(connection.take_output())
    text = unescaped(ended.payload[ended.payload.index(b"grpc-message") + 12 + 3 :])
    assert len(ended.payload) < TEXT_BYTES_MAX + 200
    assert text.startswith("häuser\nhäuser\n")
    assert text.endswith("…")
    assert "�" not in text


def test_trailers_that_no_one_frame_holds_go_in_several():
    connection = serving()
    connection.receive(request(1))
    (call,) = connection.take_calls()

    connection.answer(call, b"", (("large", "x" * 40_000),))

    sent = frames_of(connection.take_output())
    assert [each.kind for each in sent] == [frames.HEADERS, frames.DATA, frames.HEADERS, 9, 9]
    assert all(len(each.payload) <= frames.FRAME_BYTES_DEFAULT for each in sent)
    assert [each.flags for each in sent[2:]] == [frames.END_STREAM, 0, frames.END_HEADERS]


def test_an_answer_that_nobody_makes_room_for_is_known_to_be_stuck():
    connection = ServingConnection([PATH], message_bytes_max=1000, streams_max=1)
    connection.receive(frames.PREFACE + frames.settings({WINDOW: 10}) + request(1))
    assert connection.stuck_s(1e12) == 0

    answered(connection)
    stuck = connection.stuck_s(1e12)
    connection.receive(frames.reset(1, 8))

    assert stuck > 0
    assert connection.stuck_s(1e12) == 0


def test_a_window_below_nothing_is_waited_out():
    connection = serving()
    content = b"flood" * 4_000
    connection.receive(request(1, content))
    answered(connection)  # 40 kB of the 65 kB that the stream's window has
    connection.receive(request(3, content))
    first, second = connection.take_output(), None

    connection.receive(frames.settings({WINDOW: 100}))
    answered(connection)
    second = connection.take_output()
    connection.receive(frames.settings({WINDOW: 2**20}) + frames.window_update(0, 2**20))
    third = connection.take_output()

    def data(sent: bytes) -> int:
        return sum(len(each.payload) for each in frames_of(sent) if each.kind == frames.DATA)

    assert (data(first), data(second), data(third)) == (40_005, 100, 39_905)
