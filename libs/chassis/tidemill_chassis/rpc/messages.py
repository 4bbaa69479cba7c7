"""What gRPC writes into HTTP/2: timeouts, texts of statuses, messages with their five bytes, metadata."""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Iterable, Sequence
from urllib.parse import quote, unquote_to_bytes

from tidemill_chassis.rpc.codes import CallFailed, Code, Metadata

PREFIX_BYTES = 5
TIMEOUT_S_MAX = 99_999_999
TEXT_BYTES_MAX = 4_096
"""Of a status' text as it travels: gRPC's own client takes no answer whose trailers are over 8 to 16 KiB."""

ENCODINGS = {"gzip": 31, "deflate": 15}
"""Each with zlib's window bits; identity beside them."""

_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
_UNITS_S = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_HALF_ESCAPE = re.compile("%.?$")
_PRINTABLE = "".join(chr(each) for each in range(0x20, 0x7F) if each != 0x25)


def timeout_of(text: bytes) -> float | None:
    """Seconds of a ``grpc-timeout``; None if it is none."""
    matched = _TIMEOUT.fullmatch(text)
    return int(matched[1]) * _UNITS_S[matched[2]] if matched else None


def timeout_text(seconds: float) -> str:
    """Seconds as a ``grpc-timeout``, rounded up: to three digits, so that few texts are said often."""
    milliseconds = max(1, -int(-seconds * 1000 // 1))
    if milliseconds < 1000:
        return f"{milliseconds}m"
    if milliseconds >= 10**8:
        return f"{min(TIMEOUT_S_MAX, -(-milliseconds // 1000))}S"
    step = 10 ** (len(str(milliseconds)) - 3)
    return f"{min(TIMEOUT_S_MAX, -(-milliseconds // step) * step)}m"


def escaped(text: str) -> str:
    """A status' text as ``grpc-message``; a long one ends with an ellipsis."""
    whole = quote(text[:TEXT_BYTES_MAX], safe=_PRINTABLE, errors="replace")
    if len(whole) <= TEXT_BYTES_MAX and len(text) <= TEXT_BYTES_MAX:
        return whole
    cut = unquote_to_bytes(_HALF_ESCAPE.sub("", whole[:TEXT_BYTES_MAX])).decode(errors="ignore")
    return quote(f"{cut}…", safe=_PRINTABLE)


def unescaped(text: bytes) -> str:
    """A ``grpc-message`` as text."""
    return unquote_to_bytes(text).decode(errors="replace")


def metadata_of(fields: Iterable[tuple[bytes, bytes]]) -> Metadata:
    """Custom metadata among header fields; binary values decoded, reserved names left out."""
    found: list[tuple[str, str | bytes]] = []
    for name, value in fields:
        if name.startswith((b":", b"grpc-")) or name in (b"content-type", b"te"):
            continue
        key = name.decode("latin-1")
        if key.endswith("-bin"):
            found += [(key, each) for each in _unpacked(value)]
        else:
            found.append((key, value.decode("latin-1")))
    return tuple(found)


def metadata_value(name: str, value: str | bytes) -> bytes:
    """How a value travels."""
    if name.endswith("-bin"):
        content = value if isinstance(value, bytes) else value.encode()
        return base64.b64encode(content).rstrip(b"=")
    return value if isinstance(value, bytes) else value.encode("latin-1", "replace")


def _unpacked(value: bytes) -> Iterable[bytes]:
    for each in value.split(b","):
        try:
            yield base64.b64decode(each + b"=" * (-len(each) % 4))
        except binascii.Error:
            yield each


def one_message(parts: Sequence[memoryview], encoding: str, bytes_max: int) -> bytes:
    """The message of a call that has one.

    parts: a stream's data, whose end was seen. bytes_max: the longest message, packed or not.

    Raises:
        CallFailed: there is none, or more than one, or it cannot be unpacked.
    """
    head = bytes(parts[0][:PREFIX_BYTES]) if parts else b""
    if len(head) < PREFIX_BYTES and len(parts) > 1:
        joined = b"".join(parts)
        parts, head = [memoryview(joined)], joined[:PREFIX_BYTES]
    if len(head) < PREFIX_BYTES:
        raise CallFailed(Code.INTERNAL, "the call has no message")
    length = int.from_bytes(head[1:], "big")
    if length != sum(map(len, parts)) - PREFIX_BYTES:
        raise CallFailed(Code.INTERNAL, "the call has not exactly one whole message")
    first = parts[0][PREFIX_BYTES:]
    message = bytes(first) if len(parts) == 1 else b"".join((first, *parts[1:]))
    if head[0] == 0:
        return message
    if head[0] != 1 or encoding not in ENCODINGS:
        raise CallFailed(Code.INTERNAL, f"a packed message of encoding {encoding or 'identity'!r}")
    return _decompressed(message, encoding, bytes_max)


def _decompressed(message: bytes, encoding: str, bytes_max: int) -> bytes:
    unpacker = zlib.decompressobj(ENCODINGS[encoding])
    try:
        content = unpacker.decompress(message, bytes_max + 1)
    except zlib.error as error:
        raise CallFailed(Code.INTERNAL, f"a message that is no {encoding}: {error}") from error
    if len(content) > bytes_max:
        raise too_large(len(content), bytes_max)
    if not unpacker.eof:
        raise CallFailed(Code.INTERNAL, f"a message whose {encoding} has no end")
    return content


def too_large(size: int, bytes_max: int) -> CallFailed:
    """In the words of gRPC's own implementations."""
    return CallFailed(
        Code.RESOURCE_EXHAUSTED, f"SERVER: Received message larger than max ({size} vs. {bytes_max})"
    )
