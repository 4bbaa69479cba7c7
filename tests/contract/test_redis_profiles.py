"""The two profiles of the embedded server: what is on the disk when a publisher hears yes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import redis
from tidemill.embedded_redis import Durability, server_command
from tidemill_chassis.adapters.redis_bus import RedisBus
from tidemill_contracts.bus import Message
from tidemill_contracts.errors import Unavailable

from tests.emulators.machine import wait_until


@pytest.mark.parametrize(("durability", "fsync"), [("durable", "always"), ("fast", "everysec")])
def test_a_server_runs_as_its_profile_says(
    durability: Durability, fsync: str, tmp_path: Path, free_port: int
) -> None:
    process = subprocess.Popen(server_command(tmp_path, free_port, durability), stdout=subprocess.DEVNULL)
    bus = RedisBus.from_url(f"redis://127.0.0.1:{free_port}/0")
    try:
        wait_until(lambda: answers(bus))
        bus.publish("t", [Message(b"x")] * 1000)

        client = redis.Redis(port=free_port)
        assert client.config_get("appendfsync")["appendfsync"] == fsync
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
        client.close()
    finally:
        bus.close()
        process.kill()
        process.wait()


def answers(bus: RedisBus) -> bool:
    try:
        bus.ping()
    except Unavailable:
        return False
    return True
