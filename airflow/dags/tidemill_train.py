"""Feed and train: publish what has come, then run the rounds that are due."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG
from tidemill_operator import TidemillOperator, publish

with DAG(
    "tidemill_train",
    description="Publish new samples, wait until they are kept, run the rounds that are due",
    schedule=os.environ.get("TIDEMILL_TRAIN_SCHEDULE", "*/10 * * * *"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,  # what was missed is one round: all that waits goes into it
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    tags=["tidemill"],
):
    feed = TidemillOperator(
        task_id="feed",
        bash_command=publish("tidemill_train_feed", "--split train"),
        execution_timeout=timedelta(hours=2),
    )
    train = TidemillOperator(
        task_id="train",
        bash_command="tidemill-trainer --once --only rounds",
        trigger_rule="none_failed",  # samples come by other ways too
        execution_timeout=timedelta(hours=12),
    )
    feed >> train
