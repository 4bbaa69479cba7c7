"""What a loaded version can do, whatever it was loaded from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Arrays = Mapping[str, np.ndarray[Any, Any]]


class Servable(Protocol):
    """A loaded model. Every method may be called from several threads at once."""

    @property
    def signatures(self) -> Mapping[str, Any]:
        """Signature name to ``SignatureDef``."""
        ...

    def run(
        self, signature_name: str, inputs: Arrays, outputs: Sequence[str], *, deadline_s: float | None = None
    ) -> list[Array]:
        """Compute the outputs, by alias and in this order, from all inputs of the signature.

        deadline_s: on the clock of `deadlines`; from then on nobody waits for the answer.

        Raises:
            StatusError: the model refused the inputs or failed; with TensorFlow's own code and text.
                DEADLINE_EXCEEDED: it did not end in time, or did not begin.
        """
        ...

    def close(self) -> None:
        """Free what the model holds. Nothing runs any more when this is called."""
        ...


class Held(Protocol):
    """A version that stays alive while it is held."""

    @property
    def servable(self) -> Servable: ...

    @property
    def version(self) -> int: ...


@dataclass(frozen=True)
class Loaded:
    """A version that nobody takes away."""

    servable: Servable
    version: int


class Resolver(Protocol):
    """Finds the version that a request means."""

    def handle(self, spec: Any) -> AbstractContextManager[Held]:
        """The version of a ``ModelSpec``, alive while the context is open.

        Raises:
            StatusError: there is none.
        """
        ...

    def observe_runtime(self, name: str, api: str, seconds: float) -> None:
        """The runtime computed for so long."""
        ...
