"""One of the others, started for a measurement and ended with all its children."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

from tests.bench.gateway.load import family
from tests.bench.gateway.ours import Running
from tests.bench.peers.environments import NotUsable, last_line, python_of
from tests.bench.peers.peer import Peer
from tests.emulators.machine import free_port

START_S_MAX = 180.0
STOP_S_MAX = 20.0
POLL_S = 0.2
ANSWER_S_MAX = 30.0
TOLERANCE = 1e-5


@contextmanager
def run_peer(peer: Peer, models: Path) -> Iterator[Running]:
    """The peer with the model of a folder, once it answers right.

    Raises:
        NotUsable: it does not install, start, or answer what the model itself answers.
    """
    port = free_port()
    told = models / f"{peer.package}.log"
    python = python_of(peer)
    with told.open("wb") as log:
        process = subprocess.Popen(
            [str(python), str(peer.server), str(models), str(port)],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=models,
            env={
                **os.environ,
                "PATH": f"{python.parent}:{os.environ['PATH']}",
                "TF_CPP_MIN_LOG_LEVEL": "2",
                "BENTOML_DO_NOT_TRACK": "True",
            },
        )
    try:
        running = Running(peer.url(port), [process.pid])
        _wait_until_right(peer, running, models, process, told)
        yield running
    finally:
        _end(process)


def write_bodies(peer: Peer, models: Path) -> Path:
    """The bodies of a folder in the words of the peer: a folder with files of the same names."""
    folder = models / peer.package
    folder.mkdir(exist_ok=True)
    for file in models.glob("body-*.json"):
        rows = json.loads(file.read_text())["instances"]
        (folder / file.name).write_text(json.dumps(peer.dialect.body(rows), separators=(",", ":")))
    return folder


def is_right(peer: Peer, answer: Any, models: Path, rows: int) -> bool:
    """Whether an answer is the model's own."""
    right = np.array(json.loads((models / f"right-{rows}.json").read_text()))
    found = np.array(peer.dialect.rows(answer))
    return found.shape == right.shape and float(np.abs(found - right).max()) < TOLERANCE


def _wait_until_right(
    peer: Peer, running: Running, models: Path, process: subprocess.Popen[bytes], told: Path
) -> None:
    bodies = write_bodies(peer, models)
    end_s = time.monotonic() + START_S_MAX
    said = "it does not listen"
    with httpx.Client(timeout=ANSWER_S_MAX) as client:
        for rows in (1, 32):
            while True:
                if process.poll() is not None:
                    raise NotUsable(f"it ended by itself: {last_line(told.read_text(errors='replace'))}")
                if time.monotonic() > end_s:
                    raise NotUsable(f"no right answer after {START_S_MAX:.0f} s: {said}")
                try:
                    body = (bodies / f"body-{rows}.json").read_bytes()
                    headers = {"Content-Type": "application/json"}
                    answer = client.post(running.url, content=body, headers=headers)
                    if answer.status_code == 200 and is_right(peer, answer.json(), models, rows):
                        break
                    said = f"{answer.status_code} {answer.text[:200]}"
                except httpx.HTTPError as error:
                    said = repr(error)
                time.sleep(POLL_S)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and whatever it started."""
    started = family([process.pid])
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for child in started:
        if child.is_running():
            child.kill()
    psutil.wait_procs(started, STOP_S_MAX)
