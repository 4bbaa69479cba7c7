"""The command tidemill-serving-agent."""

from __future__ import annotations

import os
import sys

from tidemill_chassis import logs
from tidemill_chassis.adapters import open_bus, open_store
from tidemill_chassis.health import HealthServer
from tidemill_chassis.lifecycle import stop_on_signals
from tidemill_contracts.errors import TidemillError
from tidemill_contracts.model_spec import load_specs

from tidemill_serving import app
from tidemill_serving.configuration import Configuration
from tidemill_serving.model_server import GrpcModelServer
from tidemill_serving.ports import Ports
from tidemill_serving.settings import Settings
from tidemill_serving.version_folder import VersionFolder
from tidemill_serving.worker import check_ready

log = logs.get_logger(__name__)


def main() -> None:
    """Keep the model server's versions until SIGTERM or SIGINT."""
    try:
        settings = Settings.from_env(os.environ)
        logs.configure("serving-agent", settings.log_level)
        run(settings)
    except (TidemillError, OSError, ValueError) as error:
        sys.stderr.write(f"tidemill-serving-agent: {error}\n")
        raise SystemExit(1) from error


def run(settings: Settings) -> None:
    """Open what the settings name and run the agent on it."""
    stop = stop_on_signals()
    specs = load_specs(settings.models)
    server = GrpcModelServer(settings.server)
    ports = Ports(
        store=open_store(settings.store),
        bus=open_bus(settings.bus),
        server=server,
        configuration=Configuration(server),
        folder=VersionFolder(settings.folder),
    )
    loops = app.make_loops(
        ports,
        specs,
        poll_s=settings.poll_s,
        load_s_max=settings.load_s_max,
        replica=settings.replica,
        replicas=settings.replicas,
    )
    with HealthServer(settings.health, lambda: check_ready(loops)):
        log.info("started", models=sorted(specs), server=settings.server, folder=str(settings.folder))
        app.run(ports, loops, stop)
    server.close()
    ports.bus.close()
    log.info("stopped")


if __name__ == "__main__":
    main()
