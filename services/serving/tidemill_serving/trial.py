"""Tries a candidate: does it load in the real server, reproduce its golden predictions, and may it pass?"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tidemill_contracts.errors import Corrupt
from tidemill_contracts.golden import PATH as GOLDEN
from tidemill_contracts.golden import Golden
from tidemill_contracts.manifest import Labels, parse_document
from tidemill_contracts.rollout import read_rollout

from tidemill_serving.golden_check import golden_difference
from tidemill_serving.model_server import ServerState
from tidemill_serving.ports import Ports
from tidemill_serving.rollout import available, failed

REPRODUCED = "it loaded and reproduced its golden predictions"
LOADED = "it loaded; no golden predictions came with it"


class Verdict(Enum):
    """What is to be done with the candidate. HELD: it is proven, and traffic is shared with it on purpose."""

    NOTHING = "nothing"
    WAIT = "wait"
    REFUSE = "refuse"
    HELD = "held"
    PROMOTE = "promote"


@dataclass(frozen=True)
class Finding:
    """A verdict and its reason, for those who read about it later."""

    verdict: Verdict
    reason: str = ""


NOTHING, WAIT = Finding(Verdict.NOTHING), Finding(Verdict.WAIT)


class Trial:
    """The trial of one model's candidates, one after another; a proven one is asked its predictions once.

    load_s_max: a candidate that is not available after this time is refused.
    """

    def __init__(self, ports: Ports, model: str, *, load_s_max: float) -> None:
        self._ports = ports
        self._model = model
        self._load_s_max = load_s_max
        self._version: int | None = None
        self._since_s = 0.0
        self._proof: str | None = None

    def judge(self, labels: Labels, states: dict[int, ServerState]) -> Finding:
        """What is to be done with the candidate, as the server's states are now.

        Raises:
            Unavailable: server or store did not answer.
            Corrupt: the model's rollout cannot be read; the candidate stays what it is.
        """
        candidate, now_s = labels.candidate, self._ports.clock()
        if candidate is None or candidate == labels.stable:
            self._version = None
            return NOTHING
        if candidate not in self._ports.folder.versions(self._model):
            return NOTHING
        if self._version != candidate:
            self._version, self._since_s, self._proof = candidate, now_s, None
        reason = failed(states, candidate)
        if reason is not None:
            return Finding(Verdict.REFUSE, f"it could not be loaded: {reason}")
        if candidate not in available(states):
            if now_s - self._since_s > self._load_s_max:
                return Finding(Verdict.REFUSE, f"it was not available after {self._load_s_max:g} s")
            return WAIT
        if self._proof is None:
            difference = self._prove(candidate)
            if difference is not None:
                said = f"it does not reproduce its golden predictions: {difference}"
                return Finding(Verdict.REFUSE, said)
        held = labels.stable is not None and read_rollout(self._ports.store, self._model)[0].is_on
        return Finding(Verdict.HELD if held else Verdict.PROMOTE, self._proof or "")

    def _prove(self, version: int) -> str | None:
        """What differs from its golden predictions; None, and the proof is kept, if nothing does."""
        path = self._ports.folder.version_path(self._model, version) / GOLDEN
        if not path.is_file():
            self._proof = LOADED
            return None
        try:
            golden = parse_document(Golden, path.read_bytes(), GOLDEN)
        except Corrupt as error:
            return str(error)
        difference = golden_difference(self._ports.server, self._model, version, golden)
        if difference is None:
            self._proof = REPRODUCED
        return difference
