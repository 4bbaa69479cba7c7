"""tidemill up: the platform on this machine, until Ctrl-C."""

from __future__ import annotations

from pathlib import Path

import click
from tidemill_chassis.lifecycle import stop_on_signals

from tidemill.deployment import Deployment, Ports
from tidemill.embedded_redis import FSYNC, Durability
from tidemill.running import running_platform

PORT_BASE = click.IntRange(1024, 65500)


@click.command(epilog="Example: tidemill up --port-base 9500")
@click.option("--port-base", type=PORT_BASE, help="Use consecutive ports from here on.")
@click.option(
    "--models",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default="models",
    show_default=True,
    help="The folder with one YAML file per model.",
)
@click.option(
    "--durability",
    type=click.Choice(list(FSYNC)),
    default="durable",
    show_default=True,
    help="Of confirmed messages: durable survives a power loss; fast may lose the last second to one, and on "
    "a slow disk to a killed server.",
)
@click.option(
    "--no-trainer", is_flag=True, help="Rounds are another's to start, by `tidemill-trainer --once`."
)
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info")
@click.pass_obj
def up(
    data: Path,
    port_base: int | None,
    models: Path,
    durability: Durability,
    no_trainer: bool,
    log_level: str,
) -> None:
    """Start the platform and keep it running until Ctrl-C.

    All data lives in the platform's folder: starting again goes on with the same models and history.
    """
    ports = Ports.from_base(port_base) if port_base else Ports()
    deployment = Deployment(data.absolute(), models.absolute(), ports, durability)
    stop = stop_on_signals()
    left_out = frozenset({"trainer"} if no_trainer else ())
    with running_platform(deployment, echo=True, log_level=log_level, left_out=left_out, stop=stop):
        click.echo(addresses_text(deployment))
        while not stop.wait(3600):
            pass
        click.echo("stopping")
    click.echo("stopped; everything is kept in " + str(data))


def addresses_text(deployment: Deployment) -> str:
    """Where everything is, with a command to try each."""
    return "\n".join(
        (
            "",
            f"  predictions   {deployment.gateway_url}/v1/models/digits:predict",
            f"  versions      {deployment.gateway_url}/v1/models/digits/versions",
            f"  samples in    {deployment.ingest_url}/v1/samples",
            f"  dropped files {deployment.folder / 'store' / 'inbox'}/<dataset>/<label>/",
            f"  logs          {deployment.logs_folder}/",
            "",
            "  try: tidemill publish digits --bundled        tidemill rounds",
            "",
        )
    )
