"""The server's whole configuration, to which every model's loop contributes its part."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tidemill_chassis.logs import get_logger

from tidemill_serving.engine.states import State
from tidemill_serving.model_server import ModelServer, ServedModel

log = get_logger(__name__)


@dataclass(frozen=True)
class Part:
    """What one model asks for. labels: only such as name a version that answers now."""

    base_path: Path
    versions: frozenset[int]
    labels: Mapping[str, int] = field(default_factory=dict)


class Configuration:
    """Sent whole, for the server takes nothing less; one sender at a time."""

    def __init__(self, server: ModelServer) -> None:
        self._server = server
        self._parts: dict[str, Part] = {}
        self._sent: dict[str, ServedModel] = {}
        self._lock = threading.Lock()

    def declare(self, model: str, part: Part, *, again: bool = False) -> None:
        """Make this the model's part and see that the server has it.

        again: send even what was sent before; the server seems to have forgotten it.

        Raises:
            InvalidInput, Unavailable: as `ModelServer.reload`.
        """
        with self._lock:
            self._parts[model] = part
            asked = _served(model, part) if part.versions else None
            if asked == self._sent.get(model) and not again:
                return
            wanted = {name: self._takable(name, each) for name, each in self._parts.items() if each.versions}
            self._sent = {}
            self._server.reload(list(wanted.values()))
            self._sent = wanted

    def _takable(self, model: str, part: Part) -> ServedModel:
        """The part with the labels that the server can take at this moment.

        One label on a version that does not answer and it refuses the whole; the other models' parts may be
        older than its last restart. A label held back is missing in `_sent`, so its model sends it again.
        """
        states = self._server.states(model)
        answering = {version for version, known in states.items() if known.state is State.AVAILABLE}
        labels = {label: version for label, version in part.labels.items() if version in answering}
        return _served(model, Part(part.base_path, part.versions, labels))


def _served(model: str, part: Part) -> ServedModel:
    return ServedModel(model, str(part.base_path), part.versions, dict(part.labels))
