"""Messages by a stream that stays open: the server sends as they come, nobody asks for each portion."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from tidemill_chassis.adapters.pubsub_api import STREAMING_PULL, PubsubApi, explained

DEADLINE_S_MIN, DEADLINE_S_MAX = 10, 600
"""Of a stream. Shorter leases are set message by message."""
AHEAD_MESSAGES_MAX = 1000
AHEAD_BYTES_MAX = 16 * 1024 * 1024
"""So much is taken ahead of who asks; then the stream is not read, and the server's sending stops by itself.

The server's own flow control (`max_outstanding_messages`) is left alone: it counts what is not acknowledged
yet, and a batch that is larger than it would never be full.
"""
HEARTBEAT_S = 30.0
STEADY_S = 5.0
"""Pub/Sub ends streams now and then. One that lasted so long, or brought something, is opened anew unsaid."""
CLOSE_S_MAX = 3.0


class StreamingPull:
    """Takes messages from a subscription as `OutstandingPull` does; a thread reads ahead within the limits.

    What is ahead is leased by this process: other members of the subscription do not get it.
    """

    def __init__(
        self, api: PubsubApi, path: str, deadline_s: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._api = api
        self._path = path
        self.deadline_s = max(DEADLINE_S_MIN, min(DEADLINE_S_MAX, deadline_s))
        self._clock = clock
        self._changed = threading.Condition()
        self._ahead: deque[tuple[float, Any]] = deque()
        self._ahead_bytes = 0
        self._failure: grpc.RpcError | None = None
        self._stream: _Stream | None = None
        self._closed = False

    def take(self, messages_max: int, wait_s: float) -> tuple[list[Any], float]:
        """Up to `messages_max` received messages, and the seconds since the first of them came.

        Empty after `wait_s`.

        Raises:
            Unavailable: Pub/Sub did not answer. The next call opens another stream.
            NotFound: there is no such subscription.
        """
        if messages_max < 1:
            return [], 0.0
        end_s = self._clock() + wait_s
        with self._changed:
            while not self._ahead:
                self._open_if_needed()
                left_s = end_s - self._clock()
                if left_s <= 0:
                    return [], 0.0
                self._changed.wait(left_s)
            count = min(messages_max, len(self._ahead))
            taken = [self._ahead.popleft() for _ in range(count)]
            self._ahead_bytes -= sum(_size(message) for _, message in taken)
            self._changed.notify_all()
        return [message for _, message in taken], self._clock() - taken[0][0]

    def ask(self, messages_max: int) -> None:
        """Nothing: the stream sends by itself."""

    def close(self) -> list[Any]:
        """End the stream; what had come and nobody took."""
        with self._changed:
            self._closed = True
            stream, self._stream = self._stream, None
            self._changed.notify_all()
        if stream is not None:
            stream.end()
        with self._changed:
            left, self._ahead = [message for _, message in self._ahead], deque()
        return left

    def _open_if_needed(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise explained(failure) from failure
        if self._stream is None and not self._closed:
            self._stream = _Stream(self._api, self._path, self.deadline_s, self._receive, self._ended)

    def _receive(self, received: list[Any]) -> None:
        """Take a portion in and wait until there is room for the next, or until nothing more is asked for."""
        now_s = self._clock()
        with self._changed:
            self._ahead.extend((now_s, message) for message in received)
            self._ahead_bytes += sum(map(_size, received))
            self._changed.notify_all()
            self._changed.wait_for(self._has_room)

    def _has_room(self) -> bool:
        few = len(self._ahead) < AHEAD_MESSAGES_MAX and self._ahead_bytes < AHEAD_BYTES_MAX
        return few or self._closed

    def _ended(self, stream: _Stream, error: grpc.RpcError | None) -> None:
        with self._changed:
            if self._stream is stream:
                self._stream = None
                self._failure = error
                self._changed.notify_all()


class _Stream:
    """One stream with the thread that reads it."""

    def __init__(
        self,
        api: PubsubApi,
        path: str,
        deadline_s: int,
        receive: Callable[[list[Any]], None],
        ended: Callable[[_Stream, grpc.RpcError | None], None],
    ) -> None:
        self._requests: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._receive = receive
        self._ended = ended
        first = STREAMING_PULL.request(subscription=path, stream_ack_deadline_seconds=deadline_s)
        self._call = api.stream(STREAMING_PULL, self._asked(first), about=path)
        self._thread = threading.Thread(target=self._read, name="pubsub-stream", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Say that nothing more is asked for, and read what is on its way.

        To break off would leave that leased, and the emulator goes on delivering to streams that broke off.
        """
        self._requests.put(True)
        self._thread.join(CLOSE_S_MAX)
        self._call.cancel()
        self._thread.join(CLOSE_S_MAX)

    def _asked(self, first: Any) -> Iterator[Any]:
        """What we send: the subscription's name, then signs of life until the end."""
        yield first
        while True:
            try:
                self._requests.get(timeout=HEARTBEAT_S)
            except queue.Empty:
                yield STREAMING_PULL.request()
            else:
                return

    def _read(self) -> None:
        begun_s, brought, error = time.monotonic(), False, None
        try:
            for answer in self._call:
                brought = True
                self._receive(list(answer.received_messages))
        except grpc.RpcError as failure:
            was_steady = brought or time.monotonic() - begun_s > STEADY_S
            error = None if was_steady else failure
        self._requests.put(True)
        self._ended(self, error)


def _size(received: Any) -> int:
    return len(received.message.data)
