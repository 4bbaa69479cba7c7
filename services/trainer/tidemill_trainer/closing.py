"""Closes a round: its result and the fate of its samples, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tidemill_chassis.logs import get_logger
from tidemill_registry.records import RoundRecord, RoundStatus, VersionRecord
from tidemill_registry.round_rows import change_round
from tidemill_registry.uses import rank_samples, settle_samples
from tidemill_registry.version_rows import add_version

from tidemill_trainer.training_state import forget_states
from tidemill_trainer.workbench import Workbench

log = get_logger(__name__)


def close_round(
    bench: Workbench,
    round_: RoundRecord,
    status: RoundStatus,
    *,
    version: VersionRecord | None = None,
    losses: Mapping[str, float] | None = None,
    **values: Any,
) -> RoundRecord:
    """The round, closed. Again the same: nothing is counted twice, for its samples are settled once.

    version: what was published, when the round was promoted.
    losses: the champion's on the samples, by id, when the round was not.
    values: further columns of the round.

    Raises:
        Conflict: another trainer took over.
        Unavailable: the database did not answer for long.
    """

    def write() -> RoundRecord:
        with bench.lease.write() as sql:
            if version is not None:
                add_version(sql, version)
            attempts_max = bench.spec.retry.attempts_max
            settle_samples(sql, round_, promoted=status == "promoted", attempts_max=attempts_max)
            rank_samples(sql, round_, bench.spec.dataset, losses or {})
            ended = {"status": status, "phase": "closed", "closed_at": bench.clock()}
            return change_round(sql, round_.id, **ended, **values)

    closed = bench.outlast(write)
    forget_states(bench.work, round_.id)
    log.info(
        "round_closed",
        round_id=closed.id,
        status=status,
        reason=closed.reason,
        version=closed.challenger_version,
        challenger_accuracy=closed.challenger_accuracy,
        champion_accuracy=closed.champion_accuracy,
        seconds=closed.seconds,
        cpu_seconds=closed.cpu_seconds,
    )
    return closed
