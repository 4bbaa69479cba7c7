"""Runs a SavedModel through prepared calls on a session over its meta graph.

What a call feeds and fetches is looked up once; after that it is one call into TensorFlow, without the Python
of `Session.run`, graph pruning or a TensorFlow 2 signature's function machinery, and without the global
lock. For a model that only multiplies it costs 6 microseconds of CPU; `Session._make_callable_from_options`
costs 5 (with four callers 19, against 9) but takes no time limit per call: docs/adr/0023.

Without a deadline operations run in the calling thread (`inter_op_thread_pool = -1`): the cheapest way. With
one they run in the session's own pool, which costs up to a tenth more and lets TensorFlow stop at the next
operation: unless the run is known to end long before (`run_times`). The intra-op pool spreads one operation's
work over the cores.
"""

from __future__ import annotations

import gc
import math
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2
from tensorflow.python.client import pywrap_tf_session
from tensorflow.python.saved_model import loader_impl

from tidemill_serving.engine.deadlines import left_s
from tidemill_serving.engine.run_times import RunTimes, is_straight, takes_rows
from tidemill_serving.engine.servable import Array, Arrays
from tidemill_serving.engine.status import from_exception, invalid_argument, not_found

SERVE = ("serve",)
CALLS_MAX = 64
"""Prepared calls per model; beyond that, clients who ask for yet other sets of outputs get all."""

IN_CALLING_THREAD, IN_POOL = -1, 0
TIMEOUT_MS_MAX = 2**31 - 1
TIMEOUTS_KNOWN_MAX = 1024
"""Time limits whose options are kept ready: callers who have the same patience leave nearly the same time."""


def session_config(intra_op_threads: int = 0) -> config_pb2.ConfigProto:
    """The configuration of every session. intra_op_threads: threads within an operation; 0: one per core.

    That pool belongs to the process: the first session decides its size. The pool for runs with a deadline is
    each session's own, so that one model's long operations leave the others' alone.

    Threads of both pools sleep as soon as they have nothing to do. TensorFlow has them look for work for a
    while first, on cores that others want: a row then cost 1.10 ms of CPU against 0.84, 8 rows 1.67 against
    1.41, 32 rows 4.1 against 3.9 (docs/adr/0059).
    """
    return config_pb2.ConfigProto(
        experimental=config_pb2.ConfigProto.Experimental(disable_thread_spinning=True),
        intra_op_parallelism_threads=intra_op_threads,
        inter_op_parallelism_threads=max(2, os.cpu_count() or 1),
        use_per_session_threads=True,
    )


@dataclass(frozen=True)
class _Call:
    """What one set of outputs needs: feeds by alias, fetches by alias, as TensorFlow's own handles."""

    feeds: Mapping[str, Any]
    outputs: tuple[str, ...]
    fetches: Sequence[Any]
    times: RunTimes


class SavedModel:
    """A loaded SavedModel of TensorFlow 1 or 2."""

    def __init__(self, path: Path, tags: Sequence[str] = SERVE, config: config_pb2.ConfigProto | None = None):
        """Load it: graph, variables, assets, initialisers.

        Raises:
            StatusError: NOT_FOUND: no SavedModel there, or none with these tags.
            Exception: whatever TensorFlow raises for a model that it cannot load.
        """
        if not loader_impl.contains_saved_model(str(path)):
            raise not_found(
                f"Could not find SavedModel .pb or .pbtxt at supplied export directory path: {path}"
            )
        loader = loader_impl.SavedModelLoader(str(path))
        try:
            loader.get_meta_graph_def_from_tags(list(tags))
        except RuntimeError as error:
            shown = " ".join(tags)
            raise not_found(f"Could not find meta graph def matching supplied tags: {{ {shown} }}") from error
        self._graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=self._graph, config=config or session_config())
        try:
            with self._graph.as_default():
                meta_graph: meta_graph_pb2.MetaGraphDef = loader.load(self._session, list(tags))
        except BaseException:
            self._session.close()
            raise
        self._signatures = {
            name: each for name, each in meta_graph.signature_def.items() if _is_callable(name)
        }
        self._straight = is_straight(meta_graph.graph_def)
        self._session._extend_graph()  # the graph is final: no call needs to look for new operations
        self._calls: dict[tuple[str, tuple[str, ...]], _Call] = {}
        self._preparing = threading.Lock()

    @property
    def signatures(self) -> Mapping[str, meta_graph_pb2.SignatureDef]:
        return self._signatures

    def run(
        self, signature_name: str, inputs: Arrays, outputs: Sequence[str], *, deadline_s: float | None = None
    ) -> list[Array]:
        """Outputs by alias, computed in one prepared call per set of outputs; see `Servable.run`.

        At the deadline TensorFlow begins no further operation; the one that runs then still ends. A run that
        is known to end long before it is not watched.
        """
        wanted = tuple(sorted(set(outputs)))
        call = self._calls.get((signature_name, wanted)) or self._prepare(signature_name, wanted)
        feeds = {feed: inputs[alias] for alias, feed in call.feeds.items()}
        seconds = left_s(deadline_s)
        if call.times.straight and seconds is not None and call.times.is_far(inputs, seconds):
            seconds = None
        options = _run_options(seconds)
        started_s = perf_counter()
        try:
            results = self._session._call_tf_sessionrun(options, feeds, call.fetches, [], None)
        except Exception as error:
            raise from_exception(error) from error
        finally:
            pywrap_tf_session.TF_DeleteBuffer(options)
        if call.times.straight:
            call.times.took(inputs, perf_counter() - started_s)
        by_alias = dict(zip(call.outputs, results, strict=True))
        return [_array(by_alias[alias]) for alias in outputs]

    def _prepare(self, signature_name: str, wanted: tuple[str, ...]) -> _Call:
        signature = self._signatures[signature_name]
        with self._preparing:
            if len(self._calls) >= CALLS_MAX:
                wanted = tuple(sorted(signature.outputs))
            key = (signature_name, wanted)
            if key not in self._calls:
                feeds = {alias: self._tensor(info.name) for alias, info in sorted(signature.inputs.items())}
                fetches = [self._tensor(signature.outputs[alias].name) for alias in wanted]
                straight = self._straight and takes_rows(signature.inputs.values())
                self._calls[key] = _Call(feeds, wanted, fetches, RunTimes(straight=straight))
            return self._calls[key]

    def _tensor(self, name: str) -> Any:
        try:
            return self._graph.get_tensor_by_name(name)._as_tf_output()
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise invalid_argument(f"the signature names a tensor that the graph lacks: {name}") from error

    def close(self) -> None:
        """Free variables and graph. The calls go first: they point into the graph."""
        self._calls.clear()
        self._session.close()
        self._session = None
        self._graph = None
        gc.collect()


def _run_options(seconds: float | None) -> Any:
    """A buffer of RunOptions, to be deleted after the run."""
    options = _UNTIMED if seconds is None else _timed(math.ceil(min(seconds * 1e3, TIMEOUT_MS_MAX)))
    return pywrap_tf_session.TF_NewBufferFromString(options)


@lru_cache(maxsize=TIMEOUTS_KNOWN_MAX)
def _timed(timeout_ms: int) -> bytes:
    options = config_pb2.RunOptions(timeout_in_ms=max(1, timeout_ms), inter_op_thread_pool=IN_POOL)
    text: bytes = options.SerializeToString()
    return text


_UNTIMED = config_pb2.RunOptions(inter_op_thread_pool=IN_CALLING_THREAD).SerializeToString()


def _array(result: Any) -> Array:
    """A scalar string comes as bytes, whose trailing zeros NumPy's own string type would drop."""
    return np.array(result, object) if isinstance(result, bytes) else np.asarray(result)


def _is_callable(signature_name: str) -> bool:
    """Whether a client may name it; initialisers stand among the signatures of TensorFlow 2."""
    return signature_name not in {"__saved_model_init_op", "__saved_model_train_op"}
