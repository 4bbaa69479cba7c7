"""The agent's loops: one per model, so that none holds up another, and one that listens for news."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from time import monotonic

from tidemill_chassis.lifecycle import Stop
from tidemill_chassis.logs import get_logger
from tidemill_chassis.retry import Backoff
from tidemill_contracts.bus import Delivery
from tidemill_contracts.envelope import from_message
from tidemill_contracts.errors import TidemillError, Unavailable
from tidemill_contracts.events import ModelPublished

from tidemill_serving.handlers import ModelRollout
from tidemill_serving.model_server import ServerAway

log = get_logger(__name__)

BUSY_PAUSE_S = 0.1
BACKOFF_FIRST_S = 0.5
BACKOFF_LIMIT_S = 60.0


class ModelLoop:
    """Steps one model's rollout for ever: when woken, soon while something is under way, or by the clock.

    After a failure it pauses ever longer, up to BACKOFF_LIMIT_S. A change of the labels ends the pause; so
    does a model server that was away and answers again: until it is told what to serve, it serves nothing.
    """

    def __init__(self, model: str, rollout: ModelRollout, *, poll_s: float) -> None:
        self._model = model
        self._rollout = rollout
        self._poll_s = poll_s
        self._woken = threading.Event()
        self._backoff = Backoff(BACKOFF_FIRST_S, BACKOFF_LIMIT_S)
        self._trouble: str | None = f"model {model} has not been looked at yet"

    @property
    def trouble(self) -> str | None:
        """What went wrong in the last step; None if nothing did."""
        return self._trouble

    def wake(self) -> None:
        """Something may have changed: look now."""
        self._woken.set()

    def run(self, stop: Stop) -> None:
        """Step until `stop`; then a `wake` ends the last pause."""
        while not stop.is_set():
            self._woken.clear()
            generation = self._rollout.labels_generation()
            away = False
            try:
                pause_s = BUSY_PAUSE_S if self._rollout.step() else self._poll_s
                self._trouble = None
                self._backoff.reset()
            except TidemillError as error:
                self._trouble = str(error)
                away = isinstance(error, ServerAway)
                pause_s = self._backoff.next_s()
                log.warning("step_failed", error=error, model=self._model, pause_s=round(pause_s, 2))
            except Exception as error:  # noqa: BLE001  (one model's fault must not end its loop)
                self._trouble = f"{type(error).__name__}: {error}"
                pause_s = self._backoff.next_s()
                log.error("step_broke", error=error, model=self._model, pause_s=round(pause_s, 2))
            self._pause(pause_s, generation, server_away=away)

    def _pause(self, seconds: float, generation: int | None, *, server_away: bool) -> None:
        end_s = monotonic() + seconds
        while (left_s := end_s - monotonic()) > 0:
            if self._woken.wait(min(left_s, self._poll_s)):
                return
            if self._rollout.labels_generation() != generation:
                return
            if server_away and self._rollout.server_answers():
                return


class Listener:
    """Wakes a model's loop when a version of it is published. The labels say what to do, not the event."""

    def __init__(self, loops: Mapping[str, ModelLoop]) -> None:
        self._loops = loops

    def handle(self, delivery: Delivery) -> None:
        """Raises InvalidInput for a message that is no ModelPublished."""
        event = from_message(delivery.message, ModelPublished)
        loop = self._loops.get(event.model)
        if loop is None:
            log.warning("model_unknown", model=event.model, version=event.version)
            return
        loop.wake()


def check_ready(loops: Mapping[str, ModelLoop]) -> None:
    """Return if every model's last step went well.

    Raises:
        Unavailable: one did not; the text says which and why.
    """
    for loop in loops.values():
        if loop.trouble is not None:
            raise Unavailable(loop.trouble)
