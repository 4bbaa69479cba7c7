"""Runs a command of Tidemill's as a task: the only thing that the three DAGs know of it."""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import Variable

SETTINGS = (
    "TIDEMILL_BUS",
    "TIDEMILL_DATABASE",
    "TIDEMILL_GATEWAY",
    "TIDEMILL_INGEST",
    "TIDEMILL_INGEST_KEY",
    "TIDEMILL_MODELS",
    "TIDEMILL_STORE",
    "TIDEMILL_TRAINER_LAUNCHER",
    "TIDEMILL_TRAINER_WORK",
)
"""Each is the Airflow Variable of the same name in small letters; without one, the worker's own."""


class TidemillOperator(BashOperator):
    """A shell command with Tidemill's settings; stopping the task sends it SIGTERM, and it ends in order.

    Exit code 99 means that there was nothing to do: the task is skipped.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(append_env=True, **kwargs)

    def execute(self, context: Any) -> Any:
        told = {name: Variable.get(name.lower(), default=None) for name in SETTINGS}
        # Any free port: trainers of several DAGs may share a worker, and nobody asks these for their health.
        self.env = {"TIDEMILL_TRAINER_HEALTH": "127.0.0.1:0"} | {
            name: value for name, value in told.items() if value
        }
        return super().execute(context)


def publish(feed: str, *options: str) -> str:
    """A command that publishes what the Variable `feed` says, such as `digits --folder /data/digits`."""
    told = f"var.value.get('{feed}', '')"
    command = f"{{{{ {told} }}}} {' '.join(options)}"
    return f"{{% if {told} %}}tidemill publish {command} --wait-kept{{% else %}}exit 99{{% endif %}}"
