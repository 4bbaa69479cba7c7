"""Retry the ignored: samples of rounds that did not help, regrouped, on a slower schedule."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG
from tidemill_operator import TidemillOperator

with DAG(
    "tidemill_retry",
    description="Regroup the samples of rounds that did not help, and try them again",
    schedule=os.environ.get("TIDEMILL_RETRY_SCHEDULE", "5 */6 * * *"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    tags=["tidemill"],
):
    TidemillOperator(
        task_id="retry",
        bash_command="tidemill-trainer --once --only retries",
        execution_timeout=timedelta(hours=12),
    )
