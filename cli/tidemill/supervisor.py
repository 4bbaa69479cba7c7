"""Starts processes in order, waits until they are ready, restarts what dies, stops them in order."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import IO

from tidemill_chassis.lifecycle import Stop
from tidemill_chassis.retry import Backoff
from tidemill_contracts.errors import Unavailable

from tidemill.processes import ProcessSpec, inherited_environment

STOP_S_MAX = 20.0
"""How long a process may take to end before it is killed."""
RESTART_FIRST_S = 0.5
RESTART_LIMIT_S = 30.0
STEADY_S = 60.0
"""A process that ran this long has its restart backoff forgotten."""
PROBE_EVERY_S = 0.2
TAIL_LINES = 12
_PR_SET_PDEATHSIG = 1

WriteLine = Callable[[str, str], None]
"""Takes a process's name and a line that it wrote."""


class Supervisor:
    """Keeps processes running while the context is open.

    write_line: called from several threads, a line at a time.
    """

    def __init__(self, specs: Sequence[ProcessSpec], write_line: WriteLine) -> None:
        self._kept = [_Kept(spec, write_line) for spec in specs]

    def start(self, stop: Stop | None = None) -> None:
        """Start everything and wait until all are ready.

        Raises:
            Unavailable: one was not ready in time; its last lines are in the text. Nothing is left running.
        """
        try:
            first = [kept for kept in self._kept if kept.spec.first]
            for group in (first, [kept for kept in self._kept if not kept.spec.first]):
                for kept in group:
                    kept.start()
                for kept in group:
                    kept.wait_ready(stop)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop everything, last started first; kill what takes longer than STOP_S_MAX."""
        for kept in reversed(self._kept):
            kept.stop()

    def restarts(self) -> dict[str, int]:
        """How often each process had to be started again."""
        return {kept.spec.name: kept.restarts for kept in self._kept}

    def pid(self, name: str) -> int | None:
        """The process id of a process by name, None while it is down."""
        return next(kept.pid for kept in self._kept if kept.spec.name == name)


class _Kept:
    """One process with the thread that starts it, reads its lines and starts it again."""

    def __init__(self, spec: ProcessSpec, write_line: WriteLine) -> None:
        self.spec = spec
        self.restarts = 0
        self._write_line = write_line
        self._stopping = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._tail: list[str] = []
        self._thread = threading.Thread(target=self._keep, name=f"keep-{spec.name}", daemon=True)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> None:
        self._thread.start()

    def wait_ready(self, stop: Stop | None) -> None:
        end_s = time.monotonic() + self.spec.ready_s_max
        while not (self.pid and self.spec.ready()):
            if stop is not None and stop.is_set():
                raise Unavailable("stopped while starting")
            if time.monotonic() > end_s or self.restarts >= 3:
                said = "\n".join(self._tail) or "it wrote nothing"
                raise Unavailable(f"{self.spec.name} did not become ready; its last lines:\n{said}")
            time.sleep(PROBE_EVERY_S)

    def stop(self) -> None:
        self._stopping.set()
        process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_S_MAX)
            except subprocess.TimeoutExpired:
                self._say(f"took more than {STOP_S_MAX:.0f} s to stop: killed")
                process.kill()
        if self._thread.ident is not None:
            self._thread.join(STOP_S_MAX)

    def _keep(self) -> None:
        backoff = Backoff(RESTART_FIRST_S, RESTART_LIMIT_S)
        while not self._stopping.is_set():
            begun_s = time.monotonic()
            code = self._run()
            if self._stopping.is_set():
                return
            if time.monotonic() - begun_s > STEADY_S:
                backoff.reset()
            pause_s = backoff.next_s()
            self._say(f"ended with code {code}; starting again in {pause_s:.1f} s")
            self._stopping.wait(pause_s)
            self.restarts += 1

    def _run(self) -> int:
        try:
            process = subprocess.Popen(
                self.spec.command,
                env={**inherited_environment(), **self.spec.environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,  # Ctrl-C is ours; each process is then stopped in its turn
                preexec_fn=partial(_die_with_parent, os.getpid()),
            )
        except OSError as error:
            self._say(f"cannot be started: {error}")
            return 127
        self._process = process
        if self._stopping.is_set():  # stopped between the check and the start
            process.terminate()
        self._read(process.stdout)
        return process.wait()

    def _read(self, lines: IO[str] | None) -> None:
        for line in lines or ():
            self._tail = [*self._tail[1 - TAIL_LINES :], line.rstrip()]
            self._write_line(self.spec.name, line.rstrip())

    def _say(self, text: str) -> None:
        self._write_line(self.spec.name, f"[supervisor] {self.spec.name} {text}")


_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None  # loaded before any fork


def _die_with_parent(parent: int) -> None:
    """Let the kernel end the child when the supervisor is killed; nothing is left holding ports."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)
