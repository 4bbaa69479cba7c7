"""The side of a connection that answers: streams become calls, and answers frames."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from time import monotonic

from tidemill_chassis.rpc import frames
from tidemill_chassis.rpc.codes import (
    NO_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    STREAM_CLOSED,
    CallFailed,
    Code,
    ConnectionFault,
    Metadata,
)
from tidemill_chassis.rpc.connection import Connection
from tidemill_chassis.rpc.header_blocks import HEADERS_BYTES_MAX, Header
from tidemill_chassis.rpc.messages import (
    ENCODINGS,
    PREFIX_BYTES,
    escaped,
    metadata_of,
    metadata_value,
    one_message,
    timeout_of,
    too_large,
)
from tidemill_chassis.rpc.stream import Stream

_GRPC = b"\x88" + frames.field("content-type", "application/grpc")  # 0x88 is ":status: 200"
_ANSWER = _GRPC + frames.field("grpc-accept-encoding", ",".join(("identity", *ENCODINGS)))
_OK = frames.field("grpc-status", "0")

TOO_LARGE = 431


@dataclass(frozen=True, slots=True)
class RequestHead:
    """What a request's headers say. http_status: what it is told that is no call of gRPC, else 0."""

    path: str
    timeout_s: float | None
    encoding: str
    metadata: Metadata
    http_status: int
    wrong: str


class Call(Stream):
    """A request whose message is whole, and where its answer goes."""

    __slots__ = ("active", "begun", "connection", "deadline_s", "head", "message", "owner")

    def __init__(
        self, number: int, send_window: int, connection: ServingConnection, head: RequestHead
    ) -> None:
        super().__init__(number, send_window)
        self.connection = connection
        self.head = head
        self.message = b""
        self.active = True
        """Whether the caller still waits."""
        self.begun = False
        """Whether it is answered by many messages, and the first headers are out."""
        timeout_s = head.timeout_s
        self.deadline_s = None if timeout_s is None else monotonic() + timeout_s
        """Of the monotonic clock."""
        self.owner: object = None
        """Kept for the server that handed it out."""

    @property
    def path(self) -> str:
        """``/package.Service/Method``."""
        return self.head.path

    @property
    def metadata(self) -> Metadata:
        """What the caller sent along."""
        return self.head.metadata


class ServingConnection(Connection[RequestHead, Call]):
    """See Connection. After `receive`, `take_calls` gives the calls that have become whole.

    paths: the methods there are. message_bytes_max: of one request. streams_max: calls that one connection
    may have open; further ones are refused, which a client may try again.
    """

    def __init__(self, paths: Container[str], *, message_bytes_max: int, streams_max: int) -> None:
        super().__init__(_read, {frames.MAX_CONCURRENT_STREAMS: streams_max})
        self.peer = ""
        self.closing = False
        """Once set, new calls are refused: say_goodbye first."""
        self._paths = paths
        self._message_bytes_max = message_bytes_max
        self._streams_max = streams_max
        self._calls: list[Call] = []
        self._cancelled: list[Call] = []
        self._last = 0
        self._before_block = frames.FORGET_TABLE
        self._preface: bytes | None = frames.PREFACE

    def receive(self, data: bytes) -> None:
        """See Connection.receive."""
        if self._preface is not None:
            expected = self._preface
            if not data.startswith(expected[: len(data)]):
                raise ConnectionFault(PROTOCOL_ERROR, "not HTTP/2")
            self._preface = expected[len(data) :] or None
            data = data[len(expected) :]
        super().receive(data)

    @property
    def greeted(self) -> bool:
        """Whether the other side has shown that it speaks HTTP/2."""
        return self._preface is None and self._settled

    @property
    def owes(self) -> bool:
        """Whether a call is under way, its request or its answer: all but those of many messages."""
        return not all(call.begun for call in list(self.streams.values()))

    def last_stream(self) -> int:
        return self._last

    def was_open(self, number: int) -> bool:
        return 0 < number <= self._last and number % 2 == 1

    def take_calls(self) -> list[Call]:
        """Calls whose requests are whole, in their order; forgotten here."""
        calls, self._calls = self._calls, []
        return calls

    def take_cancelled(self) -> list[Call]:
        """Calls that were given out and whose callers have gone since; forgotten here."""
        cancelled, self._cancelled = self._cancelled, []
        return cancelled

    def on_headers(self, number: int, fields: RequestHead, *, end: bool) -> None:
        if number <= self._last:
            if fields.path:
                raise ConnectionFault(PROTOCOL_ERROR, f"a request on stream {number}, after {self._last}")
            self._on_trailers(number, end=end)
            return
        if number % 2 == 0:
            raise ConnectionFault(PROTOCOL_ERROR, f"a request on stream {number}")
        self._last = number
        if len(self.streams) >= self._streams_max or self.closing:
            self._output.append(frames.reset(number, REFUSED_STREAM))
            return
        call = Call(number, self._stream_send_window, self, fields)
        call.ended = end
        self.streams[number] = call
        if fields.http_status:
            self._refuse(call, fields)
        elif fields.path not in self._paths:
            self.fail(call, CallFailed(Code.UNIMPLEMENTED, "Method not found!"))
        elif fields.encoding and fields.encoding not in ENCODINGS:
            self.fail(call, CallFailed(Code.UNIMPLEMENTED, f"no encoding {fields.encoding!r} here"))
        elif end:
            self._whole(call)

    def _on_trailers(self, number: int, *, end: bool) -> None:
        call = self.streams.get(number)
        if call is None:
            if number % 2 == 0:
                raise ConnectionFault(PROTOCOL_ERROR, f"headers on stream {number}")
            return  # they crossed our answer
        if call.ended:
            raise ConnectionFault(STREAM_CLOSED, f"headers on stream {number}, which has ended")
        if not end:
            raise ConnectionFault(PROTOCOL_ERROR, "headers amidst a request")
        call.ended = True
        self._whole(call)

    def on_data(self, stream: Call) -> None:
        if stream.buffered > self._message_bytes_max + PREFIX_BYTES:
            self.fail(stream, too_large(stream.buffered - PREFIX_BYTES, self._message_bytes_max))
        elif stream.ended:
            self._whole(stream)

    def _whole(self, call: Call) -> None:
        try:
            call.message = one_message(call.parts, call.head.encoding, self._message_bytes_max)
        except CallFailed as error:
            self.fail(call, error)
            return
        finally:
            call.parts = []
        self._calls.append(call)

    def on_reset(self, stream: Call, code: int) -> None:
        stream.active = False
        stream.parts = []
        if stream.ended:
            self._cancelled.append(stream)

    def abandon(self) -> None:
        """The connection is lost: nobody waits any more."""
        self._cancelled += [call for call in self.streams.values() if call.ended]
        for call in self.streams.values():
            call.active = False
        self.streams.clear()
        self._stuck.clear()

    def answer(self, call: Call, message: bytes, metadata: Metadata = ()) -> None:
        """The call's answer; dropped if nobody waits for it."""
        if not call.active:
            return
        first = frames.headers(call.number, self._before_block + _ANSWER, end=False)
        self._before_block = b""
        trailer = frames.headers(call.number, _OK + _fields(metadata) if metadata else _OK, end=True)
        call.active = False
        self.send(call, first, message, trailer)
        if not call.outgoing:
            self._close(call)

    def fail(self, call: Call, error: CallFailed) -> None:
        """The call's end without an answer; dropped if nobody waits for it."""
        if not call.active:
            return
        status = frames.field("grpc-status", str(int(error.code)))
        text = frames.field("grpc-message", escaped(error.text)) if error.text else b""
        first = b"" if call.begun else _GRPC
        self._end(call, first + status + text + _fields(error.metadata))

    def begin(self, call: Call) -> None:
        """The headers of an answer of many messages; `push` sends those, and `fail` ends it."""
        if not call.active:
            return
        call.begun = True
        self._output.append(frames.headers(call.number, self._before_block + _ANSWER, end=False))
        self._before_block = b""

    def push(self, call: Call, message: bytes) -> None:
        """One of many messages; dropped if nobody waits for it, or if the last one still waits for room."""
        if call.active and not call.outgoing:
            stream_open = memoryview(b"\0" + len(message).to_bytes(4, "big") + message)
            call.outgoing.append(stream_open)
            self._send_some(call)

    def _refuse(self, call: Call, head: RequestHead) -> None:
        block = frames.field(":status", str(head.http_status))
        code = Code.RESOURCE_EXHAUSTED if head.http_status == TOO_LARGE else Code.INTERNAL
        status = frames.field("grpc-status", str(int(code)))
        self._end(call, block + status + frames.field("grpc-message", escaped(head.wrong)))

    def _end(self, call: Call, block: bytes) -> None:
        call.active = False
        self._output.append(frames.headers(call.number, self._before_block + block, end=True))
        self._before_block = b""
        self._close(call)

    def on_sent(self, stream: Call) -> None:
        self._close(stream)

    def _close(self, call: Call) -> None:
        self._stuck.pop(call.number, None)
        if self.streams.pop(call.number, None) is not None and not call.ended:
            self._output.append(frames.reset(call.number, NO_ERROR))  # say no more: it is answered
        call.parts = []


def _fields(metadata: Metadata) -> bytes:
    return b"".join([frames.field(name, metadata_value(name, value)) for name, value in metadata])


def _read(fields: Sequence[Header]) -> RequestHead:
    known = dict(fields)
    content_type = known.get(b"content-type", b"")
    status, wrong = 0, ""
    if known.get(b":method") != b"POST":
        status, wrong = 405, "a call of gRPC is a POST"
    elif content_type != b"application/grpc" and not content_type.startswith(
        (b"application/grpc+", b"application/grpc;")
    ):
        status, wrong = 415, "a call of gRPC has the content type application/grpc"
    timeout = known.get(b"grpc-timeout")
    timeout_s = None
    if timeout is not None and (timeout_s := timeout_of(timeout)) is None:
        status, wrong = 400, "grpc-timeout cannot be read"
    if sum(map(len, known.values())) > HEADERS_BYTES_MAX:
        status, wrong = TOO_LARGE, f"metadata over {HEADERS_BYTES_MAX} bytes"
    encoding = known.get(b"grpc-encoding", b"").decode("latin-1")
    return RequestHead(
        path=known.get(b":path", b"").decode("latin-1"),
        timeout_s=timeout_s,
        encoding="" if encoding == "identity" else encoding,
        metadata=metadata_of(fields),
        http_status=status,
        wrong=wrong,
    )
