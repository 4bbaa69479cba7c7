"""The prepared callable in a loop, without a server: PATH ROWS THREADS INTRA_OP_THREADS SECONDS."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import numpy as np
from tidemill_serving.engine.saved_model import SERVE, SavedModel, session_config


def main(path: str, rows: int, threads: int, intra_op: int, span_s: float) -> None:
    model = SavedModel(Path(path), SERVE, session_config(intra_op))
    array = np.random.default_rng(7).random((rows, 28, 28, 1), dtype=np.float32)
    counts = [0] * threads
    stop = threading.Event()

    def loop(number: int) -> None:
        while not stop.is_set():
            model.run("serving_default", {"x": array}, ["probabilities"])
            counts[number] += 1

    workers = [threading.Thread(target=loop, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    stop.wait(0.5)
    cpu_s, before, started_s = time.process_time(), sum(counts), time.perf_counter()
    stop.wait(span_s)
    cpu, done, took_s = time.process_time() - cpu_s, sum(counts) - before, time.perf_counter() - started_s
    stop.set()
    for worker in workers:
        worker.join()
    sys.stdout.write(f"{done / took_s} {cpu / done * 1e3}\n")


if __name__ == "__main__":
    first, second, third = map(int, sys.argv[2:5])
    main(sys.argv[1], first, second, third, float(sys.argv[5]))
