"""Speaks to ingest over HTTP; tries again where that helps."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import httpx
from tidemill_chassis.retry import Backoff
from tidemill_contracts.errors import InvalidInput, Overloaded, Unavailable
from tidemill_contracts.samples import Sample

ATTEMPTS_MAX = 8
KEY_VARIABLE = "TIDEMILL_INGEST_KEY"
"""The key to show, where ingest wants one."""
REQUEST_TIMEOUT_S = 60.0
RETRY_AFTER_S_MAX = 30.0


class IngestClient:
    """Speaks to ingest over HTTP. A context manager.

    Raises:
        Unavailable: nobody answers there, or it could not take the samples in ATTEMPTS_MAX tries.
        InvalidInput: ingest refused; the text is its own.
    """

    def __init__(self, url: str, *, sleep: Callable[[float], object] = time.sleep) -> None:
        self._url = url
        key = os.environ.get(KEY_VARIABLE)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(base_url=url, timeout=REQUEST_TIMEOUT_S, headers=headers)
        self._sleep = sleep

    def publish(self, dataset: str, split: str, source: str, samples: list[Sample]) -> dict[str, Any]:
        """Hand over samples; return ingest's answer once the broker has them."""
        body = {
            "dataset": dataset,
            "split": split,
            "source": source,
            "samples": [sample.model_dump(exclude_none=True) for sample in samples],
        }
        backoff = Backoff(0.2, 10.0)
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                return self._post(body)
            except Unavailable as error:
                if attempt == ATTEMPTS_MAX:
                    raise
                self._sleep(min(error.retry_after_s or backoff.next_s(), RETRY_AFTER_S_MAX))
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _post(self, body: dict[str, Any]) -> dict[str, Any]:
        try:
            response = self._client.post("/v1/samples", json=body)
        except httpx.HTTPError as error:
            raise Unavailable(
                f"ingest does not answer at {self._url} ({error}): is the platform up? type `make up`"
            ) from error
        if response.is_success:
            answer: dict[str, Any] = response.json()
            return answer
        said = _error_text(response)
        if response.status_code in {429, 503}:
            kind = Overloaded if response.status_code == 429 else Unavailable
            raise kind(said, retry_after_s=float(response.headers.get("Retry-After", 1)))
        raise InvalidInput(said)

    def __enter__(self) -> IngestClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()


def _error_text(response: httpx.Response) -> str:
    try:
        error = response.json()["error"]
        return str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError):
        return f"ingest answered {response.status_code}"
