"""tidemill demo: the whole line on real digits, watched."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console
from tidemill_chassis.lifecycle import stop_on_signals
from tidemill_contracts.errors import Conflict
from tidemill_contracts.model_spec import load_specs

from tidemill.commands.predict import ask, encoded
from tidemill.commands.up import PORT_BASE, addresses_text
from tidemill.demo.checks import check_all
from tidemill.demo.clients import Clients
from tidemill.demo.screen import Screen
from tidemill.demo.story import Story
from tidemill.deployment import DATA_FOLDER, Addresses, Deployment, Ports, find_addresses
from tidemill.ingest_client import IngestClient
from tidemill.observation import Observation, Observer
from tidemill.reports import plot_rounds, rounds_table
from tidemill.running import running_platform
from tidemill.sources.bundled_digits import read_bundled_digits
from tidemill.sources.raw_sample import RawSample

MODEL = "digits"
DEMO_FOLDER = ".tidemill-demo"
MARKER = "made-by-tidemill-demo"


@click.command(epilog="Example: tidemill demo --keep")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEMO_FOLDER,
    show_default=True,
    help="A folder of the demonstration's own; emptied first.",
)
@click.option(
    "--models",
    type=click.Path(path_type=Path, exists=True),
    default="models",
    envvar="TIDEMILL_MODELS",
    show_default=True,
)
@click.option("--port-base", type=PORT_BASE, help="Use consecutive ports from here on.")
@click.option("--keep", is_flag=True, help="Leave the platform running until Ctrl-C.")
@click.option(
    "--running",
    is_flag=True,
    help="Start nothing: use the platform that TIDEMILL_INGEST, _GATEWAY, _STORE, _DATABASE and _BUS name.",
)
def demo(folder: Path, models: Path, port_base: int | None, keep: bool, running: bool) -> None:
    """Publish 5,000 real handwritten digits in waves and watch them become a served model.

    Exits with 0 only if all of it really happened.
    """
    console = Console()
    load_specs(models)  # say what is wrong with a model before anything starts
    if running:
        addresses = replace(find_addresses(Path(DATA_FOLDER)), models=str(models.absolute()))
        _empty(folder)
        holds = _tell(console, addresses, folder, restarts=None)
    else:
        deployment = Deployment(
            folder.absolute(), models.absolute(), Ports.from_base(port_base) if port_base else Ports()
        )
        _empty(folder)
        stop = stop_on_signals()
        console.print(f"starting the platform in {folder} …")
        with running_platform(deployment, echo=False, stop=stop) as supervisor:
            addresses = find_addresses(deployment.folder, {})
            holds = _tell(console, addresses, folder, restarts=supervisor.restarts)
            console.print(addresses_text(deployment), highlight=False, soft_wrap=True)
            if keep:
                console.print("running until Ctrl-C")
                while not stop.wait(3600):
                    pass
            else:
                console.print(f"  to go on with this data: tidemill --data {folder} up", highlight=False)
    if not holds:
        raise click.exceptions.Exit(1)


def _tell(
    console: Console, addresses: Addresses, folder: Path, *, restarts: Callable[[], Mapping[str, int]] | None
) -> bool:
    """The whole story on a platform that is up; whether every claim holds.

    restarts: how often each process was started again; None where nobody counts.

    Raises:
        Conflict: the platform knows digits already, so that nothing could be counted.
    """
    spec = load_specs(Path(addresses.models))[MODEL]
    train, test = read_bundled_digits()
    predict_url = f"{addresses.gateway}/v1/models/{MODEL}:predict"
    with (
        IngestClient(addresses.ingest) as ingest,
        Observer(addresses, spec) as observer,
        Clients(predict_url, test) as clients,
        Screen(console) as screen,
    ):
        refuse_used(observer.look())
        screen.say("the platform is up; clients predict from now on")
        story = Story(MODEL, ingest, observer, clients, screen)
        seen = story.tell(train, test)
    answering = _show_results(console, folder, seen, predict_url, test[0])
    for said in clients.answers.failures:
        console.print(f"[red]a prediction failed:[/] {said}")
    checks = check_all(
        seen,
        clients.answers,
        published=story.published,
        answering=answering,
        restarts=restarts() if restarts else None,
    )
    for check in checks:
        console.print(
            f"{'[green]✓[/]' if check.holds else '[red]✗[/]'} {check.claim}", highlight=False, soft_wrap=True
        )
    return all(check.holds for check in checks)


def refuse_used(seen: Observation) -> None:
    """Raises Conflict: what is there already could not be told from what the demonstration makes."""
    known = seen.samples.train + seen.samples.validation + seen.samples.test
    if known or seen.versions:
        raise Conflict(
            f"this platform has {known:,} samples of {MODEL} already: empty it first, "
            f"in containers by `docker compose down --volumes`"
        )


def _show_results(
    console: Console, folder: Path, seen: Observation, predict_url: str, digit: RawSample
) -> int:
    """Table, picture and a prediction; return the version that answered."""
    console.print()
    console.print(rounds_table(MODEL, seen.rounds, seen.test_runs))
    picture = folder / "rounds.png"
    plot_rounds(MODEL, seen.rounds, seen.test_runs, picture)
    console.print(f"\naccuracy and loss against samples: {picture}\n")
    image = digit.image or b""
    (folder / "digit.png").write_bytes(image)
    short = base64.b64encode(image).decode()[:24]
    answer, headers = ask(predict_url, [encoded(image)])
    console.print(f'$ curl -i {predict_url} -d \'{{"instances": [{{"b64": "{short}…"}}]}}\'', highlight=False)
    console.print("HTTP/1.1 200 OK", highlight=False)
    for name, value in headers.raw:
        console.print(f"{name.decode()}: {value.decode()}", highlight=False)
    console.print()
    console.print(json.dumps(answer), highlight=False, soft_wrap=True)
    console.print(f"(the digit is a {digit.label}; its picture is {folder / 'digit.png'})\n", highlight=False)
    return int(headers["X-Tidemill-Model-Version"])


def _empty(folder: Path) -> None:
    """Begin anew, but never in a folder that something else made.

    Raises:
        Conflict: the folder holds what no demonstration put there.
    """
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARKER).exists():
            raise Conflict(f"{folder} is not a demonstration's folder: give another with --folder")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).touch()
