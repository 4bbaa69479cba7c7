"""Test: publish test samples, which never train, and measure the champion on all of them."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG
from tidemill_operator import TidemillOperator, publish

with DAG(
    "tidemill_test",
    description="Publish test samples, measure the champion and the drift on all of them",
    schedule=os.environ.get("TIDEMILL_TEST_SCHEDULE", "35 * * * *"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    tags=["tidemill"],
):
    feed = TidemillOperator(
        task_id="feed",
        bash_command=publish("tidemill_test_feed", "--split test"),
        execution_timeout=timedelta(hours=2),
    )
    test = TidemillOperator(
        task_id="test",
        bash_command="tidemill-trainer --once --only tests",
        trigger_rule="none_failed",  # test samples come by other ways too
        execution_timeout=timedelta(hours=2),
    )
    feed >> test
