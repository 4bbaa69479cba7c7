"""Makes a servable of a version's folder, as the flags want it: which kind, batched or not, warmed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tidemill_serving.engine import tflite_model
from tidemill_serving.engine.batching import BatchingServable
from tidemill_serving.engine.flags import Flags
from tidemill_serving.engine.keeper import Loader
from tidemill_serving.engine.saved_model import SavedModel, session_config
from tidemill_serving.engine.servable import Servable
from tidemill_serving.engine.server_files import BatchingParameters, read_batching
from tidemill_serving.engine.status import invalid_argument
from tidemill_serving.engine.warmup import warm_up


def loader(flags: Flags) -> Loader:
    """Makes the servable of a version's folder, as the flags want it."""
    tags = tuple(flags.saved_model_tags.split(","))
    config = session_config(flags.tensorflow_intra_op_parallelism)
    batching = batching_parameters(flags)

    def load(name: str, version: int, path: Path) -> Servable:
        servable: Servable
        if flags.prefer_tflite_model and (path / tflite_model.FILE).is_file():
            servable = tflite_model.TfliteModel(path)
        else:
            servable = SavedModel(path, tags, config)
        if batching is not None:
            servable = BatchingServable(servable, batching)
        if flags.enable_model_warmup:
            try:
                warm_up(servable, name, version, path)
            except BaseException:
                servable.close()
                raise
        return servable

    return load


def counted(load: Loader, observe: Callable[[bool], None]) -> Loader:
    """The same loader; whether each load succeeded is observed."""

    def load_counted(name: str, version: int, path: Path) -> Servable:
        try:
            servable = load(name, version, path)
        except BaseException:
            observe(False)
            raise
        observe(True)
        return servable

    return load_counted


def batching_parameters(flags: Flags) -> BatchingParameters | None:
    """How requests share runs; None if they do not.

    Raises:
        StatusError: the flags contradict each other, or the file is wrong.
    """
    if flags.enable_batching:
        return read_batching(flags.batching_parameters_file, cores=os.cpu_count() or 1)
    if flags.batching_parameters_file:
        raise invalid_argument(
            "server_options.batching_parameters_file is set without setting"
            " server_options.enable_batching to true."
        )
    return None
