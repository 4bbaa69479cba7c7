"""What a round does to its samples: claims them at the start, settles them at the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, bindparam, case, select, update

from tidemill_registry.records import RoundRecord
from tidemill_registry.statements import in_chunks, insert_or_ignore
from tidemill_registry.tables import round_samples, sample_uses


def claim_samples(sql: Connection, round_: RoundRecord, dataset: str, ids: Iterable[str]) -> None:
    """The samples belong to the round from now on, whether they are new or come back for a retry."""
    for chunk in in_chunks(ids):
        claimed = {"state": "open", "round_id": round_.id}
        sql.execute(
            update(sample_uses)
            .where(
                sample_uses.c.model == round_.model,
                sample_uses.c.dataset == dataset,
                sample_uses.c.sample_id.in_(chunk),
            )
            .values(claimed)
        )
        key = {"model": round_.model, "dataset": dataset, "attempts": 0}
        insert_or_ignore(sql, sample_uses, [{**key, **claimed, "sample_id": each} for each in chunk])


def settle_samples(sql: Connection, round_: RoundRecord, *, promoted: bool, attempts_max: int) -> None:
    """End the round's claim.

    Promoted: all are used. Otherwise the training samples are ignored, and exhausted once they were retried
    `attempts_max` times; validation samples are used either way, for they validate for ever.
    """
    mine = (
        sample_uses.c.model == round_.model,
        sample_uses.c.round_id == round_.id,
        sample_uses.c.state == "open",
    )
    if not promoted:
        trained = select(round_samples.c.sample_id).where(
            round_samples.c.round_id == round_.id, round_samples.c.part == "train"
        )
        attempts = sample_uses.c.attempts + (1 if round_.kind == "retry" else 0)
        state = case((attempts >= attempts_max, "exhausted"), else_="ignored")
        unhelpful = update(sample_uses).where(*mine, sample_uses.c.sample_id.in_(trained))
        sql.execute(unhelpful.values(state=state, attempts=attempts))
        sql.execute(update(sample_uses).where(*mine).values(state="used"))
        return
    # A round that a person forced through after its end has its samples among the ignored.
    helped = (sample_uses.c.model == round_.model, sample_uses.c.round_id == round_.id)
    sql.execute(update(sample_uses).where(*helped).values(state="used"))


def rank_samples(sql: Connection, round_: RoundRecord, dataset: str, losses: Mapping[str, float]) -> None:
    """Note how much trouble the champion had with each ignored sample of the round."""
    if not losses:
        return
    # With the dataset it is the whole key: without it every sample was looked for among all of the model's.
    key = (sample_uses.c.model == round_.model, sample_uses.c.dataset == dataset)
    mine = (*key, sample_uses.c.round_id == round_.id)
    statement = update(sample_uses).where(*mine, sample_uses.c.sample_id == bindparam("which"))
    rows = [{"which": each, "measured": loss} for each, loss in losses.items()]
    sql.execute(statement.values(loss=bindparam("measured")), rows)
