"""tidemill torture: does anything get lost, whatever happens?"""

from __future__ import annotations

import shutil
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from random import Random, SystemRandom

import click
from rich.console import Console
from rich.table import Table
from tidemill_contracts.errors import InvalidInput, Unavailable

from tidemill.deployment import HOST, Deployment, Ports
from tidemill.torture.faults import FAULTS
from tidemill.torture.ground import Ground, Need
from tidemill.torture.postgres import make_postgres
from tidemill.torture.rig import Fault
from tidemill.torture.storm import Outcome, plan, plan_short, torture

ROUNDS = 60
PORT_TRIES_MAX = 50


@click.command(
    "torture",
    epilog="""\b
Examples:
  tidemill torture --short
  tidemill torture --seed 7 --rounds 200
  tidemill torture --faults kill-persistor,kill-redis --rounds 20
  tidemill torture --bus pubsub://torture --store gs://torture --rate 300
  tidemill torture --list-faults""",
)
@click.option("--short", is_flag=True, help="Every fault once, several at a time.")
@click.option("--rounds", type=click.IntRange(1, 100_000), default=ROUNDS, show_default=True)
@click.option("--seed", type=int, help="The same faults in the same order.  [default: another each time]")
@click.option("--faults", "chosen", help="Only these, such as kill-persistor,poison.")
@click.option("--list-faults", is_flag=True, help="Say what can be done to the platform, and do nothing.")
@click.option("--rate", type=click.FloatRange(1, 100_000), default=1000, show_default=True, help="Samples/s.")
@click.option(
    "--bus", default="", help="A Pub/Sub emulator's pubsub://PROJECT.  [default: a Redis of its own]"
)
@click.option("--store", default="", help="A Cloud Storage emulator's gs://BUCKET.  [default: a folder]")
@click.option("--postgres", is_flag=True, help="The registry in a PostgreSQL of its own.  [default: SQLite]")
@click.option("--keep", is_flag=True, help="Keep the folder with store, logs and ledger.")
def torture_command(
    short: bool,
    rounds: int,
    seed: int | None,
    chosen: str | None,
    list_faults: bool,
    rate: float,
    bus: str,
    store: str,
    postgres: bool,
    keep: bool,
) -> None:
    """Ill-treat a platform of its own, and show that nothing is lost and nothing counts twice.

    Broker, persistor and trainer run in a temporary folder while a producer writes down, on disk, every
    sample that the broker confirmed. Afterwards that ledger is compared with what is kept, and with what may
    train. Exit code 0: no difference.
    """
    if list_faults:
        for fault in FAULTS:
            needs = f" ({fault.needs})" if fault.needs else ""
            click.echo(f"{fault.name:<18} {fault.does}{needs}")
        return
    folder = Path(tempfile.mkdtemp(prefix="tidemill-torture-"))
    ground = Ground(Deployment(folder, folder / "models", _free_ports()), bus, store)
    faults = choose(chosen, ground.offers())
    if postgres:
        ground = replace(ground, own_postgres=make_postgres(ground.deployment.ports.model_server))
    seed = SystemRandom().randrange(10**6) if seed is None else seed
    dice = Random(seed)  # noqa: S311  (no secret depends on it)
    order = list(plan_short(faults, dice) if short else plan(faults, rounds, dice))
    console = Console()
    console.print(f"seed {seed}, {len(order)} rounds, in {folder}")
    clean = False
    try:
        outcome = torture(ground, order, seed, rate_per_s=rate, tell=lambda text: console.print(f"  {text}"))
        clean = outcome.audit.is_clean and outcome.view.is_clean
        console.print(faults_table(outcome), figures_table(outcome))
    finally:
        if ground.own_postgres is not None and not keep:
            shutil.rmtree(ground.own_postgres.folder)
        if clean and not keep:
            shutil.rmtree(folder)
        else:
            console.print(f"everything is left to look at in {folder}")
    if not clean:
        sys.exit(1)


def choose(names: str | None, offers: Collection[Need] | None = None) -> tuple[Fault, ...]:
    """The faults of a comma-separated list; all of them for none. offers: what the ground has for them.

    Raises:
        InvalidInput: there is no such fault, or not on this ground.
    """
    possible = tuple(fault for fault in FAULTS if offers is None or fault.needs in offers)
    if names is None:
        return possible
    known = {fault.name: fault for fault in FAULTS}
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    for name in wanted:
        if name not in known:
            raise InvalidInput(f"there is no fault {name!r}: --list-faults names them", field="--faults")
        if known[name] not in possible:
            raise InvalidInput(f"{name} needs: {known[name].needs}, which is not here", field="--faults")
    if not wanted:
        raise InvalidInput("name at least one fault: --list-faults names them", field="--faults")
    return tuple(known[name] for name in wanted)


def faults_table(outcome: Outcome) -> Table:
    """How often each fault came, and how long the processes took to be ready again."""
    table = Table("fault", title="Inflicted", title_justify="left")
    for heading in ("times", "ready again, s at most"):
        table.add_column(heading, justify="right")
    times = Counter(name for blow in outcome.blows for name in blow.names)
    for name, count in sorted(times.items()):
        slowest_s = max(blow.ready_again_s for blow in outcome.blows if name in blow.names)
        table.add_row(name, str(count), f"{slowest_s:.1f}")
    return table


def figures_table(outcome: Outcome) -> Table:
    """What must be 0, then what it was made of."""
    found, view = outcome.audit, outcome.view
    table = Table("figure", title="Audit", title_justify="left")
    table.add_column("count", justify="right")
    for name, count in (
        ("LOST", found.lost),
        ("UNEXPECTED", found.unexpected),
        ("DUPLICATES, which the training view would count twice", found.duplicates),
        ("altered samples", found.altered),
        ("unreadable objects", found.unreadable),
        ("sound messages among the dead letters", found.spilled),
        ("poison not among the dead letters", found.unburied),
        ("confirmed and not in the training view", view.lost),
        ("in the training view and never published", view.unexpected),
        ("new in two rounds", view.twice),
        ("promotions without their one version", view.torn),
        ("differences between store and registry", view.differences),
    ):
        table.add_row(name, f"[{'red' if count else 'green'}]{count:,}[/]")
    table.add_section()
    for name, value in (
        ("samples that the broker confirmed", f"{found.confirmed:,}"),
        ("samples published again on purpose", f"{outcome.repeated:,}"),
        ("samples kept, with copies", f"{found.rows:,}"),
        ("messages kept more than once", f"{found.redelivered:,}"),
        ("objects announced", f"{found.objects:,}"),
        ("objects written and never announced", f"{found.unannounced:,}"),
        ("dead letters", f"{found.dead:,}"),
        ("objects damaged on purpose, and found out", f"{found.damaged:,}"),
        ("of these put into quarantine by the trainer", f"{view.quarantined:,}"),
        ("samples in the registry", f"{view.rows:,}"),
        ("rounds, promoted, begun again", f"{view.rounds:,}, {view.promoted:,}, {view.resumed:,}"),
        ("publications that the broker did not confirm", f"{outcome.refusals:,}"),
        ("until everything was kept, s", f"{outcome.calm_s:.1f}"),
        ("until the trainer had read it, s", f"{outcome.read_s:.1f}"),
        ("in all, s", f"{outcome.seconds:.1f}"),
    ):
        table.add_row(name, value)
    return table


def _free_ports() -> Ports:
    """Consecutive ports that nobody listens on."""
    for _ in range(PORT_TRIES_MAX):
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            ports = Ports.from_base(probe.getsockname()[1])
        if not list(ports.taken()):
            return ports
    raise Unavailable("no free ports were found: try again")
