"""How a process ends: a signal sets a flag, everybody who waits on it wakes."""

from __future__ import annotations

import signal
import threading
from types import FrameType


class Stop:
    """A flag that is set once, when the process should end."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        self._event.set()

    def is_set(self) -> bool:
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait until the flag is set, at most `seconds`; say whether it is."""
        return self._event.wait(seconds)


def stop_on_signals() -> Stop:
    """A Stop that SIGTERM and SIGINT set. Call from the main thread."""
    stop = Stop()

    def ask_to_stop(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, ask_to_stop)
    signal.signal(signal.SIGINT, ask_to_stop)
    return stop
