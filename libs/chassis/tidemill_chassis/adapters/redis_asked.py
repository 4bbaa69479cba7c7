"""A request for entries that is sent before anybody waits for its answer."""

from __future__ import annotations

import time
from typing import Any

import redis

LATE_S_MAX = 10.0
"""An answer so much later than the server may wait for messages never comes: the connection is dead."""


class NotYet(Exception):
    """The server has not answered yet."""


class AskedEntries:
    """One XREADGROUP on its way, on a connection of its own until it is answered or dropped."""

    def __init__(
        self, client: redis.Redis, stream: str, group: str, consumer: str, count: int, block_ms: int
    ) -> None:
        self._pool: Any = client.connection_pool
        self._connection: Any = self._pool.get_connection()
        self._until_s = time.monotonic() + block_ms / 1000 + LATE_S_MAX
        command: tuple[Any, ...] = ("XREADGROUP", "GROUP", group, consumer, "COUNT", count, "BLOCK", block_ms)
        try:
            self._send(*command, "STREAMS", stream, ">")
        except BaseException:
            self.drop()
            raise

    def _send(self, *command: Any) -> None:
        connection: Any = self._connection
        connection.send_command(*command)

    def answer(self, wait_s: float) -> Any:
        """The server's answer as it sends it; afterwards this object is done with.

        Raises:
            NotYet: there is none after `wait_s`; ask again.
            redis.RedisError: the server refused, or is gone.
        """
        try:
            if not self._connection.can_read(timeout=wait_s):
                if time.monotonic() > self._until_s:
                    raise redis.TimeoutError("what was asked ahead is not answered")
                raise NotYet
            found = self._connection.read_response()
        except NotYet:
            raise
        except redis.ResponseError:
            self._pool.release(self._connection)
            raise
        except BaseException:
            self.drop()
            raise
        self._pool.release(self._connection)
        return found

    def drop(self) -> None:
        """Want no answer: the connection is closed, for one may still come on it."""
        self._connection.disconnect()
        self._pool.release(self._connection)
