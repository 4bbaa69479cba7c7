"""The codes of gRPC, and the failure that carries one."""

from __future__ import annotations

from enum import IntEnum


class Code(IntEnum):
    """How a call ended."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


Metadata = tuple[tuple[str, str | bytes], ...]
"""Names, in lower case, and values; those of names that end with ``-bin`` are bytes."""


class CallFailed(Exception):
    """A call that ended with another code than OK.

    metadata: what goes, or came, with it as trailing metadata.
    """

    def __init__(self, code: Code, text: str, metadata: Metadata = ()) -> None:
        super().__init__(f"{code.name}: {text}")
        self.code = code
        self.text = text
        self.metadata = metadata


class ConnectionFault(Exception):
    """The other side broke the rules of HTTP/2: it is told why, and the connection closed.

    code: HTTP/2's error code, RFC 9113 section 7.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


NO_ERROR = 0x0
PROTOCOL_ERROR = 0x1
FLOW_CONTROL_ERROR = 0x3
STREAM_CLOSED = 0x5
FRAME_SIZE_ERROR = 0x6
REFUSED_STREAM = 0x7
CANCEL = 0x8
COMPRESSION_ERROR = 0x9
ENHANCE_YOUR_CALM = 0xB
INADEQUATE_SECURITY = 0xC

_MEANT = {
    REFUSED_STREAM: Code.UNAVAILABLE,
    CANCEL: Code.CANCELLED,
    ENHANCE_YOUR_CALM: Code.RESOURCE_EXHAUSTED,
    INADEQUATE_SECURITY: Code.PERMISSION_DENIED,
}


def meant_by_reset(error_code: int) -> Code:
    """gRPC's code for a stream that was reset, from its "HTTP2 Transport Mapping"."""
    return _MEANT.get(error_code, Code.INTERNAL)


_MEANT_BY_HTTP = {
    400: Code.INTERNAL,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.UNIMPLEMENTED,
    429: Code.UNAVAILABLE,
    502: Code.UNAVAILABLE,
    503: Code.UNAVAILABLE,
    504: Code.UNAVAILABLE,
}


def meant_by_http(status: int) -> Code:
    """gRPC's code for an answer without one, from its "HTTP to gRPC Status Code Mapping"."""
    return _MEANT_BY_HTTP.get(status, Code.UNKNOWN)
