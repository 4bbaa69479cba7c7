"""What the agent acts upon."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from tidemill_contracts.bus import Bus
from tidemill_contracts.objects import ObjectStore

from tidemill_serving.configuration import Configuration
from tidemill_serving.model_server import ModelServer
from tidemill_serving.version_folder import VersionFolder


@dataclass(frozen=True)
class Ports:
    """What the agent acts upon, and the clock in seconds."""

    store: ObjectStore
    bus: Bus
    server: ModelServer
    configuration: Configuration
    folder: VersionFolder
    clock: Callable[[], float] = monotonic
