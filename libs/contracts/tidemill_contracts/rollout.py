"""How a model's traffic is shared between `stable` and `candidate`, as the store keeps it.

The gateway shares the traffic so; the serving agent holds a proven candidate back while it does.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from tidemill_contracts.errors import NotFound
from tidemill_contracts.layout import rollout_name
from tidemill_contracts.manifest import dump_document, parse_document
from tidemill_contracts.objects import ABSENT, ObjectStore

Percent = Annotated[float, Field(ge=0, le=100)]


class Rollout(BaseModel):
    """Shares of the requests that name neither version nor label.

    candidate_percent: answered by the candidate instead of `stable`, while it is loaded.
    shadow_percent: answered by `stable` and shown to the candidate too, only to compare.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    candidate_percent: Percent = 0.0
    shadow_percent: Percent = 0.0

    @property
    def is_on(self) -> bool:
        """Whether the candidate has a part in the traffic: it stays candidate until a person decides."""
        return self.candidate_percent > 0 or self.shadow_percent > 0


OFF = Rollout()


def read_rollout(store: ObjectStore, model: str) -> tuple[Rollout, int]:
    """The rollout of a model and its generation; OFF and ABSENT where there is none.

    Raises:
        Corrupt: the object is no rollout.
    """
    name = rollout_name(model)
    try:
        generation = store.stat(name).generation
        return parse_document(Rollout, store.get(name), name), generation
    except NotFound:
        return OFF, ABSENT


def write_rollout(store: ObjectStore, model: str, rollout: Rollout, *, over_generation: int) -> None:
    """Replace the rollout that was read at `over_generation`.

    Raises:
        Conflict: somebody changed it since.
    """
    store.put(rollout_name(model), dump_document(rollout), if_generation=over_generation)
