"""Trains in processes of their own on this machine, within limits; several of them share one training."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tidemill_trainer.launchers.job_folder import FAILURE, read_weights, write_job
from tidemill_trainer.launchers.launcher import TrainingFailed, TrainingJob
from tidemill_trainer.launchers.progress import Progress
from tidemill_trainer.recipes.recipe import Recipe, Watch, Weights

LOOK_EVERY_S = 0.2
STOP_S_MAX = 5.0
LOG_CHARACTERS_MAX = 500


@dataclass(frozen=True)
class Limits:
    """What one process of a training may use.

    memory_bytes: of address space; TensorFlow alone reserves some. cpu_s: processor seconds, of all its
    threads. wall_s: from start to end.
    """

    memory_bytes: int | None = None
    cpu_s: int | None = None
    wall_s: float = 24 * 3600.0


class LocalProcess:
    """See `Launcher`. work: where job folders go while they run. workers: processes that train together."""

    def __init__(self, work: Path, limits: Limits | None = None, *, workers: int = 1) -> None:
        self._work, self._limits, self._workers = work, limits or Limits(), workers

    def train(self, recipe: Recipe, job: TrainingJob, watch: Watch) -> Weights:
        self._work.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=self._work, prefix="job-"))
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            write_job(folder, job, watch.kept())
            processes = [self._start(folder, environ) for environ in self._environments()]
            stack.callback(_end, processes)
            self._wait(folder, processes, watch)
            weights = read_weights(folder)
            if weights is None:
                raise TrainingFailed("the training's process ended well, but left no weights")
            return weights

    def _start(self, folder: Path, environ: dict[str, str]) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tidemill_trainer.launchers.job", str(folder)]
        with (folder / "log.txt").open("ab") as log:
            return subprocess.Popen(
                command,
                env=os.environ | environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_limiter(self._limits),
            )

    def _environments(self) -> list[dict[str, str]]:
        if self._workers == 1:
            return [{"TF_CONFIG": ""}]
        addresses = [f"127.0.0.1:{port}" for port in _free_ports(self._workers)]
        return [
            {
                "TF_CONFIG": json.dumps(
                    {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": i}}
                )
            }
            for i in range(self._workers)
        ]

    def _wait(self, folder: Path, processes: list[subprocess.Popen[bytes]], watch: Watch) -> None:
        """Until all have ended well; tell the watch what the folder tells.

        Raises:
            TrainingFailed: one ended otherwise, or wall_s is over.
        """
        progress, end_s = Progress(folder, watch), time.monotonic() + self._limits.wall_s
        while True:
            running = [process for process in processes if process.poll() is None]
            progress.tell()
            failed = [process for process in processes if process.returncode not in (None, 0)]
            if failed:
                raise TrainingFailed(_story(folder, failed[0].returncode, self._limits))
            if not running:
                return
            if time.monotonic() > end_s:
                raise TrainingFailed(f"the training took longer than {self._limits.wall_s:g} s")
            watch.step()
            time.sleep(LOOK_EVERY_S)


def _limiter(limits: Limits) -> Callable[[], None]:
    def limit() -> None:
        if limits.memory_bytes is not None:
            resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
        if limits.cpu_s is not None:
            resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_s, limits.cpu_s))

    return limit


def _story(folder: Path, code: int, limits: Limits) -> str:
    if code in (-signal.SIGXCPU, -signal.SIGKILL) and limits.cpu_s is not None:
        name = signal.Signals(-code).name
        return f"the training was ended by {name}: it may use {limits.cpu_s} processor seconds"
    failure = folder / FAILURE
    log = (folder / "log.txt").read_text(errors="replace")[-LOG_CHARACTERS_MAX:].strip()
    said = failure.read_text(errors="replace") if failure.exists() else log
    ended = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return f"the training's process ended with {ended}: {said}"


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        if process.poll() is None:
            process.terminate()
    end_s = time.monotonic() + STOP_S_MAX
    for process in processes:
        try:
            process.wait(max(0.0, end_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
