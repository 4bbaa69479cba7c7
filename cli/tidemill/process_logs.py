"""Where the processes' lines go: a bounded file each, and the terminal where that is wanted."""

from __future__ import annotations

import logging
import threading
from logging.handlers import RotatingFileHandler
from pathlib import Path

import click

FILE_BYTES_MAX = 10 * 2**20
FILES_KEPT = 2
_COLOURS = ("cyan", "yellow", "green", "magenta", "blue", "bright_red", "bright_cyan", "bright_yellow")


class ProcessLogs:
    """Writes every line to ``<folder>/<process>.log``; with `echo`, to the terminal as well, prefixed."""

    def __init__(self, folder: Path, *, echo: bool) -> None:
        self._folder = folder
        self._echo = echo
        self._files: dict[str, RotatingFileHandler] = {}
        self._lock = threading.Lock()

    def write_line(self, name: str, line: str) -> None:
        with self._lock:
            if name not in self._files:
                self._files[name] = RotatingFileHandler(
                    self._folder / f"{name}.log",
                    maxBytes=FILE_BYTES_MAX,
                    backupCount=FILES_KEPT,
                    encoding="utf-8",
                )
            self._files[name].emit(logging.makeLogRecord({"msg": line}))
            if self._echo:
                colour = _COLOURS[list(self._files).index(name) % len(_COLOURS)]
                click.echo(click.style(f"{name:>12} | ", fg=colour) + line)

    def close(self) -> None:
        with self._lock:
            for file in self._files.values():
                file.close()
