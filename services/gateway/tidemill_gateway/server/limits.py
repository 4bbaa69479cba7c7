"""What a client may ask of a connection, and for how long."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class HttpLimits:
    """body_bytes_max: a larger body is answered with 413 before it is read.

    header_s, body_s: how long the headers and then the body of one request may take to arrive.
    idle_s: how long a connection may wait between requests.
    write_s: how long a client may leave an answer unread before it is cut off.
    linger_s: how long, after a refusal, what the client still sends is read and thrown away, so that it
        gets to read why.
    """

    body_bytes_max: int = 16 * 2**20
    header_bytes_max: int = 16 * 1024
    header_fields_max: int = 100
    target_bytes_max: int = 8 * 1024
    connections_max: int = 4096
    header_s: float = 10.0
    body_s: float = 60.0
    idle_s: float = 75.0
    write_s: float = 30.0
    linger_s: float = 2.0
