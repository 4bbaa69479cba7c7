"""The client library before a real gateway."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest
from tidemill_chassis.adapters import open_store
from tidemill_client import AsyncClient, Client, Refused, Unreachable
from tidemill_contracts.layout import manifest_name

from tests.emulators.gateway_process import GatewayProcess, image
from tests.emulators.machine import free_port
from tests.emulators.small_serving import SmallServing


def test_arrays_go_in_and_come_out_with_their_version(gateway: GatewayProcess) -> None:
    rows = np.zeros((3, 28, 28, 1), dtype=np.float32)
    rows[:, 0, 0, 0] = [1, 2, 3]

    with Client(f"http://127.0.0.1:{gateway.port}") as client:
        prediction = client.predict("digits", rows)
        as_bytes = client.predict("digits", [b"12345"], signature="encoded")

        assert isinstance(prediction.values, np.ndarray)
        assert prediction.values[:, 1].tolist() == [1.0, 2.0, 3.0]
        assert (prediction.version, prediction.label) == (1, "stable")
        assert isinstance(as_bytes.values, np.ndarray)
        assert as_bytes.values[0, 1] == 5.0
        assert [model["name"] for model in client.models()] == ["digits"]
        assert [version["version"] for version in client.versions("digits")] == [1]
        with pytest.raises(Refused, match="Servable not found"):
            client.predict("letters", rows)
        with pytest.raises(Refused, match="no previous version"):
            client.roll_back("digits")


def test_an_outage_is_waited_out(gateway: GatewayProcess, serving: SmallServing) -> None:
    serving.stop()
    back = threading.Timer(1.0, lambda: serving.start(serving.address))
    back.start()

    with Client(f"http://127.0.0.1:{gateway.port}", attempts_max=10) as client:
        assert client.predict("digits", [image(1.0)]).version == 1
    back.join()


def test_nobody_there_is_said_so() -> None:
    with Client(f"http://127.0.0.1:{free_port()}", timeout_s=0.5) as client, pytest.raises(Unreachable):
        client.predict("digits", [1.0])


def test_many_at_once_on_an_event_loop(gateway: GatewayProcess, store_url: str) -> None:
    open_store(store_url).put(manifest_name("digits", 1), b"{}")

    async def ask_all() -> list[float]:
        async with AsyncClient(f"http://127.0.0.1:{gateway.port}") as client:
            asked = [client.predict("digits", [image(float(n))]) for n in range(40)]
            found = await asyncio.gather(*asked)
            assert [version["version"] for version in await client.versions("digits")] == [1]
            assert [model["name"] for model in await client.models()] == ["digits"]
            assert await client.promote("digits", 1) == {"stable": 1}
            with pytest.raises(Refused, match="no previous version"):
                await client.roll_back("digits")
            return [float(np.asarray(one.values)[0, 1]) for one in found]

    assert asyncio.run(ask_all()) == [float(n) for n in range(40)]
