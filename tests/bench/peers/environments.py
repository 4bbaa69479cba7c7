"""An environment for each of the others, so that their pins never meet ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.bench.peers.peer import Peer

FOLDER = Path(__file__).parents[3] / ".bench" / "peers"
INSTALL_S_MAX = 1800


class NotUsable(Exception):
    """A peer did not install, start or answer right; the text is its own last word."""


def python_of(peer: Peer) -> Path:
    """The interpreter of the peer's environment, which is made if need be.

    Raises:
        NotUsable: the package, or what it needs, does not install here.
    """
    folder = FOLDER / peer.package
    python, complete = folder / "bin" / "python", folder / "complete"
    wanted = " ".join((peer.package, *peer.further))
    if complete.is_file() and complete.read_text() == wanted:
        return python
    print(f"installing {peer.package} into {folder.relative_to(FOLDER.parents[1])} …", flush=True)
    base = str(peer.python) if peer.python is not None and peer.python.is_file() else sys.executable
    _run([base, "-m", "venv", "--clear", str(folder)])
    _run([str(python), "-m", "pip", "install", "--quiet", *wanted.split()])
    complete.write_text(wanted)
    return python


def version_of(peer: Peer) -> str:
    """Which version of the package is installed."""
    code = f"from importlib.metadata import version; print(version({peer.package!r}))"
    return _run([str(python_of(peer)), "-c", code]).strip()


def last_line(text: str) -> str:
    """The last line in which something stands."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S_MAX, check=False)
    except subprocess.TimeoutExpired as error:
        raise NotUsable(f"not installed after {INSTALL_S_MAX} s") from error
    if done.returncode:
        raise NotUsable(last_line(done.stdout + "\n" + done.stderr))
    return done.stdout
