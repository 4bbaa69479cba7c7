"""Each rule of RFC 9113, sections 3 to 6 and 8.1, that a server must keep, with bytes that break it."""

from __future__ import annotations

import pytest
from tidemill_chassis.rpc import frames
from tidemill_chassis.rpc.codes import (
    COMPRESSION_ERROR,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    PROTOCOL_ERROR,
    STREAM_CLOSED,
    ConnectionFault,
)
from tidemill_chassis.rpc.connection import FRAME_BYTES_MAX

from tests.unit.chassis.rpc.wire import GREETING, answered, block, frame, frames_of, message, request, serving

D, H, PRI, RST, SET, PUSH, PING, AWAY, WIN, CONT = range(10)
END, ENDS, PADDED, WITH_PRIORITY = frames.END_STREAM, frames.END_HEADERS, frames.PADDED, frames.WITH_PRIORITY
OPEN = frame(H, ENDS, 1, block())
HALF = frame(H, 0, 1, block()[:5])
ENDED = OPEN + frame(D, END, 1, message(b""))
WINDOW = (4).to_bytes(2, "big")
LARGEST = (2**31 - 1).to_bytes(4, "big")


def setting(number: int, value: int) -> bytes:
    return frame(SET, 0, 0, number.to_bytes(2, "big") + value.to_bytes(4, "big"))


BROKEN = {
    "4.1 DATA over the largest frame": (OPEN + frame(D, 0, 1, bytes(FRAME_BYTES_MAX + 1)), FRAME_SIZE_ERROR),
    "4.1 HEADERS over the largest frame": (frame(H, ENDS, 1, bytes(FRAME_BYTES_MAX + 1)), FRAME_SIZE_ERROR),
    "4.1 an unknown frame over the largest": (frame(77, 0, 0, bytes(FRAME_BYTES_MAX + 1)), FRAME_SIZE_ERROR),
    "4.3 a block that is no HPACK": (frame(H, ENDS, 1, b"\xff\xff\xff\xff\xff\xff"), COMPRESSION_ERROR),
    "4.3 index 0": (frame(H, ENDS, 1, b"\x80"), COMPRESSION_ERROR),
    "4.3 an index that no table has": (frame(H, ENDS, 1, b"\xfe"), COMPRESSION_ERROR),
    "4.3 a table larger than allowed": (frame(H, ENDS, 1, b"\x3f\xe1\x7f" + block()), COMPRESSION_ERROR),
    "4.3 a table changed amidst a block": (frame(H, ENDS, 1, block() + b"\x20"), COMPRESSION_ERROR),
    "4.3 a literal that is cut off": (frame(H, ENDS, 1, b"\x00\x7f"), COMPRESSION_ERROR),
    "4.3 Huffman that ends wrongly": (frame(H, ENDS, 1, b"\x00\x01a\x84\xff\xff\xff\xff"), COMPRESSION_ERROR),
    "4.3 another frame amidst a block": (HALF + frame(PING, 0, 0, bytes(8)), PROTOCOL_ERROR),
    "4.3 HEADERS of another stream amidst a block": (HALF + frame(H, ENDS, 3, block()), PROTOCOL_ERROR),
    "4.3 an unknown frame amidst a block": (HALF + frame(77, 0, 1), PROTOCOL_ERROR),
    "5.1 DATA on a stream that never was": (frame(D, END, 1, b"x"), PROTOCOL_ERROR),
    "5.1 RST_STREAM on a stream that never was": (frame(RST, 0, 1, bytes(4)), PROTOCOL_ERROR),
    "5.1 WINDOW_UPDATE on a stream that never was": (frame(WIN, 0, 1, b"\0\0\0\1"), PROTOCOL_ERROR),
    "5.1 CONTINUATION on a stream that never was": (frame(CONT, ENDS, 1, block()), PROTOCOL_ERROR),
    "5.1 DATA after its end": (ENDED + frame(D, 0, 1, b"x"), STREAM_CLOSED),
    "5.1 HEADERS after its end": (ENDED + frame(H, ENDS | END, 1, b"\0\1a\1b"), STREAM_CLOSED),
    "5.1.1 a request on an even stream": (frame(H, ENDS | END, 2, block()), PROTOCOL_ERROR),
    "5.1.1 a request on an earlier stream": (
        frame(H, ENDS | END, 5, block()) + frame(H, ENDS | END, 3, block()),
        PROTOCOL_ERROR,
    ),
    "6.1 DATA on stream 0": (frame(D, 0, 0, b"x"), PROTOCOL_ERROR),
    "6.1 more padding than DATA": (OPEN + frame(D, PADDED, 1, b"\x05abc"), PROTOCOL_ERROR),
    "6.1 padded DATA without its length": (OPEN + frame(D, PADDED, 1), FRAME_SIZE_ERROR),
    "6.2 HEADERS on stream 0": (frame(H, ENDS, 0, block()), PROTOCOL_ERROR),
    "6.2 more padding than HEADERS": (frame(H, ENDS | PADDED, 1, b"\xff" + block()), PROTOCOL_ERROR),
    "6.2 HEADERS too short for a priority": (frame(H, ENDS | WITH_PRIORITY, 1, bytes(4)), FRAME_SIZE_ERROR),
    "6.2 padding into the priority": (
        frame(H, ENDS | WITH_PRIORITY | PADDED, 1, b"\x03" + bytes(6)),
        FRAME_SIZE_ERROR,
    ),
    "6.3 PRIORITY on stream 0": (frame(PRI, 0, 0, bytes(5)), PROTOCOL_ERROR),
    "6.3 PRIORITY that is not five bytes": (frame(PRI, 0, 1, bytes(4)), FRAME_SIZE_ERROR),
    "6.4 RST_STREAM on stream 0": (frame(RST, 0, 0, bytes(4)), PROTOCOL_ERROR),
    "6.4 RST_STREAM that is not four bytes": (OPEN + frame(RST, 0, 1, bytes(3)), FRAME_SIZE_ERROR),
    "6.5 SETTINGS of a stream": (frame(SET, 0, 1), PROTOCOL_ERROR),
    "6.5 an ACK with a content": (frame(SET, frames.ACK, 0, bytes(6)), FRAME_SIZE_ERROR),
    "6.5 SETTINGS that are no multiple of six": (frame(SET, 0, 0, bytes(5)), FRAME_SIZE_ERROR),
    "6.5.2 ENABLE_PUSH of 2": (setting(frames.ENABLE_PUSH, 2), PROTOCOL_ERROR),
    "6.5.2 a window over 2^31-1": (setting(frames.INITIAL_WINDOW_SIZE, 2**31), FLOW_CONTROL_ERROR),
    "6.5.2 frames under 2^14": (setting(frames.MAX_FRAME_SIZE, 2**14 - 1), PROTOCOL_ERROR),
    "6.5.2 frames over 2^24-1": (setting(frames.MAX_FRAME_SIZE, 2**24), PROTOCOL_ERROR),
    "6.6 PUSH_PROMISE": (OPEN + frame(PUSH, ENDS, 1, bytes(4)), PROTOCOL_ERROR),
    "6.7 PING of a stream": (frame(PING, 0, 1, bytes(8)), PROTOCOL_ERROR),
    "6.7 PING that is not eight bytes": (frame(PING, 0, 0, bytes(7)), FRAME_SIZE_ERROR),
    "6.8 GOAWAY of a stream": (frame(AWAY, 0, 1, bytes(8)), PROTOCOL_ERROR),
    "6.8 GOAWAY of seven bytes": (frame(AWAY, 0, 0, bytes(7)), FRAME_SIZE_ERROR),
    "6.9 WINDOW_UPDATE that is not four bytes": (frame(WIN, 0, 0, bytes(3)), FRAME_SIZE_ERROR),
    "6.9 a window of nothing more": (frame(WIN, 0, 0, bytes(4)), PROTOCOL_ERROR),
    "6.9 a stream's window of nothing more": (OPEN + frame(WIN, 0, 1, bytes(4)), PROTOCOL_ERROR),
    "6.9.1 the connection's window over 2^31-1": (frame(WIN, 0, 0, LARGEST), FLOW_CONTROL_ERROR),
    "6.9.1 a stream's window over 2^31-1": (OPEN + frame(WIN, 0, 1, LARGEST), FLOW_CONTROL_ERROR),
    "6.9.2 a changed window puts a stream over 2^31-1": (
        OPEN
        + frame(WIN, 0, 1, (2**31 - 1 - 65535).to_bytes(4, "big"))
        + setting(frames.INITIAL_WINDOW_SIZE, 65536),
        FLOW_CONTROL_ERROR,
    ),
    "6.10 CONTINUATION after END_HEADERS": (OPEN + frame(CONT, ENDS, 1, b""), PROTOCOL_ERROR),
    "6.10 CONTINUATION of another stream": (HALF + frame(CONT, ENDS, 3, block()[5:]), PROTOCOL_ERROR),
    "8.1 headers amidst a request": (OPEN + frame(H, ENDS, 1, b"\0\1a\1b"), PROTOCOL_ERROR),
    "10.5.1 a block of 33 kB in one frame": (frame(H, ENDS, 1, bytes(33 * 1024)), ENHANCE_YOUR_CALM),
    "10.5.1 a block of 33 kB in many": (
        frame(H, 0, 1, bytes(16 * 1024))
        + frame(CONT, 0, 1, bytes(16 * 1024))
        + frame(CONT, 0, 1, bytes(1024)),
        ENHANCE_YOUR_CALM,
    ),
    "10.5.1 a small block of a large list": (
        frame(H, ENDS, 1, b"\x40" + frames.field("large", "x" * 4000)[1:] + b"\xbe" * 20),
        COMPRESSION_ERROR,
    ),
    "10.5 a frame of 33 settings": (frame(SET, 0, 0, (WINDOW + bytes(4)) * 33), ENHANCE_YOUR_CALM),
}


GREETINGS = {
    "3.4 another protocol": b"GET / HTTP/1.1\r\nHost: tides\r\n\r\n",
    "3.4 a preface with a wrong end": frames.PREFACE[:-1] + b"x",
    "3.4 a first frame that is not SETTINGS": frames.PREFACE + frame(PING, 0, 0, bytes(8)),
    "3.4 a first frame that only acknowledges": frames.PREFACE + frames.SETTINGS_ACK,
}
HARMLESS = {
    "4.1 a reserved bit": frame(PING, 0, 2**31, bytes(8)),
    "4.1 flags that mean nothing": frame(PING, 0xFE, 0, bytes(8)),
    "4.1 an unknown frame": frame(77, 0xFF, 9, b"whatever"),
    "5.1 WINDOW_UPDATE after the answer": frame(WIN, 0, 1, b"\0\0\0\1"),
    "5.1 RST_STREAM after the answer": frame(RST, 0, 1, bytes(4)),
    "5.1 a priority after the answer": frame(PRI, 0, 1, bytes(5)),
    "6.1 DATA that was under way when its call was refused": (
        frames.headers(3, block(("grpc-encoding", "none")), end=False) + frame(D, END, 3, message(b""))
    ),
    "6.1 trailers that were under way when their call was refused": (
        frames.headers(3, block(("grpc-encoding", "none")), end=False) + frame(H, ENDS | END, 3, b"\0\1a\1b")
    ),
    "6.3 a priority of a stream that never was": frame(PRI, 0, 9, bytes(5)),
    "6.5.2 a setting that is unknown": setting(0x99, 2**32 - 1),
    "6.5 settings acknowledged twice": frames.SETTINGS_ACK * 2,
    "6.5 no settings": frame(SET),
    "6.7 a pong that was not asked for": frame(PING, frames.ACK, 0, bytes(8)),
    "6.8 a farewell": frame(AWAY, 0, 0, bytes(8) + b"bye"),
    "6.10 a block in pieces": (
        frame(H, 0, 3, block()[:1]) + frame(CONT, 0, 3) + frame(CONT, ENDS, 3, block()[1:])
    ),
}


def names(table):
    return {"argvalues": table.values(), "ids": table}


@pytest.mark.parametrize(("broken", "code"), **names(BROKEN))
def test_who_breaks_a_rule_is_told_which_kind_and_left(broken, code):
    connection = serving()

    with pytest.raises(ConnectionFault) as fault:
        connection.receive(broken)

    *_, last = frames_of(connection.take_output())
    assert (fault.value.code, last.kind) == (code, AWAY)
    assert int.from_bytes(last.payload[4:8], "big") == code


@pytest.mark.parametrize("greeting", **names(GREETINGS))
def test_who_greets_wrongly_is_left(greeting):
    connection = serving(greeted=False)

    with pytest.raises(ConnectionFault) as fault:
        connection.receive(greeting)

    assert fault.value.code == PROTOCOL_ERROR
    assert not connection.greeted


@pytest.mark.parametrize("harmless", **names(HARMLESS))
def test_what_is_allowed_disturbs_no_call(harmless):
    connection = serving()

    connection.receive(request(1))
    before = answered(connection)
    connection.receive(harmless + request(11, b"again"))
    after = answered(connection)

    assert [each.message for each in before + after] == [b"tide", b"again"]


def test_a_preface_may_come_byte_by_byte():
    connection = serving(greeted=False)

    for each in GREETING:
        connection.receive(bytes((each,)))

    assert connection.greeted
    assert frames_of(connection.take_output()) == [(SET, frames.ACK, 0, b"")]


def test_a_ping_comes_back_and_settings_are_acknowledged():
    connection = serving()

    connection.receive(frame(PING, 0, 0, b"ebbflood") + setting(frames.MAX_FRAME_SIZE, 2**15))

    assert frames_of(connection.take_output()) == [
        (PING, frames.ACK, 0, b"ebbflood"),
        (SET, frames.ACK, 0, b""),
    ]


def test_padding_and_a_priority_are_taken_off():
    connection = serving()
    padded = b"\x03" + bytes(5) + block() + bytes(3)

    connection.receive(
        frame(H, ENDS | PADDED | WITH_PRIORITY, 1, padded)
        + frame(D, PADDED, 1, b"\x02" + message(b"tide")[:6] + bytes(2))
        + frame(D, END | PADDED, 1, b"\x00" + message(b"tide")[6:])
    )

    assert [call.message for call in connection.take_calls()] == [b"tide"]
