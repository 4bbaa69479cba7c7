"""The heart of the engine: a configuration in force, and requests resolved to versions that answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from tidemill_chassis.logs import get_logger

from tidemill_serving.engine.keeper import Handle, Keeper
from tidemill_serving.engine.model_config import Configs, check_transition, validate
from tidemill_serving.engine.states import State, VersionState
from tidemill_serving.engine.status import Code, StatusError, failed_precondition, invalid_argument, not_found
from tidemill_serving.engine.versions import aspired, scan

log = get_logger(__name__)

RELOAD_WAIT_S_MAX = 600.0
"""How long a reload waits for new models when the caller sets no deadline."""


class Core:
    """Knows the models, their labels and their versions; every protocol asks it."""

    def __init__(
        self,
        keeper: Keeper,
        *,
        labels_before_available: bool = False,
        observe_runtime: Callable[[str, str, float], None] | None = None,
    ) -> None:
        self._keeper = keeper
        self._observe_runtime = observe_runtime
        self._labels_before_available = labels_before_available
        self._configs: Configs = ()
        self._labels: Mapping[str, Mapping[str, int]] = {}
        self._changing = threading.Lock()

    def reload(self, configs: Configs, *, wait_s: float = RELOAD_WAIT_S_MAX) -> None:
        """Serve exactly these models from now on; return once every model new to the server answers.

        wait_s: how long to wait for them; 0: not at all.

        Raises:
            StatusError: INVALID_ARGUMENT or FAILED_PRECONDITION: refused, nothing changed. UNKNOWN: in force,
                but a new model did not become available.
        """
        with self._changing:
            validate(configs)
            check_transition(self._configs, configs)
            self._labels = self._checked_labels(configs)
            known = {config.name for config in self._configs}
            gone = known - {config.name for config in configs}
            new = [config.name for config in configs if config.name not in known]
            self._configs = configs
            for name in gone:
                self._keeper.set_aspired(name, {})
            self._look(configs)
        if wait_s > 0:
            self._await(new, wait_s)

    def settle(self, wait_s: float) -> None:
        """Wait, at most `wait_s`, until every model that has a version answers or has tried all it has."""

        def settled() -> bool:
            known = [self._keeper.states(name) for name in names]
            return all(_is_settled(states) for states in known if states)

        with self._changing:
            names = [config.name for config in self._configs]
        self._keeper.wait_until(settled, wait_s)

    def knows(self, name: str) -> bool:
        """Whether a model of this name is configured."""
        return any(config.name == name for config in self._configs)

    def look(self) -> None:
        """Look at every base path for versions that came or went."""
        with self._changing:
            self._look(self._configs)

    def handle(self, spec: Any) -> Handle:
        """A handle on the version that a ``ModelSpec`` means; leave its context soon.

        Raises:
            StatusError: INVALID_ARGUMENT: no name, or an unknown label. NOT_FOUND: it does not answer now.
        """
        if not spec.name:
            raise invalid_argument("ModelSpec has no name specified.")
        choice = spec.WhichOneof("version_choice")
        if choice == "version":
            return self._keeper.acquire(spec.name, spec.version.value)
        if choice == "version_label":
            return self._keeper.acquire(spec.name, self._labelled(spec.name, spec.version_label))
        return self._keeper.acquire(spec.name)

    def observe_runtime(self, name: str, api: str, seconds: float) -> None:
        """The runtime computed for so long."""
        if self._observe_runtime is not None:
            self._observe_runtime(name, api, seconds)

    def states(self, name: str, version: int | None = None) -> dict[int, VersionState]:
        """The states of one version or of all; highest first.

        Raises:
            StatusError: NOT_FOUND: there is none.
        """
        states = self._keeper.states(name)
        if version is not None:
            if version not in states:
                raise not_found(f"Could not find version {version} of model {name}")
            return {version: states[version]}
        if not states:
            raise not_found(f"Could not find any versions of model {name}")
        return dict(sorted(states.items(), reverse=True))

    def _labelled(self, name: str, label: str) -> int:
        try:
            return self._labels[name][label]
        except KeyError:
            raise invalid_argument(f"Unrecognized servable version label: {label}") from None

    def _checked_labels(self, configs: Configs) -> Mapping[str, Mapping[str, int]]:
        """The labels of the configurations, if each names a version that answers (or may come later)."""
        for config in configs:
            states = self._keeper.states(config.name)
            in_force = self._labels.get(config.name, {})
            for label, version in config.labels.items():
                state = states.get(version)
                if state is not None and state.state is State.AVAILABLE:
                    continue
                if self._labels_before_available and label not in in_force:
                    continue
                raise failed_precondition(
                    f"Request to assign label to version {version} of model {config.name},"
                    " which is not currently available for inference"
                )
        return {config.name: dict(config.labels) for config in configs}

    def _look(self, configs: Configs) -> None:
        """A base path that cannot be read keeps what its model has, and holds up no other model."""
        for config in configs:
            try:
                found = scan(config.base_path, config.name)
            except StatusError as error:
                log.error("base_path_unreadable", model=config.name, reason=error.message)
                continue
            self._keeper.set_aspired(config.name, aspired(config.policy, found, config.name))

    def _await(self, names: list[str], wait_s: float) -> None:
        def missing() -> list[str]:
            """Those that do not answer, without those that a later reload took back."""
            return [name for name in names if self.knows(name) and not _answers(self._keeper.states(name))]

        self._keeper.wait_until(
            lambda: all(_is_settled(self._keeper.states(name)) for name in missing()), wait_s
        )
        absent = missing()
        if absent:
            shown = "".join(f"{{name: {name} version: -1}}, " for name in absent)
            raise StatusError(Code.UNKNOWN, f"Some models did not become available: {{{shown}}}")


def _answers(states: Mapping[int, VersionState]) -> bool:
    return any(state.state is State.AVAILABLE for state in states.values())


def _is_settled(states: Mapping[int, VersionState]) -> bool:
    """Whether a model answers, or has tried everything it has."""
    if not states:
        return False
    return _answers(states) or all(state.state is State.END for state in states.values())
