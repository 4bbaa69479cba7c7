"""Lets replicas agree on a version before it is called stable: each proves it, and all see that all did.

A replica that has proven the candidate writes an object beside the model's versions, and again every BEAT_S
as long as it waits for the others. Nobody's wall clock is asked: another replica counts while the generation
of its object is seen to change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Literal

from pydantic import BaseModel, ConfigDict
from tidemill_chassis.logs import get_logger
from tidemill_contracts.events import Version
from tidemill_contracts.layout import proof_name, proofs_prefix
from tidemill_contracts.manifest import dump_document
from tidemill_contracts.objects import ObjectStore
from tidemill_contracts.samples import Name

log = get_logger(__name__)

REPLICAS_MAX = 100
BEAT_S = 2.0
LOOK_S = 1.0
"""How often a waiting replica writes its proof and looks for those of the others."""
LIVE_S = 30.0
"""A replica whose proof was not written anew for so long counts no more."""


class Proof(BaseModel):
    """One replica's word that the version loaded in its server and reproduced its golden predictions."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    model: Name
    version: Version
    replica: str


@dataclass
class _Seen:
    """A replica's proof as it was last seen. changed_s: when it was last seen to change; None for never."""

    generation: int
    changed_s: float | None = None


class Quorum:
    """One model's agreement among `replicas` servers. One replica is alone: it writes nothing.

    replica: this replica's own name, the same after a restart.
    replicas: how many must have proven a version; more may run.
    """

    def __init__(
        self,
        store: ObjectStore,
        model: str,
        *,
        replica: str,
        replicas: int,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._store = store
        self._model = model
        self._replica = replica
        self._replicas = replicas
        self._clock = clock
        self._version: int | None = None
        self._beaten_s = self._looked_s = float("-inf")
        self._seen: dict[str, _Seen] = {}
        self._told: int | None = None

    def agrees(self, version: int) -> bool:
        """Say that we have proven the version; return whether all replicas have. Call again until it is so.

        Raises:
            Unavailable: the store did not answer.
        """
        if self._replicas == 1:
            return True
        now_s = self._clock()
        if self._version != version:
            self.forget()
            self._version = version
        if now_s - self._beaten_s >= BEAT_S:
            self._store.put(self._own(version), dump_document(self._proof(version)))
            self._beaten_s = now_s
        if now_s - self._looked_s >= LOOK_S:
            self._look(version, now_s)
            self._looked_s = now_s
        count = self._count(now_s)
        if count != self._told:
            said = {"replicas_proven": count, "replicas_needed": self._replicas}
            log.info("quorum_counted", model=self._model, version=version, replica=self._replica, **said)
            self._told = count
        return count >= self._replicas

    def forget(self) -> None:
        """The version is no candidate any more, or another one is: take our proof of it back.

        A proof that is left behind, because we were killed, is never written anew and so never counts.
        """
        if self._version is not None:
            self._store.delete(self._own(self._version))
        self._version = self._told = None
        self._beaten_s = self._looked_s = float("-inf")
        self._seen = {}

    def _own(self, version: int) -> str:
        return proof_name(self._model, version, self._replica)

    def _proof(self, version: int) -> Proof:
        return Proof(model=self._model, version=version, replica=self._replica)

    def _look(self, version: int, now_s: float) -> None:
        for info in self._store.list(proofs_prefix(self._model, version)):
            if info.name == self._own(version):
                continue
            seen = self._seen.setdefault(info.name, _Seen(info.generation))
            if seen.generation != info.generation:
                self._seen[info.name] = _Seen(info.generation, now_s)

    def _count(self, now_s: float) -> int:
        """Ourselves, and those whose proof was written anew while we looked on."""
        live = (
            each.changed_s is not None and now_s - each.changed_s <= LIVE_S for each in self._seen.values()
        )
        return 1 + sum(live)
