"""What the agent does for one model, in order: fetch, have loaded, try, switch, announce, tidy up."""

from __future__ import annotations

from tidemill_chassis.logs import get_logger
from tidemill_contracts.errors import Corrupt, NotFound, TidemillError, Unavailable
from tidemill_contracts.label_changes import promote_candidate
from tidemill_contracts.manifest import Labels, change_labels, read_labels

from tidemill_serving.configuration import Part
from tidemill_serving.fetching import fetch
from tidemill_serving.model_server import ServerAway, ServerState
from tidemill_serving.ports import Ports
from tidemill_serving.quorum import Quorum
from tidemill_serving.reports import Reports
from tidemill_serving.rollout import available, failed, forgotten, labelled_versions, removable, server_labels
from tidemill_serving.trial import Trial, Verdict

log = get_logger(__name__)

AGENT = "serving-agent"
"""Who promotes, in the record of changes, when no person does."""


class ModelRollout:
    """Brings one model's versions into service, step by step; any step may be the last before a restart.

    keep_versions: so many of the newest versions stay on disk beside the labelled ones.
    load_s_max: a candidate that is not available after this time is refused.
    quorum: whom to agree with before a candidate is promoted.
    """

    def __init__(
        self, ports: Ports, model: str, *, keep_versions: int, load_s_max: float, quorum: Quorum
    ) -> None:
        self._ports = ports
        self._quorum = quorum
        self._model = model
        self._keep_versions = keep_versions
        self._trial = Trial(ports, model, load_s_max=load_s_max)
        self._reports = Reports(ports, model)
        self._last_good: int | None = None
        self._held: int | None = None
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
        busy = labels.stable is not None and labels.stable not in available(states)
        try:
            busy = self._settle_candidate(labels, states) or busy
        except Corrupt as error:  # the rollout's document; it must not keep the rest from being done
            troubles.append(error)
        self._retry_stable(labels, states)
        self._reports.serving(labels)
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

    def _settle_candidate(self, labels: Labels, states: dict[int, ServerState]) -> bool:
        """Do with the candidate what its trial says; say whether the next step should come soon."""
        candidate = labels.candidate
        found = self._trial.judge(labels, states)
        if candidate is None or found.verdict is Verdict.NOTHING:
            self._quorum.forget()
            return False
        if found.verdict is Verdict.REFUSE:
            self._refuse(candidate, found.reason)
        elif found.verdict is Verdict.PROMOTE and self._quorum.agrees(candidate):
            self._promote(candidate, found.reason)
        elif found.verdict is Verdict.HELD and self._held != candidate:
            log.info("candidate_held", model=self._model, version=candidate, reason=found.reason)
            self._held = candidate
        return found.verdict in {Verdict.WAIT, Verdict.PROMOTE}

    def _promote(self, version: int, reason: str) -> None:
        changed = promote_candidate(self._ports.store, self._model, version, by=AGENT, reason=reason)
        labels = changed.labels_after
        log.info("version_promoted", model=self._model, version=version, previous=labels.previous)
        self._declare(labels)
        self._reports.serving(labels)

    def _refuse(self, version: int, reason: str) -> None:
        """Announce the refusal, then take the label away: a restart between the two announces again."""
        self._reports.refused(version, reason)

        def change(labels: Labels) -> Labels:
            return labels.model_copy(update={"candidate": None}) if labels.candidate == version else labels

        change_labels(self._ports.store, self._model, change)

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

    def _tidy(self, labels: Labels, states: dict[int, ServerState]) -> None:
        here = self._ports.folder.versions(self._model)
        needed = {*labelled_versions(labels), *([self._last_good] if self._last_good else [])}
        for version in removable(here, needed, states, keep_versions=self._keep_versions):
            self._ports.folder.remove(self._model, version)
            log.info("version_removed", model=self._model, version=version)

    def server_answers(self) -> bool:
        """Whether the model server is there, whatever it says."""
        try:
            self._ports.server.states(self._model)
        except TidemillError as error:
            return not isinstance(error, ServerAway)
        return True

    def labels_generation(self) -> int | None:
        """Which state of the labels the store has; None if it cannot say."""
        try:
            return read_labels(self._ports.store, self._model)[1]
        except TidemillError:
            return None
