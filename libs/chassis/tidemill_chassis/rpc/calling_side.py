"""The side of a connection that asks: calls become streams, and what comes back their results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tidemill_chassis.rpc import frames
from tidemill_chassis.rpc.codes import (
    CANCEL,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    CallFailed,
    Code,
    ConnectionFault,
    Metadata,
    meant_by_http,
    meant_by_reset,
)
from tidemill_chassis.rpc.connection import Connection
from tidemill_chassis.rpc.header_blocks import Header
from tidemill_chassis.rpc.messages import (
    ENCODINGS,
    PREFIX_BYTES,
    metadata_of,
    metadata_value,
    one_message,
    timeout_text,
    unescaped,
)
from tidemill_chassis.rpc.stream import Stream

AGENT = "tidemill"


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """What headers, or trailers, of an answer say. http_status, code: -1 where they say none."""

    http_status: int
    code: int
    text: str
    encoding: str
    metadata: Metadata


class NotLookedAt(CallFailed):
    """The other side did not begin the call: it may be asked again without harm."""


class Asked(Stream):
    """A call that waits for its answer."""

    __slots__ = ("done", "error", "head", "message")

    def __init__(self, number: int, send_window: int, done: Callable[[Asked], None]) -> None:
        super().__init__(number, send_window)
        self.done = done
        """Called once, with the call itself, when `message` or `error` is there."""
        self.head: ResponseHead | None = None
        self.message: bytes | None = None
        self.error: CallFailed | None = None


class CallingConnection(Connection[ResponseHead, Asked]):
    """See Connection. authority: whom it asks, ``host:port``. message_bytes_max: of one answer."""

    def __init__(self, authority: str, *, message_bytes_max: int) -> None:
        super().__init__(_read, {frames.ENABLE_PUSH: 0, frames.MAX_CONCURRENT_STREAMS: 0})
        self._output.insert(0, frames.PREFACE)
        self._message_bytes_max = message_bytes_max
        self._authority = authority
        self._next = 1
        self._before_block = frames.FORGET_TABLE
        self._methods: dict[str, bytes] = {}

    @property
    def has_room(self) -> bool:
        """Whether the other side lets us have one more call open."""
        return len(self.streams) < self._streams_allowed

    @property
    def is_spent(self) -> bool:
        """Whether it can begin no call any more."""
        return self.goodbye is not None or self._next > frames.WINDOW_MAX - 2

    def ask(
        self,
        method: str,
        message: bytes,
        timeout_s: float | None,
        metadata: Metadata,
        done: Callable[[Asked], None],
    ) -> Asked:
        """Begin a call. method: ``/package.Service/Method``."""
        number = self._next
        block = self._before_block + (self._methods.get(method) or self._prepare(method))
        if timeout_s is not None:
            block += frames.field("grpc-timeout", timeout_text(timeout_s))
        for name, value in metadata:
            block += frames.field(name, metadata_value(name, value))
        first = self._heads(number, block)
        self._next += 2
        self._before_block = b""
        asked = self.streams[number] = Asked(number, self._stream_send_window, done)
        self.send(asked, first, message, b"")
        return asked

    def _prepare(self, method: str) -> bytes:
        fields = (
            (":path", method),
            (":authority", self._authority),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", AGENT),
            ("grpc-accept-encoding", ",".join(("identity", *ENCODINGS))),
        )
        # 0x83 is ":method: POST", 0x86 ":scheme: http".
        block = b"\x83\x86" + b"".join(frames.field(*each) for each in fields)
        self._methods[method] = block
        return block

    def _heads(self, number: int, block: bytes) -> bytes:
        if len(block) <= frames.FRAME_BYTES_DEFAULT:
            return frames.headers(number, block, end=False)
        raise CallFailed(Code.RESOURCE_EXHAUSTED, f"metadata of {len(block)} bytes is too much")

    def cancel(self, asked: Asked, error: CallFailed) -> None:
        """Nobody waits for the answer any more: `error` is its result."""
        if self.streams.pop(asked.number, None) is not None:
            self._stuck.pop(asked.number, None)
            self._output.append(frames.reset(asked.number, CANCEL))
            self._end(asked, error)

    def abandon(self, error: CallFailed) -> None:
        """The connection is lost: `error` is the result of every call."""
        asked = list(self.streams.values())
        self.streams.clear()
        self._stuck.clear()
        for each in asked:  # to each its own: what is raised remembers where
            self._end(each, CallFailed(error.code, error.text))

    def was_open(self, number: int) -> bool:
        return number % 2 == 1 and number < self._next

    def on_headers(self, number: int, fields: ResponseHead, *, end: bool) -> None:
        asked = self.streams.get(number)
        if asked is None:
            if not self.was_open(number):
                raise ConnectionFault(PROTOCOL_ERROR, f"an answer on stream {number}, which never was")
            return
        if asked.head is None and not end:
            if fields.http_status >= 200:  # below: 1xx, more headers follow
                asked.head = fields
            if fields.http_status != 200 and asked.head is not None:
                self.cancel(asked, _without_code(fields))
            return
        if not end:
            raise ConnectionFault(PROTOCOL_ERROR, "headers amidst an answer")
        asked.ended = True
        self._finish(asked, fields)

    def on_data(self, stream: Asked) -> None:
        if stream.head is None:
            raise ConnectionFault(PROTOCOL_ERROR, "data before headers")
        if stream.buffered > self._message_bytes_max + PREFIX_BYTES:
            size = stream.buffered - PREFIX_BYTES
            text = f"CLIENT: Received message larger than max ({size} vs. {self._message_bytes_max})"
            self.cancel(stream, CallFailed(Code.RESOURCE_EXHAUSTED, text))
        elif stream.ended:
            self._finish(stream, ResponseHead(-1, -1, "", "", ()))

    def _finish(self, asked: Asked, trailers: ResponseHead) -> None:
        del self.streams[asked.number]
        self._stuck.pop(asked.number, None)
        if asked.outgoing:
            self._output.append(frames.reset(asked.number, CANCEL))  # it was answered before all was said
        error: CallFailed | None = None
        if trailers.code == 0:
            encoding = asked.head.encoding if asked.head is not None else ""
            try:
                asked.message = one_message(asked.parts, encoding, self._message_bytes_max)
            except CallFailed as failed:
                error = failed
        elif trailers.code > 0:
            code = Code(trailers.code) if trailers.code in Code.__members__.values() else Code.UNKNOWN
            error = CallFailed(code, trailers.text, trailers.metadata)
        else:
            error = _without_code(trailers)
        self._end(asked, error)

    def on_reset(self, stream: Asked, code: int) -> None:
        kind = NotLookedAt if code == REFUSED_STREAM else CallFailed
        self._end(stream, kind(meant_by_reset(code), f"the call was reset, HTTP/2's code {code}"))

    def _on_goaway(self, flags: int, number: int, payload: bytes) -> None:
        super()._on_goaway(flags, number, payload)
        last = self.goodbye or 0
        for late in [each for each in self.streams.values() if each.number > last]:
            del self.streams[late.number]
            self._stuck.pop(late.number, None)
            self._end(late, NotLookedAt(Code.UNAVAILABLE, "the other side takes no more calls"))

    def _end(self, asked: Asked, error: CallFailed | None) -> None:
        asked.error = error
        asked.parts = []
        asked.outgoing.clear()
        asked.done(asked)


def _without_code(head: ResponseHead) -> CallFailed:
    if head.http_status in (-1, 200):
        return CallFailed(Code.UNKNOWN, "the answer ended without a status")
    return CallFailed(
        meant_by_http(head.http_status), f"Received http2 header with status: {head.http_status}"
    )


def _read(fields: Sequence[Header]) -> ResponseHead:
    known = dict(fields)
    encoding = known.get(b"grpc-encoding", b"").decode("latin-1")
    return ResponseHead(
        http_status=_number(known.get(b":status")),
        code=_number(known.get(b"grpc-status")),
        text=unescaped(known.get(b"grpc-message", b"")),
        encoding="" if encoding == "identity" else encoding,
        metadata=metadata_of(fields),
    )


def _number(text: bytes | None) -> int:
    return int(text) if text is not None and text.isdigit() and len(text) <= 5 else -1
