"""Says of a model's versions that they serve, once each, or that they were refused, and why."""

from __future__ import annotations

from tidemill_chassis.logs import get_logger
from tidemill_contracts.envelope import to_message
from tidemill_contracts.events import Event, ModelRefused, ModelServing
from tidemill_contracts.manifest import Labels

from tidemill_serving.ports import Ports

log = get_logger(__name__)

SOURCE = "tidemill/serving"
REASON_LENGTH_MAX = 1000


class Reports:
    """What the agent tells the others of one model."""

    def __init__(self, ports: Ports, model: str) -> None:
        self._ports = ports
        self._model = model

    def serving(self, labels: Labels) -> None:
        """Say once of every stable version that it answers, after the server really answered for it.

        Raises:
            Unavailable: server, bus or disk did not do their part.
        """
        ports, stable = self._ports, labels.stable
        if stable is None or ports.folder.announced(self._model) == stable:
            return
        if ports.server.labelled(self._model, "stable") != stable:
            return
        replaced = labels.previous if labels.previous != stable else None
        self._publish(ModelServing(model=self._model, version=stable, replaced_version=replaced))
        ports.folder.remember_announced(self._model, stable)
        log.info("version_serving", model=self._model, version=stable, replaced=replaced)

    def refused(self, version: int, reason: str) -> None:
        """Say that the version was refused; raises Unavailable if the bus did not take it."""
        said = reason[:REASON_LENGTH_MAX]
        log.warning("version_refused", model=self._model, version=version, reason=said)
        self._publish(ModelRefused(model=self._model, version=version, reason=said))

    def _publish(self, event: Event) -> None:
        self._ports.bus.publish(event.topic, [to_message(event, source=SOURCE, ordering_key=self._model)])
