"""What a version's content is called, for those who must never take one content for another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from time import monotonic

from tidemill_gateway.model_facts import ModelFacts

ASK_AGAIN_S = 5.0
"""A version without a manifest is asked about again only after this."""
KNOWN_MAX = 1024


class ContentDigests:
    """Reads them from the manifests in the store, each once. Belongs to one event loop."""

    def __init__(self, facts: ModelFacts, executor: Executor, clock: Callable[[], float] = monotonic) -> None:
        self._facts = facts
        self._executor = executor
        self._clock = clock
        self._known: dict[tuple[str, int], tuple[str | None, float]] = {}

    async def get(self, model: str, version: int) -> str | None:
        """The digest; None where the store has no whole manifest of the version.

        Raises:
            Unavailable: the store did not answer.
        """
        digest, asked_s = self._known.get((model, version), (None, float("-inf")))
        if digest is not None or self._clock() - asked_s < ASK_AGAIN_S:
            return digest
        loop = asyncio.get_running_loop()
        facts = await loop.run_in_executor(self._executor, self._facts.of, model, version)
        digest = facts.get("digest")
        if len(self._known) >= KNOWN_MAX:
            self._known.clear()
        self._known[model, version] = (digest, self._clock())
        return digest
