"""Keeps what is known of every model fresh, from serving's status and the store's labels."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from types import MappingProxyType
from typing import TypeVar

from tidemill_chassis.logs import get_logger
from tidemill_contracts.errors import InvalidInput, NotFound, TidemillError, Unavailable
from tidemill_contracts.layout import MODELS
from tidemill_contracts.manifest import Labels, read_labels
from tidemill_contracts.objects import ObjectStore
from tidemill_contracts.rollout import Rollout, read_rollout

from tidemill_gateway.errors import VersionGone
from tidemill_gateway.plane.signatures import SignatureCache
from tidemill_gateway.plane.versions import ModelView, Resolved, Target, VersionState, choose_stable, resolve
from tidemill_gateway.wire import model_pb2 as pb

log = get_logger(__name__)

REFRESH_S = 1.0
LIST_EVERY = 2
"""The store's list of models is read at every second refresh: a listing costs more than a label."""
ASK_AGAIN_S = 0.25
"""A model or version that was just not found is looked for again only after this."""
MODELS_MAX = 1000
PROBE = "tidemill-probe"
"""While no model is known, serving is asked for this one: that it does not know it is an answer too."""
ASKING_MAX = 8
"""Unknown names that are looked for at the same time; beyond it they are simply not found."""

T = TypeVar("T")
Statuses = Callable[[str], Awaitable[Sequence[pb.ModelVersionStatus]]]


class VersionBook:
    """The models, by name. Read from any thread; refreshed by one event loop.

    Store and serving may each be away for a while: then what was seen last stands.
    """

    def __init__(
        self,
        statuses: Statuses,
        store: ObjectStore,
        signatures: SignatureCache,
        executor: Executor,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._statuses = statuses
        self._store = store
        self._signatures = signatures
        self._executor = executor
        self._clock = clock
        self._views: Mapping[str, ModelView] = MappingProxyType({})
        self._stored: frozenset[str] = frozenset()
        self._asked_s: dict[str, float] = {}
        self._looking: dict[str, asyncio.Task[None]] = {}
        self.serving_error: str | None = "serving was not asked yet"

    @property
    def views(self) -> Mapping[str, ModelView]:
        """Every known model; a snapshot that does not change under its reader."""
        return self._views

    async def resolve(self, target: Target) -> Resolved:
        """The version that answers; what is not known is looked for once. Raises as versions.resolve does."""
        try:
            return resolve(self._views.get(target.model), target)
        except (NotFound, InvalidInput, Unavailable):
            if target.model not in self._looking and not self._may_ask(target.model):
                raise
            await self.refresh_model(target.model)
            return resolve(self._views.get(target.model), target)

    async def run(self) -> None:
        """Refresh for ever, each REFRESH_S."""
        turn = 0
        while True:
            try:
                await self.refresh(list_models=turn % LIST_EVERY == 0)
            except TidemillError as error:
                log.warning("versions_not_refreshed", error=error)
            turn += 1
            await asyncio.sleep(REFRESH_S)

    async def refresh(self, *, list_models: bool = True) -> None:
        """Look at every known model once."""
        if list_models:
            try:
                self._stored = await self._in_thread(self._list_models)
            except TidemillError as error:
                log.warning("models_not_listed", error=error)
        names = sorted(self._stored | self._views.keys())[:MODELS_MAX]
        for name in names:
            await self.refresh_model(name)
        if not names:
            await self._read_states(ModelView(PROBE))

    async def refresh_model(self, name: str) -> None:
        """Look at one model: its states at serving, its labels in the store.

        Whoever wants the same model meanwhile waits for the same look: the first callers of a new model come
        together, and a 404 to all of them but one would be wrong.
        """
        looking = self._looking.get(name)
        if looking is None:
            looking = asyncio.get_running_loop().create_task(self._look(name))
            self._looking[name] = looking
            looking.add_done_callback(lambda _: self._looking.pop(name, None))
        await asyncio.shield(looking)

    async def _look(self, name: str) -> None:
        self._asked_s[name] = self._clock()
        before = self._views.get(name, ModelView(name))
        states, (labels, rollout) = await asyncio.gather(self._read_states(before), self._read_store(before))
        in_store = name in self._stored or labels != Labels()
        if not states and not in_store:
            self._views = MappingProxyType({key: view for key, view in self._views.items() if key != name})
            return
        view = ModelView(name, states, labels, in_store, None, rollout)
        stable = choose_stable(labels, view.available, before.stable)
        view = replace(view, stable=stable)
        if stable != before.stable:
            log.info("stable_version_changed", model=name, version=stable, replaced_version=before.stable)
        await self._know_signatures(view)
        self._views = MappingProxyType({**self._views, name: view})

    async def _know_signatures(self, view: ModelView) -> None:
        """Ask for the signatures of new versions before they get traffic, so that no caller waits for it."""
        self._signatures.keep_only(view.name, view.available)
        for version in view.available:
            try:
                await self._signatures.get(view.name, version)
            except TidemillError as error:
                log.warning("signatures_not_read", model=view.name, version=version, error=error)

    async def _read_states(self, before: ModelView) -> Mapping[int, VersionState]:
        try:
            found = await self._statuses(before.name)
        except (NotFound, VersionGone):
            self.serving_error = None
            return MappingProxyType({})
        except TidemillError as error:
            self.serving_error = str(error)
            return before.states
        self.serving_error = None
        return MappingProxyType(
            {
                seen.version: VersionState(seen.state, seen.status.error_code, seen.status.error_message)
                for seen in found
            }
        )

    async def _read_store(self, before: ModelView) -> tuple[Labels, Rollout]:
        def read() -> tuple[Labels, Rollout]:
            return read_labels(self._store, before.name)[0], read_rollout(self._store, before.name)[0]

        try:
            return await self._in_thread(read)
        except InvalidInput:
            pass  # a name that no store can hold
        except TidemillError as error:
            log.warning("labels_not_read", model=before.name, error=error)
        return before.labels, before.rollout

    def _list_models(self) -> frozenset[str]:
        return frozenset(
            parts[1] for info in self._store.list(MODELS) if len(parts := info.name.split("/")) > 2
        )

    def _may_ask(self, name: str) -> bool:
        if len(self._looking) >= ASKING_MAX:
            return False
        now_s = self._clock()
        if len(self._asked_s) > MODELS_MAX:
            self._asked_s = {key: at_s for key, at_s in self._asked_s.items() if now_s - at_s < ASK_AGAIN_S}
        return now_s - self._asked_s.get(name, -ASK_AGAIN_S) >= ASK_AGAIN_S

    async def _in_thread(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, function)
