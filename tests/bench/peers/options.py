"""The options that the commands beside other servers share."""

from __future__ import annotations

import argparse
import signal
import sys

from tests.bench.peers.peer import PEERS


def parsed(arguments: list[str], description: str | None, **numbers: float) -> argparse.Namespace:
    """`peers` as a list of names, and further numbers with their defaults.

    From here on SIGTERM ends the command as Ctrl-C does: what it started is stopped first.
    """
    known = [peer.package for peer in PEERS]
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", default=",".join(known), help="which of the others, with commas or spaces")
    for name, default in numbers.items():
        parser.add_argument(f"--{name}", type=type(default), default=default, help=f"default: {default:g}")
    found = parser.parse_args(arguments)
    found.peers = found.peers.replace(",", " ").split()
    unknown = sorted(set(found.peers) - set(known))
    if unknown:
        parser.error(f"no such peer: {', '.join(unknown)}; there are {', '.join(known)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    return found
