"""Bytes into whole requests, within the limits.

httptools (llhttp, the parser of Node.js) parses, and refuses what could be read in two ways.
"""

from __future__ import annotations

import httptools

from tidemill_gateway.server.limits import HttpLimits
from tidemill_gateway.server.messages import Request

SUPPORTED_VERSIONS = frozenset({"1.0", "1.1"})

_LOOKED_AT = frozenset({b"content-length", b"transfer-encoding", b"host", b"expect"})


class Refusal(Exception):
    """The connection cannot go on: answer with `status` and close."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class RequestParser:
    """Feed it bytes; take whole requests from `complete`.

    in_head, in_body: where in an unfinished request it stands.
    expects_continue: the client waits for a word before it sends the body.
    """

    def __init__(self, limits: HttpLimits, *, peer: str, secure: bool, connection: str = "") -> None:
        self._limits = limits
        self._peer = peer
        self._connection = connection
        self._secure = secure
        self._parser = httptools.HttpRequestParser(self)
        self._refusal: Refusal | None = None
        self.complete: list[Request] = []
        self.on_message_begin()
        self.in_head = False

    def feed(self, data: bytes) -> None:
        """Parse on.

        Raises:
            Refusal: what came is not HTTP, or over a limit. Requests that were complete before stand.
        """
        if self.in_head:
            self._head_bytes += len(data)  # a header that is still growing counts as it comes
        rest: bytes | None = data
        while rest is not None:
            rest = self._feed_once(rest)
        if self._refusal is not None:
            raise self._refusal
        if self.in_head and self._head_bytes > 2 * self._limits.header_bytes_max:
            raise Refusal(431, "the headers are too large")

    def _feed_once(self, data: bytes) -> bytes | None:
        """Parse; where a request asked for another protocol, what is to be parsed in its stead.

        HTTP/2 and websockets are not spoken here. The answer to such a wish is plain HTTP, but llhttp leaves
        the body unread where it is uttered: so the request is read again without the wish.
        """
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as wish:
            request = self.complete.pop()
            if request.method == b"CONNECT":
                raise Refusal(405, "this is no proxy") from None
            self._parser = httptools.HttpRequestParser(self)
            return _without_upgrade(request) + data[wish.args[0] :]
        except httptools.HttpParserError as error:
            raise self._refusal or Refusal(400, f"Malformed request: {error}") from None
        return None

    # Called by httptools.

    def on_message_begin(self) -> None:
        self.in_head = True
        self.in_body = False
        self.expects_continue = False
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._chunks: list[bytes] = []
        self._head_bytes = 0
        self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._target += url
        if len(self._target) > self._limits.target_bytes_max:
            self._refuse(414, "the path is too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))
        self._head_bytes += len(name) + len(value)
        if len(self._headers) > self._limits.header_fields_max:
            self._refuse(431, f"more than {self._limits.header_fields_max} header fields")
        if self._head_bytes > 2 * self._limits.header_bytes_max:
            self._refuse(431, "the headers are too large")

    def on_headers_complete(self) -> None:
        self.in_head = False
        self.in_body = True
        hosts = 0
        for name, value in self._headers:
            if name not in _LOOKED_AT:
                continue
            if name == b"content-length":
                if int(value) > self._limits.body_bytes_max:
                    self._refuse_body()
            elif name == b"transfer-encoding" and value.strip().lower() != b"chunked":
                self._refuse(501, "no transfer encoding but chunked is understood")
            elif name == b"host":
                hosts += 1
            elif name == b"expect" and value.lower() == b"100-continue":
                self.expects_continue = True
        version = self._version = self._parser.get_http_version()
        if version not in SUPPORTED_VERSIONS:
            self._refuse(505, f"HTTP {version} is not spoken here")
        elif hosts > 1 or (hosts == 0 and version == "1.1"):
            self._refuse(400, "Malformed request: a request needs exactly one Host")

    def on_body(self, body: bytes) -> None:
        self.expects_continue = False
        self._body_bytes += len(body)
        if self._body_bytes > self._limits.body_bytes_max:
            self._refuse_body()
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        self.in_body = False
        chunks, self._chunks = self._chunks, []
        self.complete.append(
            Request(
                self._parser.get_method(),
                self._target,
                self._headers,
                chunks[0] if len(chunks) == 1 else b"".join(chunks),
                self._peer,
                self._secure,
                self._parser.should_keep_alive(),
                self._version,
                "",
                self._connection,
            )
        )

    def _refuse_body(self) -> None:
        self._refuse(413, f"the body is over the limit of {self._limits.body_bytes_max} bytes")

    def _refuse(self, status: int, message: str) -> None:
        """Stop the parser here; `feed` raises what was the matter."""
        self._refusal = self._refusal or Refusal(status, message)
        raise self._refusal


def _without_upgrade(request: Request) -> bytes:
    """The head of a request as bytes, less its wish for another protocol."""
    lines = [b"%b %b HTTP/%b" % (request.method, request.target, request.http_version.encode())]
    for name, value in request.headers:
        if name == b"connection":
            value = b"close" if b"close" in value.lower() else b"keep-alive"
        if name != b"upgrade":
            lines.append(b"%b: %b" % (name, value))
    return b"\r\n".join([*lines, b"", b""])
