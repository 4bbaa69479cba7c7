"""Everything at once: rollouts, shadows, leaving, slow and broken clients, huge bodies, a serving restart.

``TIDEMILL_SOAK_S`` says how long: a minute in CI, ten minutes before a release; by default a short form.
"""

from __future__ import annotations

import json
import os
import random
import socket
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import psutil
import pytest
from tidemill_chassis.adapters import open_store
from tidemill_contracts.layout import manifest_name
from tidemill_contracts.objects import ObjectStore
from tidemill_gateway.testing.gateway_process import GatewayProcess, free_port, image, wait_until
from tidemill_gateway.testing.small_serving import SmallServing, State

SOAK_S = float(os.environ.get("TIDEMILL_SOAK_S", "12"))
CLIENTS = 8
GROWTH_MB_MAX = 40.0
"""Memory may move by allocator caches and the largest bodies; a leak of one request in ten would show."""
P99_S_MAX = 2.0
ALLOWED = {200, 400, 404, 413, 429, 503, 504}


class Soak:
    """Clients of all kinds against one gateway, and what they saw."""

    def __init__(self, gateway: GatewayProcess, serving: SmallServing, store: ObjectStore) -> None:
        self.gateway = gateway
        self.store = store
        self.serving = serving
        self.done = Event()
        self.statuses: Counter[int] = Counter()
        self.wrong: list[str] = []
        self.took_s: list[float] = []

    def honest(self, seed: int) -> None:
        """Good requests and bad rows; every answer is checked."""
        chance = random.Random(seed)
        while not self.done.is_set():
            values = [float(chance.randrange(10_000)) for _ in range(chance.choice([1, 1, 1, 4, 20]))]
            poisoned = chance.random() < 0.05
            if poisoned:
                values[-1] = self.serving.poison
            started_s = time.monotonic()
            try:
                answer = self.gateway.predict({"instances": [image(value) for value in values]})
            except OSError as error:
                self.wrong.append(f"a request was lost: {error!r}")
                continue
            self.took_s.append(time.monotonic() - started_s)
            self.statuses[answer.status] += 1
            if answer.status == 200:
                version = int(answer.headers["x-tidemill-model-version"])
                right = [[float(version), value] for value in values]
                if poisoned or [row[:2] for row in answer.json["predictions"]] != right:
                    self.wrong.append(f"version {version} answered {answer.body[:80]!r} for {values}")
            elif answer.status not in ALLOWED or not answer.json["error"]:
                self.wrong.append(f"{answer.status} {answer.body[:200]!r}")
            elif answer.status == 400 and not poisoned:
                self.wrong.append(f"a good request was refused: {answer.body[:200]!r}")

    def rude(self, seed: int) -> None:
        """Leaves early, sends slowly, sends garbage, sends too much."""
        chance = random.Random(seed)
        body = json.dumps({"instances": [image(1.0)]}).encode()
        head = b"POST /v1/models/digits:predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
        whole = head % len(body) + body
        huge = head % 10**9 + b" " * 10_000
        while not self.done.is_set():
            try:
                with socket.create_connection(("127.0.0.1", self.gateway.port), timeout=2) as connection:
                    kind = chance.randrange(5)
                    if kind == 0:
                        connection.sendall(whole)
                    elif kind == 1:
                        connection.sendall(whole[: chance.randrange(len(whole))])
                        self.done.wait(chance.random())
                    elif kind == 2:
                        connection.sendall(chance.randbytes(500))
                        connection.recv(1000)
                    elif kind == 3:
                        connection.sendall(huge)
                        answer = connection.recv(1000)
                        if b" 413 " not in answer:
                            self.wrong.append(f"a huge body was answered {answer[:80]!r}")
                    else:
                        for byte in whole[:40]:
                            connection.sendall(bytes([byte]))
            except OSError:
                continue

    def operate(self) -> None:
        """New versions, splits, promotions, rollbacks; in the middle serving restarts."""
        version, restarted, started_s = 1, False, time.monotonic()
        while not self.done.is_set():
            version += 1
            known = dict(list(self.serving.models["digits"].items())[-2:])
            self.serving.models["digits"] = {**known, version: State.AVAILABLE}
            self.store.put(manifest_name("digits", version), b"{}")
            self._wait_for(version)
            self._ask("PUT", "rollout", {"candidate_percent": 30, "shadow_percent": 50})
            self._ask("POST", ":promote", {"version": version})
            if version % 3 == 0:
                self._ask("POST", ":rollback", {})
            if not restarted and time.monotonic() - started_s > SOAK_S / 2:
                restarted = True
                self.serving.stop()
                self.done.wait(0.5)
                self.serving.start(self.serving.address)
            self.done.wait(0.5)

    def _wait_for(self, version: int) -> None:
        while not self.done.wait(0.1):
            if any(one["version"] == version for one in self._versions()):
                return

    def _versions(self) -> list[dict[str, object]]:
        found: list[dict[str, object]] = self.gateway.ask("GET", "/v1/models/digits/versions").json[
            "versions"
        ]
        return [one for one in found if one["state"] == "AVAILABLE"]

    def _ask(self, method: str, what: str, body: object) -> None:
        path = f"/v1/models/digits{what if what.startswith(':') else '/' + what}"
        answer = self.gateway.ask(method, path, body)
        if answer.status not in (200, 409):
            self.wrong.append(f"{method} {path}: {answer.status} {answer.body[:200]!r}")


@pytest.mark.timeout(SOAK_S + 60)
def test_nothing_is_wrong_lost_or_leaked(
    serving: SmallServing,
    store_url: str,
    set_labels: Callable[..., None],
    start_gateway: Callable[..., GatewayProcess],
) -> None:
    set_labels(stable=1)
    gateway = start_gateway(
        TIDEMILL_GATEWAY_HEADER_S="1",
        TIDEMILL_GATEWAY_BODY_S="1",
        TIDEMILL_BUS=f"redis://127.0.0.1:{free_port()}/0",
        TIDEMILL_GATEWAY_LOG_PERCENT="10",
        TIDEMILL_LOG_LEVEL="error",
    )
    soak = Soak(gateway, serving, open_store(store_url))
    (worker,) = psutil.Process(gateway.process.pid).children()

    with ThreadPoolExecutor(CLIENTS * 2 + 1) as pool:
        jobs = [pool.submit(soak.honest, seed) for seed in range(CLIENTS)]
        jobs += [pool.submit(soak.rude, 100 + seed) for seed in range(CLIENTS // 2)]
        jobs.append(pool.submit(soak.operate))
        soak.done.wait(SOAK_S / 3)
        early_mb = worker.memory_info().rss / 2**20
        soak.done.wait(SOAK_S * 2 / 3)
        late_mb = worker.memory_info().rss / 2**20
        soak.done.set()
        for job in jobs:
            job.result()

    assert soak.wrong == []
    assert soak.statuses[200] > 100
    assert sorted(soak.took_s)[int(len(soak.took_s) * 0.99)] < P99_S_MAX
    assert late_mb - early_mb < GROWTH_MB_MAX
    wait_until(lambda: gateway.metric("tidemill_gateway_waiting_rows") == 0, "nothing is left waiting")
    assert gateway.process.poll() is None
