"""A gateway process of its own, before a small server that speaks TensorFlow Serving's gRPC."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tidemill_chassis.adapters import open_store
from tidemill_contracts.manifest import Labels, change_labels

from tests.emulators.gateway_process import GatewayProcess, wait_until
from tests.emulators.small_serving import SmallServing


@pytest.fixture
def serving() -> Iterator[SmallServing]:
    small = SmallServing()
    small.start()
    yield small
    small.gate.set()
    small.stop()


@pytest.fixture
def store_url(tmp_path: Path) -> str:
    folder = tmp_path / "store"
    folder.mkdir()
    return f"file://{folder}"


StartGateway = Callable[..., GatewayProcess]


@pytest.fixture
def start_gateway(serving: SmallServing, store_url: str) -> Iterator[StartGateway]:
    """Starts gateways with further settings; every one is ended with the test."""
    started: list[GatewayProcess] = []

    def start(*, wait: bool = True, **further: str) -> GatewayProcess:
        gateway = GatewayProcess.start(serving=serving.address, store=store_url, **further)
        started.append(gateway)
        if wait:
            wait_until(gateway.is_ready, "the gateway is ready")
        return gateway

    yield start
    for gateway in started:
        if gateway.process.poll() is None:
            gateway.stop()


@pytest.fixture
def set_labels(store_url: str) -> Callable[..., None]:
    """Writes the labels of `digits` as the serving agent would."""
    store = open_store(store_url)

    def write(**labels: int) -> None:
        change_labels(store, "digits", lambda _: Labels(**labels))

    return write


@pytest.fixture
def gateway(start_gateway: StartGateway, set_labels: Callable[..., None]) -> GatewayProcess:
    """A gateway in whose store version 1 of `digits` is stable."""
    set_labels(stable=1)
    return start_gateway()


@pytest.fixture(scope="module")
def shared_serving() -> Iterator[SmallServing]:
    """One serving for a whole module of tests that leave it as it is."""
    small = SmallServing()
    small.start()
    yield small
    small.stop()


@pytest.fixture(scope="module")
def shared_gateway(
    shared_serving: SmallServing, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """One gateway for a whole module of tests that leave it as it is."""
    store = f"file://{tmp_path_factory.mktemp('store')}"
    change_labels(open_store(store), "digits", lambda _: Labels(stable=1))
    gateway = GatewayProcess.start(serving=shared_serving.address, store=store)
    wait_until(gateway.is_ready, "the gateway is ready")
    yield gateway
    gateway.stop()
