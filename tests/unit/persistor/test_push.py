"""The persistor pushed to instead of pulling: 2xx means stored and announced."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from tidemill_chassis.lifecycle import Stop
from tidemill_chassis.push_access import Refused
from tidemill_chassis.settings import Address
from tidemill_contracts.memory_bus import MemoryBus
from tidemill_contracts.memory_objects import MemoryStore
from tidemill_contracts.stored_batch import decode_batch
from tidemill_persistor.main import serve_pushed
from tidemill_persistor.settings import Settings

from tests.emulators.machine import free_port

WAIT_S = 30.0
AGE_S = 0.1


class Pushed:
    """A persistor that is pushed to, on the in-memory adapters."""

    def __init__(self) -> None:
        self.store, self.bus, self.stop = MemoryStore(), MemoryBus(), Stop()
        self.bind = Address("127.0.0.1", free_port())
        environ = {"TIDEMILL_BUS": "memory://", "TIDEMILL_STORE": "memory://"}
        settings = Settings.from_env({**environ, "TIDEMILL_PERSISTOR_BATCH_AGE_S": str(AGE_S)})
        self.thread = threading.Thread(
            target=serve_pushed,
            args=(settings, self.bind, self.store, self.bus, self.stop),
            kwargs={"verify": self.verify},
        )

    def verify(self, token: str) -> None:
        if token != "right":
            raise Refused("no")

    def push(self, data: bytes, ident: str = "1", *, badge: str = "right") -> int:
        message = {
            "data": base64.b64encode(data).decode(),
            "messageId": ident,
            "publishTime": "2026-05-04T12:30:00Z",
        }
        body = json.dumps({"message": message, "subscription": "projects/p/subscriptions/s"})
        headers = {"Authorization": f"Bearer {badge}"}
        with httpx.HTTPTransport(retries=5) as transport:
            client = httpx.Client(transport=transport, timeout=WAIT_S)
            return client.post(f"http://{self.bind}/push", content=body, headers=headers).status_code

    def kept(self) -> set[str]:
        names = [info.name for info in self.store.list("samples/")]
        return {message.message_id for name in names for message in decode_batch(self.store.get(name), name)}


@pytest.fixture
def pushed() -> Iterator[Pushed]:
    made = Pushed()
    made.thread.start()
    yield made
    made.store.failing = False
    made.stop.set()
    made.thread.join(WAIT_S)
    assert not made.thread.is_alive()


def sample(text: str) -> bytes:
    return json.dumps({"dataset": "reviews", "samples": [{"label": "good", "text": text}]}).encode()


def test_a_pushed_message_is_in_the_store_when_its_request_is_answered(pushed: Pushed) -> None:
    assert pushed.push(sample("fine"), "17") == 204

    assert pushed.kept() == {"17"}
    assert len(pushed.bus.published("batches")) == 1


def test_requests_that_wait_together_are_all_kept(pushed: Pushed) -> None:
    with ThreadPoolExecutor(10) as pool:
        statuses = list(pool.map(lambda n: pushed.push(sample(f"fine {n}"), str(n)), range(10)))

    assert statuses == [204] * 10
    assert pushed.kept() == {str(n) for n in range(10)}


def test_poison_is_put_aside_and_not_sent_again(pushed: Pushed) -> None:
    assert pushed.push(b"no json") == 204

    assert len(pushed.bus.published("samples.dead")) == 1
    assert pushed.kept() == set()


def test_who_has_no_token_stores_nothing(pushed: Pushed) -> None:
    assert pushed.push(sample("fine"), badge="wrong") == 401

    assert pushed.kept() == set()


def test_nothing_is_answered_2xx_while_the_store_is_down(pushed: Pushed) -> None:
    pushed.store.failing = True
    with ThreadPoolExecutor(1) as pool:
        request = pool.submit(pushed.push, sample("fine"))
        pushed.stop.wait(5 * AGE_S)
        assert not request.done()
        pushed.stop.set()  # what cannot be stored at the end is given back

        assert request.result(WAIT_S) == 503
