"""Decides what the server should have of a model. No clock, no network."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from tidemill_contracts.manifest import Labels

from tidemill_serving.engine.states import State
from tidemill_serving.model_server import ServerState


def labelled_versions(labels: Labels) -> list[int]:
    """The versions that bear a label, most needed first."""
    ordered = [labels.stable, labels.candidate, labels.previous]
    return list(dict.fromkeys(version for version in ordered if version is not None))


def server_labels(labels: Labels, last_good: int | None, available: Collection[int]) -> dict[str, int]:
    """Labels on versions that answer; the last good one stands in for a stable one that does not."""
    wanted = {
        name: version
        for name, version in (("candidate", labels.candidate), ("previous", labels.previous))
        if version is not None and version in available
    }
    for version in (labels.stable, last_good, labels.previous):
        if version is not None and version in available:
            wanted["stable"] = version
            break
    return wanted


def available(states: Mapping[int, ServerState]) -> set[int]:
    """The versions that answer."""
    return {version for version, known in states.items() if known.state is State.AVAILABLE}


def failed(states: Mapping[int, ServerState], version: int) -> str | None:
    """Why the server gave the version up; None if it did not."""
    known = states.get(version)
    return known.error if known is not None and known.state is State.END and known.error else None


def forgotten(states: Mapping[int, ServerState], declared: Collection[int]) -> bool:
    """Whether the server does not know a version that it was told to serve: it was restarted."""
    return any(
        version not in states or (states[version].state is State.END and not states[version].error)
        for version in declared
    )


def removable(
    on_disk: Collection[int],
    needed: Collection[int],
    states: Mapping[int, ServerState],
    *,
    keep_versions: int,
) -> set[int]:
    """The versions whose files may go: not needed, not among the newest kept, and not loaded any more."""
    kept = set(sorted(on_disk, reverse=True)[:keep_versions])
    idle = {version for version in on_disk if version not in states or states[version].state is State.END}
    return (idle - kept) - set(needed)
