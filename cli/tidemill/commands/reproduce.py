"""tidemill reproduce: a round again, from its snapshot, compared with what was recorded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
from tidemill_contracts.errors import TidemillError

from tidemill.deployment import find_addresses

TIMEOUT_S = 24 * 3600


@click.command(epilog="Example: tidemill reproduce digits-12-20260102T120000Z")
@click.argument("round_id", metavar="ROUND")
@click.pass_obj
def reproduce(data: Path, round_id: str) -> None:
    """Train and decide ROUND again from its snapshot, and compare. Nothing is written.

    `tidemill rounds --reasons` prints the ids. Exit code 0: the same decision, and the same weights to the
    bit; 3: another; 1: it could not be repeated. On another machine weights may differ in their last bits.
    """
    addresses = find_addresses(data)
    environ = {
        **os.environ,
        "TIDEMILL_BUS": addresses.bus,
        "TIDEMILL_STORE": addresses.store,
        "TIDEMILL_DATABASE": addresses.database,
    }
    command = [sys.executable, "-m", "tidemill_trainer.main", "--reproduce", round_id]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=TIMEOUT_S)
    if done.returncode not in (0, 3):
        raise TidemillError(_last_line(done.stderr))
    found = json.loads(done.stdout.splitlines()[-1])
    click.echo(f"then: {found['reason_then']}")
    click.echo(f"now:  {found['reason_now']}")
    click.echo(f"decision: {'the same' if found['same_decision'] else 'ANOTHER'}")
    click.echo(f"weights:  {'the same' if found['same_weights'] else 'OTHERS'} ({found['weights_now'][:16]})")
    sys.exit(done.returncode)


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "the round could not be repeated; nothing was said why"
