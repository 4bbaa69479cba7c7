"""A prepared callable in a loop, no server, none of our code: PATH ROWS THREADS INTRA_OP SECONDS."""

from __future__ import annotations

import sys
import threading
import time

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2


def main(path: str, rows: int, threads: int, intra_op: int, span_s: float) -> None:
    config = config_pb2.ConfigProto(intra_op_parallelism_threads=intra_op, inter_op_parallelism_threads=1)
    session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
    with session.graph.as_default():
        loaded = tf.compat.v1.saved_model.loader.load(session, ["serve"], path)
    signature = loaded.signature_def["serving_default"]
    options = config_pb2.CallableOptions()
    options.feed.append(signature.inputs["x"].name)
    options.fetch.append(signature.outputs["probabilities"].name)
    options.run_options.inter_op_thread_pool = -1
    call = session._make_callable_from_options(options)
    array = np.random.default_rng(7).random((rows, 28, 28, 1), dtype=np.float32)
    counts = [0] * threads
    stop = threading.Event()

    def loop(number: int) -> None:
        while not stop.is_set():
            call(array)
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
