"""What a REST dialect is. A new one is a file that makes one of these, and a line in app.DIALECTS."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tidemill_contracts.errors import TidemillError

from tidemill_gateway.plane.calls import Call
from tidemill_gateway.plane.lanes import Answer
from tidemill_gateway.plane.versions import Resolved, Target


class RestCall(Call, Protocol):
    """A request that was read, and that knows how its answer is said."""

    def render(self, resolved: Resolved, answer: Answer) -> bytes:
        """The body of the answer.

        Raises:
            InvalidInput: what was answered cannot be said in the form that was asked for.
        """
        ...


@dataclass(frozen=True)
class RestDialect:
    """Parsing, rendering and errors; everything between is the data plane's, for all dialects alike.

    name: how metrics, logs and traces call it.
    path: the whole target, query included, of every POST that asks for an answer of a model.
    read: whom it asks, and what; raises InvalidInput.
    render_error: status and body of an error.
    """

    name: str
    path: re.Pattern[bytes]
    read: Callable[[re.Match[bytes], bytes], tuple[Target, RestCall]]
    render_error: Callable[[TidemillError], tuple[int, bytes]]
