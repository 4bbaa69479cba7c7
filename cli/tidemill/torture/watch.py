"""Ends a torture that hangs, and shows where it does."""

from __future__ import annotations

import faulthandler
import sys
from collections.abc import Iterator
from contextlib import contextmanager

STALL_S_MAX = 300.0
"""Of a round, and of each wait after the last: more than their own limits allow together. What takes longer
waits for something that has none."""


@contextmanager
def watched(limit_s: float = STALL_S_MAX) -> Iterator[None]:
    """If the context is still open after `limit_s`, print the stack of every thread and end with exit code 1.

    The processes under torture end with this one. One context at a time.
    """
    faulthandler.dump_traceback_later(limit_s, exit=True, file=sys.__stderr__ or sys.stderr)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
