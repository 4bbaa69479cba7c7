"""tidemill board: the curves of every round, in TensorBoard."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import click
from tidemill_chassis.adapters import open_store
from tidemill_chassis.lifecycle import Stop, stop_on_signals
from tidemill_contracts.errors import InvalidInput, NotFound, Unavailable
from tidemill_contracts.layout import ROUNDS
from tidemill_contracts.objects import ObjectStore

from tidemill.deployment import find_addresses

EVENTS = "events.out.tfevents"
REFRESH_S = 2.0
STOP_S_MAX = 10.0


@click.command(
    epilog="""\b
Examples:
  tidemill board digits
  tidemill board digits --into logs/"""
)
@click.argument("model", default="digits")
@click.option("--port", default=6006, show_default=True, help="Where TensorBoard answers.")
@click.option(
    "--into", type=click.Path(path_type=Path, file_okay=False), help="Only fetch the logs into a folder."
)
@click.pass_obj
def board(data: Path, model: str, port: int, into: Path | None) -> None:
    """Fetch the logs of MODEL's rounds (digits unless told) and open TensorBoard on them."""
    store = open_store(find_addresses(data).store)
    if into is not None:
        click.echo(f"{fetch_logs(store, model, into)} rounds in {into}")
        return
    if importlib.util.find_spec("tensorboard") is None:
        raise InvalidInput(
            "TensorBoard is not installed: type `pip install 'tidemill[board]'`, or use --into"
        )
    with tempfile.TemporaryDirectory(prefix="tidemill-board-") as name:
        folder = Path(name)
        count = fetch_logs(store, model, folder)
        click.echo(f"{count} rounds; TensorBoard answers at http://127.0.0.1:{port} until Ctrl-C")
        command = [sys.executable, "-m", "tensorboard.main", "--logdir", name, "--port", str(port)]
        run_board(command, stop_on_signals(), lambda: fetch_logs(store, model, folder))


def run_board(
    command: list[str], stop: Stop, refresh: Callable[[], object], *, every_s: float = REFRESH_S
) -> None:
    """Run TensorBoard until `stop`, and nothing of it afterwards. refresh: called every so often.

    Raises:
        Unavailable: TensorBoard ended by itself, as it does where the port is taken.
    """
    process = subprocess.Popen(command)
    try:
        while not stop.wait(every_s):
            if process.poll() is not None:
                raise Unavailable("TensorBoard ended, see above: is the port free? choose one by --port")
            with suppress(Unavailable):  # the store may be back the next time
                refresh()
    finally:
        process.terminate()
        try:
            process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()


def fetch_logs(store: ObjectStore, model: str, folder: Path) -> int:
    """Write every round's event file below the folder, a folder for each round; return how many there are.

    A log never changes: one that is in the folder already is not fetched again.

    Raises:
        NotFound: there is none.
        Unavailable: the store did not answer.
    """
    prefix, count = f"{ROUNDS}{model}/", 0
    for info in store.list(prefix):
        round_id, _, file = info.name.removeprefix(prefix).partition("/")
        if file.startswith(EVENTS) and "/" not in file:
            target = folder / round_id / file
            count += 1
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(store.get(info.name))
    if not count:
        raise NotFound(f"{model} has had no round yet: publish samples, such as `tidemill publish {model}`")
    return count
