"""A server that others wrote, and the shape in which it wants to be asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
Rows = list[Any]


@dataclass(frozen=True)
class Dialect:
    """How rows become the JSON of a request, and the JSON of an answer becomes rows again."""

    body: Callable[[Rows], Any]
    rows: Callable[[Any], Rows]


@dataclass(frozen=True)
class Peer:
    """One of the others.

    package: what is installed to have it; its name is the peer's.
    server: the script that serves the model in an environment where the package is: ``SCRIPT MODELS PORT``.
    path: where it wants to be asked.
    python: the interpreter of its environment, if that matters and is there.
    deadline: the JSON and the headers of a request that has so many seconds; None where nobody can say so.
    """

    package: str
    server: Path
    path: str
    dialect: Dialect
    further: tuple[str, ...] = ("tensorflow-cpu",)
    python: Path | None = None
    deadline: Callable[[Any, float], tuple[Any, dict[str, str]]] | None = None

    def url(self, port: int) -> str:
        """Where it is asked when it listens on a port of loopback."""
        return f"http://127.0.0.1:{port}{self.path}"


def _open_inference_body(rows: Rows) -> Any:
    """The Open Inference Protocol in JSON, with the shape that the rows have."""
    shape = [len(rows), len(rows[0]), len(rows[0][0]), 1]
    tensor = {"name": "image", "shape": shape, "datatype": "FP32", "data": _flat(rows)}
    return {"inputs": [tensor]}


def _open_inference_rows(answer: Any) -> Rows:
    (output,) = answer["outputs"]
    data = _flat(output["data"])
    classes = output["shape"][-1]
    return [data[start : start + classes] for start in range(0, len(data), classes)]


def _flat(nested: Any) -> list[float]:
    return [value for part in nested for value in _flat(part)] if isinstance(nested, list) else [nested]


INSTANCES = Dialect(lambda rows: {"instances": rows}, lambda answer: list(answer["predictions"]))
OPEN_INFERENCE = Dialect(_open_inference_body, _open_inference_rows)
"""Instances as TensorFlow Serving has them, and the Open Inference Protocol."""
BARE_ANSWER = Dialect(lambda rows: {"instances": rows}, lambda answer: list(answer))


def _triton_timeout(body: Any, seconds: float) -> tuple[Any, dict[str, str]]:
    return {**body, "parameters": {"timeout": int(seconds * 1e6)}}, {}


def _our_timeout(body: Any, seconds: float) -> tuple[Any, dict[str, str]]:
    return body, {"X-Request-Timeout": f"{seconds:g}"}


OURS = Peer("tidemill", HERE, "/v1/models/digits:predict", INSTANCES, deadline=_our_timeout)
"""We, in the same words; started by tests.bench.gateway.ours."""

PEERS = (
    Peer(
        "nvidia-pytriton",
        HERE / "pytriton_server.py",
        "/v2/models/digits/infer",
        OPEN_INFERENCE,
        # Its model process loads the system's libpython: another 3.11 brings a library that does not fit it.
        python=Path("/usr/bin/python3.11"),
        deadline=_triton_timeout,
    ),
    Peer("mlserver", HERE / "mlserver_server.py", "/v2/models/digits/infer", OPEN_INFERENCE),
    Peer("bentoml", HERE / "bentoml_server.py", "/predict", BARE_ANSWER),
    Peer("kserve", HERE / "kserve_server.py", "/v1/models/digits:predict", INSTANCES),
    Peer("litserve", HERE / "litserve_server.py", "/predict", INSTANCES),
)
