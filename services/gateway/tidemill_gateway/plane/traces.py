"""What the data plane tells of a request that is traced. Where none is, nothing of this is called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tidemill_gateway.plane.lanes import JobTrace, LaneKey


class RequestTrace(Protocol):
    """One request on its way."""

    def queued(self) -> JobTrace:
        """It, or a piece of it, was validated and joins a lane."""
        ...


class BatchTrace(Protocol):
    """One call of the model. headers: what tells the model's server of the trace."""

    headers: tuple[tuple[str, str], ...]

    def ended(self, error: str) -> None:
        """The call came back. error: empty for none."""
        ...


class BatchTracer(Protocol):
    """Is told of batches in which a traced request travels."""

    def batch_sent(self, key: LaneKey, jobs: Sequence[JobTrace], rows: int) -> BatchTrace:
        """A batch leaves for the model. jobs: the traced ones in it, at least one."""
        ...
