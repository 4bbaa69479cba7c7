"""Which version answers: pure choices over what serving and the store said last."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

from tidemill_contracts.errors import Malformed, NotFound, Unavailable
from tidemill_contracts.manifest import Labels
from tidemill_contracts.rollout import OFF, Rollout

from tidemill_gateway.plane.rollout import sticky_point
from tidemill_gateway.wire import model_pb2 as pb

AVAILABLE = pb.ModelVersionStatus.AVAILABLE
END = pb.ModelVersionStatus.END
LOADING_RETRY_S = 1.0


@dataclass(frozen=True)
class Target:
    """Whom a client asks: a model, and perhaps a version or a label of it, never both.

    sticky: what callers share who should meet the same version while traffic is split; empty for chance.
    """

    model: str
    version: int | None = None
    label: str | None = None
    sticky: str = ""


@dataclass(frozen=True)
class Resolved:
    """Who answers. label: the one that led here, or one that the version bears; empty for none."""

    model: str
    version: int
    label: str


@dataclass(frozen=True)
class VersionState:
    """What serving says of one version. state: a ModelVersionStatus.State; error_code: 0 is OK."""

    state: int
    error_code: int = 0
    error_message: str = ""


@dataclass(frozen=True)
class ModelView:
    """One model as it was seen last.

    states: by version, as serving said; empty where serving does not know the model.
    in_store: whether the store holds something of it.
    stable: the version that answers for `stable`; None while none can.
    """

    name: str
    states: Mapping[int, VersionState] = field(default_factory=lambda: MappingProxyType({}))
    labels: Labels = field(default_factory=Labels)
    in_store: bool = False
    stable: int | None = None
    rollout: Rollout = OFF

    @cached_property
    def available(self) -> frozenset[int]:
        """The versions that can answer now."""
        return frozenset(version for version, seen in self.states.items() if seen.state == AVAILABLE)

    def labels_of(self, version: int) -> tuple[str, ...]:
        """The labels that a version bears."""
        named = self.labels.model_dump(exclude_none=True)
        found = tuple(label for label, holder in named.items() if holder == version)
        return ("stable", *found) if version == self.stable and "stable" not in found else found


def choose_stable(labels: Labels, available: frozenset[int], last: int | None) -> int | None:
    """The version that answers for `stable`: the labelled one; else the last good one; else the highest.

    A label that points at what is not loaded never takes a working model away. A candidate, which nobody let
    through yet, stands in only where there is nothing else.
    """
    if labels.stable in available:
        return labels.stable
    if last in available:
        return last
    return max(available - {labels.candidate}, default=max(available, default=None))


def resolve(view: ModelView | None, target: Target, draw: Callable[[], float] = random.random) -> Resolved:
    """The version that answers a target. draw: a point in [0, 1) for callers who do not stick.

    Raises:
        NotFound: there is no such model or version.
        Malformed: there is no such label.
        Unavailable: it exists and is not loaded yet; try again.
    """
    if view is None or not (view.states or view.in_store):
        version = "" if target.version is None else f", {target.version}"
        kind = "Latest" if target.version is None else "Specific"
        raise NotFound(f"Servable not found for request: {kind}({target.model}{version})")
    if target.version is not None:
        return _resolve_version(view, target.version)
    label = target.label or "stable"
    candidate = view.labels.candidate
    if target.label is None and view.rollout.candidate_percent > 0 and candidate in view.available:
        point = sticky_point(view.name, target.sticky) if target.sticky else draw() * 100
        if point < view.rollout.candidate_percent and candidate is not None:
            return Resolved(view.name, candidate, "candidate")
    if label == "stable":
        if view.stable is None:
            raise _loading(f"no version of {view.name} is loaded yet")
        return Resolved(view.name, view.stable, "stable")
    labelled: int | None = getattr(view.labels, label, None) if label in Labels.model_fields else None
    if labelled is None:
        raise Malformed(f"Unrecognized servable version label: {label}")
    if labelled not in view.available:
        raise _loading(f"version {labelled} of {view.name}, labelled {label}, is not loaded")
    return Resolved(view.name, labelled, label)


def _resolve_version(view: ModelView, version: int) -> Resolved:
    seen = view.states.get(version)
    if seen is None or seen.state == END:
        raise NotFound(f"Servable not found for request: Specific({view.name}, {version})")
    if seen.state != AVAILABLE:
        raise _loading(f"version {version} of {view.name} is {pb.ModelVersionStatus.State.Name(seen.state)}")
    labels = view.labels_of(version)
    return Resolved(view.name, version, labels[0] if labels else "")


def _loading(message: str) -> Unavailable:
    return Unavailable(f"{message}: try again in a moment", retry_after_s=LOADING_RETRY_S)
