"""One HTTP/2 connection without its socket (RFC 9113): bytes in, frames out, windows kept on both sides.

What a stream means is for the subclass: `serving_side` and `calling_side`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Generic

from tidemill_chassis.rpc import frames
from tidemill_chassis.rpc.codes import (
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    NO_ERROR,
    PROTOCOL_ERROR,
    STREAM_CLOSED,
    ConnectionFault,
)
from tidemill_chassis.rpc.header_blocks import HEADERS_BYTES_MAX, Header, HeaderBlocks, Read
from tidemill_chassis.rpc.sending import Sending
from tidemill_chassis.rpc.stream import PART_BYTES_MIN, STREAM_WINDOW, AnyStream

FRAME_BYTES_MAX = 128 * 1024
"""What we let the other side put into one frame: few frames a message, and little to copy for a late end."""

CONNECTION_WINDOW = 2**30
"""What all streams together may send ahead; what is kept is bounded by message, and by `streams_max`."""

BLOCK_BYTES_MAX = 32 * 1024
"""Of one header block as it is sent, continuations included."""

SETTINGS_MAX = 32
"""In one frame: there are six that mean something to us."""

WINDOW_CHANGES_A_SECOND_MAX = 100
"""Of the initial window: each goes through all streams."""

CHORES_A_SECOND_MAX = 2_000
"""Frames without a content (settings, pings, resets…) one after another: more than so many is an attack."""


class Connection(Sending[AnyStream], Generic[Read, AnyStream], ABC):
    """Feed it with `receive`, send what `take_output` gives. Not safe for threads.

    read: what the subclass makes of a list of headers. more_settings: beside those of the windows.
    """

    def __init__(self, read: Callable[[Sequence[Header]], Read], more_settings: dict[int, int]) -> None:
        super().__init__()
        self.goodbye: int | None = None
        """Once the other side has said that it takes no more: the last stream that it looked at."""
        self._rest = b""
        self._data_left, self._data_frame = 0, (0, 0)
        """How much of a frame of data is to come, and its flags and stream."""
        self._blocks = HeaderBlocks(read)
        self._unfinished: tuple[int, int, bytes] | None = None
        self._allowance = CONNECTION_WINDOW
        self._unacknowledged = 0
        self._streams_allowed = frames.WINDOW_MAX
        self._chores, self._chores_since_s = 0, 0.0
        self._changes, self._changes_since_s = 0, 0.0
        self._settled = False
        self._kinds: dict[int, Callable[[int, int, bytes], None]] = {
            frames.PRIORITY: self._on_priority,
            frames.RST_STREAM: self._on_reset,
            frames.SETTINGS: self._on_settings,
            frames.PUSH_PROMISE: self._on_push,
            frames.PING: self._on_ping,
            frames.GOAWAY: self._on_goaway,
            frames.WINDOW_UPDATE: self._on_window_update,
            frames.CONTINUATION: self._on_continuation,
        }
        limits = {
            frames.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
            frames.MAX_FRAME_SIZE: FRAME_BYTES_MAX,
            frames.MAX_HEADER_LIST_SIZE: HEADERS_BYTES_MAX,
        }
        self._output.append(
            frames.settings(limits | more_settings)
            + frames.window_update(0, CONNECTION_WINDOW - frames.WINDOW_DEFAULT)
        )

    # What the subclass says.

    @abstractmethod
    def on_headers(self, number: int, fields: Read, *, end: bool) -> None:
        """A list of headers came."""

    @abstractmethod
    def on_data(self, stream: AnyStream) -> None:
        """Data came, and stands in `stream.parts`, or `stream.ended` is set."""

    @abstractmethod
    def on_reset(self, stream: AnyStream, code: int) -> None:
        """The other side has ended the stream; it is no longer among `streams`."""

    # Bytes in.

    def receive(self, data: bytes) -> None:
        """Take what the socket gave.

        Raises:
            ConnectionFault: the other side broke the rules. The connection is to be closed, after its output.
        """
        try:
            self._receive(data)
        except ConnectionFault as fault:
            self._output.append(frames.goaway(self.last_stream(), fault.code, str(fault)))
            raise

    def last_stream(self) -> int:
        """The last stream that the other side opened and that was looked at."""
        return 0

    def _receive(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        at, end = 0, len(data)
        if self._data_left:
            at = self._go_on(data)
        while end - at >= frames.HEAD_BYTES:
            high, low, kind, flags, number = frames.read_head(data, at)
            length = high << 8 | low
            if length > FRAME_BYTES_MAX:
                raise ConnectionFault(FRAME_SIZE_ERROR, f"a frame over {FRAME_BYTES_MAX} bytes: {length}")
            start = at + frames.HEAD_BYTES
            at = start + length
            if at > end and (kind != frames.DATA or flags & frames.PADDED):
                at = start - frames.HEAD_BYTES
                break
            number &= 0x7FFFFFFF
            if self._unfinished is not None and kind != frames.CONTINUATION:
                raise ConnectionFault(PROTOCOL_ERROR, "a header block was interrupted")
            if not self._settled:
                if kind != frames.SETTINGS or flags & frames.ACK:
                    raise ConnectionFault(PROTOCOL_ERROR, "the first frame is not SETTINGS")
                self._settled = True
            if kind == frames.DATA:
                if at > end:
                    self._data_left, self._data_frame = at - end, (flags, number)
                    flags, at = flags & ~frames.END_STREAM, end
                    if start == end:
                        break
                self._on_data(flags, number, data, start, at)
            elif kind == frames.HEADERS:
                self._on_headers(flags, number, data[start:at])
            else:
                chore = self._kinds.get(kind)
                self._count_chore()
                if chore is not None:
                    chore(flags, number, data[start:at])
        self._rest = data[at:] if at < end else b""

    def _go_on(self, data: bytes) -> int:
        """Take more of a frame of data whose beginning came before; where it ends, or all of `data` does."""
        flags, number = self._data_frame
        stop = min(self._data_left, len(data))
        self._data_left -= stop
        if self._data_left:
            flags &= ~frames.END_STREAM
        if stop:
            self._on_data(flags, number, data, 0, stop)
        return stop

    def _on_data(self, flags: int, number: int, data: bytes, start: int, stop: int) -> None:
        if number == 0:
            raise ConnectionFault(PROTOCOL_ERROR, "data on stream 0")
        length = stop - start
        self._allowance -= length
        if self._allowance < 0:
            raise ConnectionFault(FLOW_CONTROL_ERROR, "more data than the connection's window")
        if length:
            self._chores = 0
        else:
            self._count_chore()
        self._unacknowledged += length
        if self._unacknowledged > CONNECTION_WINDOW // 2:
            self._output.append(frames.window_update(0, self._unacknowledged))
            self._allowance += self._unacknowledged
            self._unacknowledged = 0
        if flags & frames.PADDED:
            start, stop = _without_padding(data, start, stop)
        stream = self.streams.get(number)
        if stream is None or stream.ended:
            self._on_late_data(number, stream)
            return
        stream.allowance -= length
        if stream.allowance < 0:
            raise ConnectionFault(FLOW_CONTROL_ERROR, "more data than the stream's window")
        if stop > start:
            stream.buffered += stop - start
            part = memoryview(data)[start:stop]
            if flags & frames.END_STREAM:
                stream.parts.append(part)
            else:
                stream.keep(part, len(data))
        if flags & frames.END_STREAM:
            stream.ended = True
        else:
            stream.unacknowledged += length
            if stream.unacknowledged > STREAM_WINDOW // 2:
                self._output.append(frames.window_update(number, stream.unacknowledged))
                stream.allowance += stream.unacknowledged
                stream.unacknowledged = 0
        self.on_data(stream)

    def _on_late_data(self, number: int, stream: AnyStream | None) -> None:
        """What crosses our own end of a stream is dropped; what follows the sender's own is a fault."""
        if stream is not None:
            raise ConnectionFault(STREAM_CLOSED, f"data on stream {number}, which has ended")
        if not self.was_open(number):
            raise ConnectionFault(PROTOCOL_ERROR, f"data on stream {number}, which never was")

    @abstractmethod
    def was_open(self, number: int) -> bool:
        """Whether the stream was opened at some time, by either side."""

    def _on_headers(self, flags: int, number: int, payload: bytes) -> None:
        if number == 0:
            raise ConnectionFault(PROTOCOL_ERROR, "headers on stream 0")
        self._chores = 0
        start, stop = 0, len(payload)
        if flags & frames.PADDED:
            start, stop = _without_padding(payload, start, stop)
        if flags & frames.WITH_PRIORITY:
            start += 5
            if start > stop:
                raise ConnectionFault(FRAME_SIZE_ERROR, "headers too short for their priority")
        block = payload[start:stop] if stop - start < len(payload) else payload
        if len(block) > BLOCK_BYTES_MAX:
            raise ConnectionFault(ENHANCE_YOUR_CALM, f"a header block over {BLOCK_BYTES_MAX} bytes")
        if not flags & frames.END_HEADERS:
            self._unfinished = (number, flags, block)
            return
        self.on_headers(number, self._blocks.decode(block), end=bool(flags & frames.END_STREAM))

    def _on_continuation(self, flags: int, number: int, payload: bytes) -> None:
        if self._unfinished is None or self._unfinished[0] != number:
            raise ConnectionFault(PROTOCOL_ERROR, "a continuation of nothing")
        _, first_flags, block = self._unfinished
        block += payload
        if len(block) > BLOCK_BYTES_MAX:
            raise ConnectionFault(ENHANCE_YOUR_CALM, f"a header block over {BLOCK_BYTES_MAX} bytes")
        if not flags & frames.END_HEADERS:
            self._unfinished = (number, first_flags, block)
            return
        self._unfinished = None
        self.on_headers(number, self._blocks.decode(block), end=bool(first_flags & frames.END_STREAM))

    def _on_priority(self, flags: int, number: int, payload: bytes) -> None:
        if number == 0:
            raise ConnectionFault(PROTOCOL_ERROR, "a priority of stream 0")
        if len(payload) != 5:
            raise ConnectionFault(FRAME_SIZE_ERROR, "a priority that is not five bytes")

    def _on_reset(self, flags: int, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(FRAME_SIZE_ERROR, "a reset that is not four bytes")
        stream = self.streams.pop(number, None)
        if stream is not None:
            self._stuck.pop(number, None)
            self.on_reset(stream, frames.whole_word(payload))
        elif number == 0 or not self.was_open(number):
            raise ConnectionFault(PROTOCOL_ERROR, f"a reset of stream {number}, which never was")

    def _on_settings(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(PROTOCOL_ERROR, "settings of a stream")
        if flags & frames.ACK:
            if payload:
                raise ConnectionFault(FRAME_SIZE_ERROR, "an acknowledgement of settings with a content")
            return
        if len(payload) % 6:
            raise ConnectionFault(FRAME_SIZE_ERROR, "settings that are no multiple of six bytes")
        if len(payload) > 6 * SETTINGS_MAX:
            raise ConnectionFault(ENHANCE_YOUR_CALM, f"over {SETTINGS_MAX} settings in a frame")
        window = self._stream_send_window
        for setting, value in frames.read_settings(payload):
            self._set(setting, value)
        if self._stream_send_window != window and self.streams:
            self._change_windows(self._stream_send_window - window)
        self._output.append(frames.SETTINGS_ACK)
        self._pump()

    def _set(self, setting: int, value: int) -> None:
        if setting == frames.INITIAL_WINDOW_SIZE:
            if value > frames.WINDOW_MAX:
                raise ConnectionFault(FLOW_CONTROL_ERROR, f"an initial window of {value} bytes")
            self._stream_send_window = value
        elif setting == frames.MAX_FRAME_SIZE:
            if not frames.FRAME_BYTES_DEFAULT <= value <= frames.FRAME_BYTES_LIMIT:
                raise ConnectionFault(PROTOCOL_ERROR, f"a frame size of {value} bytes")
            self._frame_bytes = value
        elif setting == frames.MAX_CONCURRENT_STREAMS:
            self._streams_allowed = value
        elif setting == frames.ENABLE_PUSH and value > 1:
            raise ConnectionFault(PROTOCOL_ERROR, f"ENABLE_PUSH is {value}")

    def _change_windows(self, change: int) -> None:
        self._changes += 1
        if self._changes > WINDOW_CHANGES_A_SECOND_MAX:
            now_s = monotonic()
            if now_s - self._changes_since_s < 1:
                text = f"over {WINDOW_CHANGES_A_SECOND_MAX} changes of the initial window a second"
                raise ConnectionFault(ENHANCE_YOUR_CALM, text)
            self._changes, self._changes_since_s = 0, now_s
        for stream in self.streams.values():
            stream.send_window += change
            if stream.send_window > frames.WINDOW_MAX:
                raise ConnectionFault(FLOW_CONTROL_ERROR, "a stream's window over its limit")

    def _on_push(self, flags: int, number: int, payload: bytes) -> None:
        raise ConnectionFault(PROTOCOL_ERROR, "a push, which was never allowed")

    def _on_ping(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(PROTOCOL_ERROR, "a ping of a stream")
        if len(payload) != 8:
            raise ConnectionFault(FRAME_SIZE_ERROR, "a ping that is not eight bytes")
        if not flags & frames.ACK:
            self._output.append(frames.ping(payload, ack=True))

    def _on_goaway(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(PROTOCOL_ERROR, "a farewell of a stream")
        if len(payload) < 8:
            raise ConnectionFault(FRAME_SIZE_ERROR, "a farewell of less than eight bytes")
        self.goodbye = frames.word(payload)

    def _on_window_update(self, flags: int, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(FRAME_SIZE_ERROR, "a window update that is not four bytes")
        more = frames.word(payload)
        if more == 0:
            raise ConnectionFault(PROTOCOL_ERROR, "a window update of nothing")
        if number == 0:
            self._send_window += more
            if self._send_window > frames.WINDOW_MAX:
                raise ConnectionFault(FLOW_CONTROL_ERROR, "the connection's window over its limit")
            self._pump()
            return
        stream = self.streams.get(number)
        if stream is None:
            if not self.was_open(number):
                raise ConnectionFault(PROTOCOL_ERROR, f"a window for stream {number}, which never was")
            return
        stream.send_window += more
        if stream.send_window > frames.WINDOW_MAX:
            raise ConnectionFault(FLOW_CONTROL_ERROR, "a stream's window over its limit")
        self._send_some(stream)

    def _count_chore(self) -> None:
        self._chores += 1
        if self._chores > CHORES_A_SECOND_MAX:
            now_s = monotonic()
            if now_s - self._chores_since_s < 1:
                raise ConnectionFault(ENHANCE_YOUR_CALM, f"over {CHORES_A_SECOND_MAX} idle frames a second")
            self._chores, self._chores_since_s = 0, now_s

    def say_goodbye(self) -> None:
        """No stream that comes from now on is looked at."""
        self._output.append(frames.goaway(self.last_stream(), NO_ERROR))

    def on_piece(self, size: int) -> None:
        # Many a client opens both windows for each 16 kB that it has taken.
        self._chores = max(0, self._chores - 2 - size // PART_BYTES_MIN)


def _without_padding(data: bytes, start: int, stop: int) -> tuple[int, int]:
    if start >= stop:
        raise ConnectionFault(FRAME_SIZE_ERROR, "a padded frame without its length")
    padding = data[start]
    if padding >= stop - start:
        raise ConnectionFault(PROTOCOL_ERROR, "more padding than frame")
    return start + 1, stop - padding
