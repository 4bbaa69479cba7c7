"""Signals reach what runs in the containers.

The last of the ring: a gateway that starts again may get another port.
"""

from __future__ import annotations

import pytest

from tests.containers.compose_project import ComposeProject

SERVICES = ("ingest", "persistor", "trainer", "serving", "gateway", "model-server")
ENDED = {0, 143}
"""143: a server that SIGTERM ends. Whoever does not hear it is killed after the grace period, with 137."""


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_hears_that_it_is_to_stop(service: str, project: ComposeProject) -> None:
    project.compose("stop", service)
    ended = project.container(service)["State"]
    project.up(service, options=("--no-deps", "--no-build"))

    assert ended["ExitCode"] in ENDED, ended
