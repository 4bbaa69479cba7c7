"""Trains as a job of a cluster, through a folder that the trainer and the job both see."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from tidemill_contracts.errors import Unavailable

from tidemill_trainer.launchers.clusters import ApiCall, Cluster
from tidemill_trainer.launchers.job_folder import FAILURE, read_weights, write_job
from tidemill_trainer.launchers.launcher import TrainingFailed, TrainingJob
from tidemill_trainer.launchers.progress import Progress
from tidemill_trainer.recipes.recipe import Recipe, Watch, Weights

LOOK_EVERY_S = 5.0
SILENCE_S_MAX = 600.0
"""So long the API may not answer before the training is given up."""

Send = Callable[[ApiCall], Mapping[str, Any]]


class ClusterLauncher:
    """See `Launcher`. work: a folder shared with the jobs. send: asks the API, or raises Unavailable."""

    def __init__(
        self, cluster: Cluster, send: Send, work: Path, *, look_every_s: float = LOOK_EVERY_S
    ) -> None:
        self._cluster, self._send, self._work, self._every_s = cluster, send, work, look_every_s

    def train(self, recipe: Recipe, job: TrainingJob, watch: Watch) -> Weights:
        self._work.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=self._work, prefix="job-"))
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            write_job(folder, job, watch.kept())
            name = f"{job.spec.name[:30]}-{folder.name[4:].lower().replace('_', '0')}"
            created = self._send(self._cluster.create(name, folder))
            stack.callback(self._remove, created)
            self._wait(folder, created, watch)
            weights = read_weights(folder)
        if weights is None:
            raise TrainingFailed(f"job {name} ended well, but left no weights in {folder}")
        return weights

    def _wait(self, folder: Path, created: Mapping[str, Any], watch: Watch) -> None:
        progress, heard_s = Progress(folder, watch), time.monotonic()
        while True:
            try:
                state, why = self._cluster.state(self._send(self._cluster.look(created)))
                heard_s = time.monotonic()
            except Unavailable as error:
                if time.monotonic() - heard_s > SILENCE_S_MAX:
                    raise TrainingFailed(f"the cluster has not answered for {SILENCE_S_MAX:g} s") from error
                state, why = "waiting", str(error)
            progress.tell()
            if state == "done":
                return
            if state == "failed":
                failure = folder / FAILURE
                said = failure.read_text(errors="replace") if failure.exists() else why
                raise TrainingFailed(f"the training's job failed: {said}")
            watch.step()
            time.sleep(self._every_s)

    def _remove(self, created: Mapping[str, Any]) -> None:
        with suppress(Unavailable):  # it ends by its own deadline then
            self._send(self._cluster.remove(created))
