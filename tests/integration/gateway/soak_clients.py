"""Callers of all kinds for the soak. Each checks what it gets and says what was wrong with it."""

from __future__ import annotations

import http.client
import json
import math
import random
import socket
import time
from collections import Counter
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import grpc
import numpy as np
from tidemill_gateway.wire import methods, predict_pb2, tensor_pb2

from tests.emulators.gateway_process import GatewayProcess, image

PATH = "/v1/models/digits:predict"
PATIENCE_S = 20.0
"""Nobody waits longer: an answer that takes it is a lost request."""
DRIP_S = 0.05
FEW = 50
"""Requests of one row come again and again, so that the cache has something to answer."""
ROW_START, ROW_END = json.dumps(image(0.5)).split("0.5")
REASONS = {400, 408, 413, 429, 503}
"""What a rejection may be here; 504 only for who set a deadline of its own."""
GRPC_REASONS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}


@dataclass
class Seen:
    """What all callers saw. took_s: of every request that an honest caller of HTTP got answered."""

    done: Event = field(default_factory=Event)
    statuses: Counter[str] = field(default_factory=Counter)
    versions: set[int] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    took_s: list[float] = field(default_factory=list)

    def p99_s(self) -> float:
        return sorted(self.took_s)[math.ceil(len(self.took_s) * 0.99) - 1]


def honest(seen: Seen, gateway: GatewayProcess, *, seed: int, key: str, poison: float) -> None:
    """One connection that stays: rows of many counts, some bad ones, some with little time."""
    chance = random.Random(seed)
    connection = gateway.connect()
    while not seen.done.is_set():
        count = chance.choice([1, 1, 1, 1, 4, 20, 150])
        values = [float(chance.randrange(1, 10_000 if count > 1 else FEW)) for _ in range(count)]
        rows = [row(value) for value in values]
        bad = chance.choice(["", "", "", "", "", "", "", "poison", "shape", "text"])
        if bad:
            rows[-1] = {"poison": row(poison), "shape": "[[1.0]]", "text": '"seven"'}[bad]
        hurried = chance.random() < 0.05
        headers = {"X-API-Key": key, "X-Tidemill-Sticky": str(seed)}
        if hurried:
            headers["X-Request-Timeout"] = "0.002"
        started_s = time.monotonic()
        try:
            connection.request("POST", PATH, f'{{"instances": [{", ".join(rows)}]}}'.encode(), headers)
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            seen.wrong.append(f"a request was lost: {error!r}")
            connection.close()
            continue
        seen.took_s.append(time.monotonic() - started_s)
        seen.statuses[f"http {response.status}"] += 1
        fault = _fault(response, json.loads(body), values, bad=bad, hurried=hurried)
        if fault:
            seen.wrong.append(f"{fault}: {response.status} {body[:200]!r}")
        elif response.status == 200:
            seen.versions.add(int(response.headers["X-Tidemill-Model-Version"]))
            seen.statuses[f"answered by the {response.headers['X-Tidemill-Model-Label']}"] += 1
            seen.statuses["answered from the cache"] += response.headers.get("X-Tidemill-Cache") == "hit"
        elif response.status in (429, 503):
            seen.done.wait(min(0.2, float(response.headers.get("Retry-After", 1))))
    connection.close()


def row(value: float) -> str:
    """JSON of a digit whose pixels sum up to `value`."""
    return f"{ROW_START}{value!r}{ROW_END}"


def _fault(
    response: http.client.HTTPResponse, answer: Any, values: list[float], *, bad: str, hurried: bool
) -> str:
    """What is wrong with an answer; empty if nothing is."""
    if response.status == 200:
        version = float(response.headers["X-Tidemill-Model-Version"])
        right = [row[:2] for row in answer["predictions"]] == [[version, value] for value in values]
        return "" if right and not bad else "a wrong answer"
    if not answer.get("error"):
        return "a rejection without a reason"
    if response.status == 400 and not bad:
        return "a good request was refused"
    if response.status in (429, 503) and "Retry-After" not in response.headers:
        return "nobody said when to come back"
    allowed = REASONS | ({504} if hurried else set())
    return "" if response.status in allowed else "no rejection that a caller may get"


def honest_grpc(seen: Seen, target: str, *, seed: int, key: str) -> None:
    """The same over gRPC; leaves some of its calls before they are answered."""
    chance = random.Random(seed)
    with grpc.insecure_channel(target) as channel:
        call = channel.unary_unary(methods.PREDICT)
        while not seen.done.is_set():
            values = [float(chance.randrange(1, 10_000)) for _ in range(chance.choice([1, 1, 8]))]
            future = call.future(_request(values), timeout=PATIENCE_S, metadata=(("x-api-key", key),))
            if chance.random() < 0.1:
                future.cancel()
                seen.statuses["grpc left"] += 1
                continue
            try:
                reply = predict_pb2.PredictResponse.FromString(future.result())
            except grpc.RpcError as error:
                seen.statuses[f"grpc {error.code().name}"] += 1
                if (
                    error.code() not in GRPC_REASONS - {grpc.StatusCode.INVALID_ARGUMENT}
                    or not error.details()
                ):
                    seen.wrong.append(f"{error.code()} {error.details()}")
                seen.done.wait(0.2)
                continue
            seen.statuses["grpc OK"] += 1
            rows = np.frombuffer(reply.outputs["probabilities"].tensor_content, np.float32).reshape(-1, 10)
            version = float(reply.model_spec.version.value)
            if rows[:, :2].tolist() != [[version, value] for value in values]:
                seen.wrong.append(f"version {version} answered {rows[:, :2].tolist()} for {values}")


def _request(values: list[float]) -> bytes:
    rows = np.zeros((len(values), 28, 28, 1), dtype=np.float32)
    rows[:, 0, 0, 0] = values
    dims = [tensor_pb2.TensorShapeProto.Dim(size=size) for size in rows.shape]
    tensor = tensor_pb2.TensorProto(
        dtype=tensor_pb2.DT_FLOAT,
        tensor_shape=tensor_pb2.TensorShapeProto(dim=dims),
        tensor_content=rows.tobytes(),
    )
    spec = predict_pb2.ModelSpec(name="digits")
    return predict_pb2.PredictRequest(model_spec=spec, inputs={"image": tensor}).SerializeToString()


def rude(seen: Seen, gateway: GatewayProcess, *, seed: int, key: str) -> None:
    """Leaves early, sends slowly, sends garbage, sends too much, does not read."""
    chance = random.Random(seed)
    body = json.dumps({"instances": [image(1.0)]}).encode()
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nContent-Length: "
    whole = f"{head}{len(body)}\r\n\r\n".encode() + body
    huge = f"{head}{10**9}\r\n\r\n".encode() + b" " * 10_000
    kinds = {
        "left at once": (whole, 0, None),
        "left in the middle": (whole[: chance.randrange(len(whole))], 0, None),
        "slow headers": (whole, 20, b" 408 "),
        "slow body": (whole, len(whole) - len(body) + 1000, b" 408 "),
        "garbage": (chance.randbytes(500) + b"\r\n\r\n", 500, b" 400 "),
        "a huge body": (huge, len(huge), b" 413 "),
        "reads nothing": (whole * 20, len(whole) * 20, None),
    }
    while not seen.done.is_set():
        kind = chance.choice(list(kinds))
        data, at_once, wanted = kinds[kind]
        try:
            answer = _send(seen, gateway.port, data, at_once=at_once, wants_answer=wanted is not None)
        except OSError as error:
            answer = repr(error).encode()
        if seen.done.is_set():
            return
        seen.statuses[kind] += 1
        if wanted is not None and (wanted not in answer[:20] or b'"error"' not in answer):
            seen.wrong.append(f"{kind} was answered {answer[:200]!r}")


def _send(seen: Seen, port: int, data: bytes, *, at_once: int, wants_answer: bool) -> bytes:
    """Send the first bytes at once and the others one by one until an answer comes."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        connection.sendall(data[: at_once or len(data)])
        if not wants_answer:
            return b""
        connection.settimeout(DRIP_S)
        answer = b""
        for position in range(at_once, at_once + int(PATIENCE_S / DRIP_S)):
            try:
                while chunk := connection.recv(65536):
                    answer += chunk
                return answer
            except TimeoutError:
                if seen.done.is_set():
                    break
                if not answer and position < len(data):
                    connection.sendall(data[position : position + 1])
        return answer
