"""The client for programs on an event loop; the same promises as Client's."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Any

import httpx

from tidemill_client import protocol
from tidemill_client.client import ATTEMPTS_MAX, TIMEOUT_S
from tidemill_client.protocol import Ask, GatewayError, Prediction, Unreachable
from tidemill_client.retrying import Attempts


class AsyncClient:
    """Talks to one gateway over kept connections. Belongs to one event loop."""

    def __init__(
        self,
        address: str = "http://127.0.0.1:8501",
        *,
        key: str | None = None,
        timeout_s: float = TIMEOUT_S,
        attempts_max: int = ATTEMPTS_MAX,
    ) -> None:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._http = httpx.AsyncClient(base_url=address, headers=headers)
        self._timeout_s = timeout_s
        self._attempts_max = attempts_max

    async def predict(
        self,
        model: str,
        instances: Any,
        *,
        version: int | None = None,
        label: str | None = None,
        signature: str | None = None,
        sticky: str | None = None,
    ) -> Prediction:
        """Predictions for rows, as Client.predict takes them."""
        asked = protocol.ask_prediction(
            model, instances, version=version, label=label, signature=signature, sticky=sticky
        )
        return protocol.read_prediction(*await self._send(asked))

    async def models(self) -> list[dict[str, Any]]:
        """Every model, with what serves."""
        found: list[dict[str, Any]] = (await self._document("GET", "/v1/models"))["models"]
        return found

    async def versions(self, model: str) -> list[dict[str, Any]]:
        """What each version of a model is, newest first."""
        path = f"{protocol.model_path(model)}/versions"
        found: list[dict[str, Any]] = (await self._document("GET", path))["versions"]
        return found

    async def promote(self, model: str, version: int, *, reason: str = "") -> dict[str, int]:
        """Make a loaded version `stable`; the labels as they are then."""
        body = {"version": version, "reason": reason}
        path = f"{protocol.model_path(model)}:promote"
        labels: dict[str, int] = (await self._document("POST", path, body))["labels"]
        return labels

    async def roll_back(self, model: str, *, reason: str = "") -> dict[str, int]:
        """Make the previous version `stable` again; the labels as they are then."""
        path = f"{protocol.model_path(model)}:rollback"
        labels: dict[str, int] = (await self._document("POST", path, {"reason": reason}))["labels"]
        return labels

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _document(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        # A change that may have been made is not asked for again.
        tries = self._attempts_max if method == "GET" else 1
        return protocol.read_document((await self._send(protocol.ask(method, path, body), tries))[0])

    async def _send(self, asked: Ask, attempts_max: int | None = None) -> tuple[bytes, httpx.Headers]:
        attempts = Attempts(
            attempts_max=attempts_max or self._attempts_max, timeout_s=self._timeout_s, clock=time.monotonic
        )
        while True:
            try:
                return await self._try(asked, attempts.left_s())
            except GatewayError as error:
                await asyncio.sleep(attempts.wait_s_after(error))

    async def _try(self, asked: Ask, left_s: float) -> tuple[bytes, httpx.Headers]:
        headers = {**asked.headers, "X-Request-Timeout": f"{left_s:.3f}"}
        try:
            answer = await self._http.request(
                asked.method, asked.path, content=asked.body, headers=headers, timeout=left_s
            )
        except httpx.TransportError as error:
            raise Unreachable(f"no answer from {self._http.base_url}: {error!r}") from error
        if answer.status_code != 200:
            raise protocol.read_refusal(answer.status_code, answer.content, answer.headers)
        return answer.content, answer.headers
