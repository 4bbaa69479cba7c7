"""What goes out on a connection, as far as the other side's windows allow (RFC 9113, section 5.2)."""

from __future__ import annotations

from time import monotonic
from typing import Generic

from tidemill_chassis.rpc import frames
from tidemill_chassis.rpc.stream import AnyStream


class Sending(Generic[AnyStream]):
    """Frames to be sent, and messages that wait for a window."""

    def __init__(self) -> None:
        self.streams: dict[int, AnyStream] = {}
        """Those that are open."""
        self._output: list[bytes | memoryview] = []
        self._send_window = frames.WINDOW_DEFAULT
        self._stream_send_window = frames.WINDOW_DEFAULT
        self._frame_bytes = frames.FRAME_BYTES_DEFAULT
        self._stuck: dict[int, None] = {}
        """Streams of which something waits for a window, the longest one first."""
        self._stuck_since_s = 0.0

    def take_output(self) -> bytes:
        """What is to be sent, and is then forgotten here."""
        output = self._output
        if not output:
            return b""
        joined = bytes(output[0]) if len(output) == 1 else b"".join(output)
        output.clear()
        return joined

    @property
    def has_output(self) -> bool:
        """Whether `take_output` has something to give."""
        return bool(self._output)

    @property
    def output_bytes(self) -> int:
        """How much `take_output` would give: for when the socket takes nothing."""
        return sum(map(len, self._output))

    def stuck_s(self, now_s: float) -> float:
        """For how long the other side has opened no window, while something waits for one; else 0."""
        return now_s - self._stuck_since_s if self._stuck else 0.0

    def send(self, stream: AnyStream, first: bytes, message: bytes, trailer: bytes) -> None:
        """Headers (a frame), a message of gRPC, and at last a frame that ends the stream.

        trailer: empty: the message itself ends our side of the stream.
        """
        length = len(message)
        size = length + 5
        if size <= stream.send_window and size <= self._send_window and size <= self._frame_bytes:
            stream.send_window -= size
            self._send_window -= size
            flags = 0 if trailer else frames.END_STREAM
            self._output.append(
                b"".join(
                    (
                        first,
                        frames.head(size, frames.DATA, flags, stream.number),
                        b"\0",
                        length.to_bytes(4, "big"),
                        message,
                        trailer,
                    )
                )
            )
            return
        self._output.append(first)
        stream.outgoing.append(memoryview(b"\0" + length.to_bytes(4, "big")))
        if message:
            stream.outgoing.append(memoryview(message))
        stream.trailer = trailer
        self._send_some(stream)

    def _send_some(self, stream: AnyStream) -> None:
        """As much of what waits as the windows allow."""
        outgoing = stream.outgoing
        before = self._send_window
        while outgoing:
            piece = outgoing[0]
            size = min(len(piece), self._frame_bytes, stream.send_window, self._send_window)
            if size <= 0:
                if not self._stuck or self._send_window != before:
                    self._stuck_since_s = monotonic()
                    self._stuck.pop(stream.number, None)  # next time, others come first
                self._stuck[stream.number] = None
                return
            stream.send_window -= size
            self._send_window -= size
            self.on_piece(size)
            last = size == len(piece) and len(outgoing) == 1
            flags = frames.END_STREAM if last and stream.trailer == b"" else 0
            self._output += frames.head(size, frames.DATA, flags, stream.number), piece[:size]
            if size == len(piece):
                outgoing.popleft()
            else:
                outgoing[0] = piece[size:]
        self._stuck.pop(stream.number, None)
        if stream.trailer is not None:
            if stream.trailer:
                self._output.append(stream.trailer)
            stream.trailer = None
            self.on_sent(stream)

    def on_piece(self, size: int) -> None:
        """So many bytes that had to wait for a window are out."""

    def on_sent(self, stream: AnyStream) -> None:
        """What had to wait for a window is out, our end of the stream with it."""

    def _pump(self) -> None:
        """Go on with what waits, each stream in turn. A slow reader of one message holds up nobody else."""
        if self._send_window > 0 and self._stuck:
            for number in list(self._stuck):
                self._send_some(self.streams[number])
