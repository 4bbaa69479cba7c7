"""What the agent does for one model, in order: fetch, have loaded, prove, switch, announce, tidy up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from tidemill_chassis.logs import get_logger
from tidemill_contracts.bus import Bus
from tidemill_contracts.envelope import to_message
from tidemill_contracts.errors import Corrupt, NotFound, TidemillError, Unavailable
from tidemill_contracts.events import Event, ModelRefused, ModelServing
from tidemill_contracts.golden import PATH as GOLDEN
from tidemill_contracts.golden import Golden
from tidemill_contracts.manifest import Labels, change_labels, parse_document, read_labels
from tidemill_contracts.objects import ObjectStore

from tidemill_serving.configuration import Configuration, Part
from tidemill_serving.fetching import fetch
from tidemill_serving.golden_check import golden_difference
from tidemill_serving.model_server import ModelServer, ServerState
from tidemill_serving.rollout import available, failed, forgotten, labelled_versions, removable, server_labels
from tidemill_serving.version_folder import VersionFolder

log = get_logger(__name__)

SOURCE = "tidemill/serving"
REASON_LENGTH_MAX = 1000


@dataclass(frozen=True)
class Ports:
    """What the agent acts upon, and the clock in seconds."""

    store: ObjectStore
    bus: Bus
    server: ModelServer
    configuration: Configuration
    folder: VersionFolder
    clock: Callable[[], float] = monotonic


class ModelRollout:
    """Brings one model's versions into service, step by step; any step may be the last before a restart.

    keep_versions: so many of the newest versions stay on disk beside the labelled ones.
    load_s_max: a candidate that is not available after this time is refused.
    """

    def __init__(self, ports: Ports, model: str, *, keep_versions: int, load_s_max: float) -> None:
        self._ports = ports
        self._model = model
        self._keep_versions = keep_versions
        self._load_s_max = load_s_max
        self._last_good: int | None = None
        self._candidate: tuple[int, float] | None = None
        self._given_up: int | None = None

    def step(self) -> bool:
        """Do what can be done now; say whether more is under way, so that the next step should come soon.

        Raises:
            Unavailable: store, disk, server or bus did not do their part.
            Corrupt, NotFound: a labelled version is not in the store as it should be.
        """
        labels, _ = read_labels(self._ports.store, self._model)
        troubles = self._fetch_missing(labels)
        labels, _ = read_labels(self._ports.store, self._model)  # a candidate may just have been refused
        states = self._declare(labels)
        busy = self._judge_candidate(labels, states)
        self._retry_stable(labels, states)
        self._announce(labels)
        self._tidy(labels, states)
        if troubles:
            raise troubles[0]
        return busy

    def _fetch_missing(self, labels: Labels) -> list[TidemillError]:
        """Fetch every labelled version that is not here; return what went wrong, most needed first."""
        troubles: list[TidemillError] = []
        here = self._ports.folder.versions(self._model)
        for version in labelled_versions(labels):
            if version in here:
                continue
            try:
                manifest = fetch(self._ports.store, self._ports.folder, self._model, version)
            except Corrupt as error:
                if version == labels.candidate and version != labels.stable:
                    self._refuse(version, str(error))
                else:
                    troubles.append(error)
            except (NotFound, Unavailable) as error:
                troubles.append(error)
            else:
                size_bytes = sum(file.size_bytes for file in manifest.files)
                log.info("version_fetched", model=self._model, version=version, size_bytes=size_bytes)
        return troubles

    def _declare(self, labels: Labels) -> dict[int, ServerState]:
        """Tell the server what it should serve; return what it says of it."""
        ports = self._ports
        here = ports.folder.versions(self._model)
        versions = {version for version in labelled_versions(labels) if version in here}
        if self._last_good is not None and self._last_good in here:
            versions.add(self._last_good)
        versions.discard(self._given_up or 0)
        self._given_up = None
        states = ports.server.states(self._model)
        base_path = ports.folder.base_path(self._model)
        for _ in ("versions", "labels"):  # labels take effect only on versions that answer already
            wanted = server_labels(labels, self._last_good, available(states) & versions)
            part = Part(base_path, frozenset(versions), wanted)
            ports.configuration.declare(self._model, part, again=forgotten(states, versions))
            states = ports.server.states(self._model)
        if labels.stable is not None and wanted.get("stable") == labels.stable:
            self._last_good = labels.stable
        return states

    def _judge_candidate(self, labels: Labels, states: dict[int, ServerState]) -> bool:
        """Promote the candidate, refuse it, or wait for it; say whether there is something to wait for."""
        candidate, now_s = labels.candidate, self._ports.clock()
        if candidate is None or candidate == labels.stable:
            return labels.stable is not None and labels.stable not in available(states)
        if candidate not in self._ports.folder.versions(self._model):
            return False
        if self._candidate is None or self._candidate[0] != candidate:
            self._candidate = (candidate, now_s)
        reason = failed(states, candidate)
        if reason is not None:
            self._refuse(candidate, f"it could not be loaded: {reason}")
            return False
        if candidate not in available(states):
            if now_s - self._candidate[1] > self._load_s_max:
                self._refuse(candidate, f"it was not available after {self._load_s_max:g} s")
                return False
            return True
        difference = self._golden_difference(candidate)
        if difference is not None:
            self._refuse(candidate, f"it does not reproduce its golden predictions: {difference}")
            return False
        self._promote(candidate)
        return True

    def _golden_difference(self, version: int) -> str | None:
        path = self._ports.folder.version_path(self._model, version) / GOLDEN
        if not path.is_file():
            return None
        try:
            golden = parse_document(Golden, path.read_bytes(), GOLDEN)
        except Corrupt as error:
            return str(error)
        return golden_difference(self._ports.server, self._model, version, golden)

    def _promote(self, version: int) -> None:
        def change(labels: Labels) -> Labels:
            return labels.promote(version) if labels.candidate == version else labels

        changed = change_labels(self._ports.store, self._model, change)
        log.info("version_promoted", model=self._model, version=version, previous=changed.previous)
        self._declare(changed)
        self._announce(changed)

    def _refuse(self, version: int, reason: str) -> None:
        """Announce the refusal, then take the label away: a restart between the two announces again."""
        said = reason[:REASON_LENGTH_MAX]
        log.warning("version_refused", model=self._model, version=version, reason=said)
        self._publish(ModelRefused(model=self._model, version=version, reason=said))

        def change(labels: Labels) -> Labels:
            return labels.model_copy(update={"candidate": None}) if labels.candidate == version else labels

        change_labels(self._ports.store, self._model, change)
        self._candidate = None

    def _retry_stable(self, labels: Labels, states: dict[int, ServerState]) -> None:
        """A stable version that the server gave up is taken out and declared anew after a pause, for ever.

        Raises:
            Unavailable: it is so; the caller pauses.
        """
        stable = labels.stable
        reason = failed(states, stable) if stable is not None else None
        if stable is None or reason is None:
            return
        self._given_up = stable
        self._declare(labels)
        raise Unavailable(f"version {stable} of {self._model} could not be loaded: {reason}")

    def _announce(self, labels: Labels) -> None:
        """Say once of every stable version that it answers, after the server really answered for it."""
        ports, stable = self._ports, labels.stable
        if stable is None or ports.folder.announced(self._model) == stable:
            return
        if ports.server.labelled(self._model, "stable") != stable:
            return
        replaced = labels.previous if labels.previous != stable else None
        self._publish(ModelServing(model=self._model, version=stable, replaced_version=replaced))
        ports.folder.remember_announced(self._model, stable)
        log.info("version_serving", model=self._model, version=stable, replaced=replaced)

    def _tidy(self, labels: Labels, states: dict[int, ServerState]) -> None:
        here = self._ports.folder.versions(self._model)
        needed = {*labelled_versions(labels), *([self._last_good] if self._last_good else [])}
        for version in removable(here, needed, states, keep_versions=self._keep_versions):
            self._ports.folder.remove(self._model, version)
            log.info("version_removed", model=self._model, version=version)

    def _publish(self, event: Event) -> None:
        self._ports.bus.publish(event.topic, [to_message(event, source=SOURCE, ordering_key=self._model)])

    def labels_generation(self) -> int | None:
        """Which state of the labels the store has; None if it cannot say."""
        try:
            return read_labels(self._ports.store, self._model)[1]
        except TidemillError:
            return None
