"""What a person watches: lines for what happened, and below them what goes on."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table

from tidemill.demo.clients import Answers
from tidemill.observation import Observation
from tidemill.settling import describe

PLAIN_EVERY_S = 10.0


class Screen:
    """A context manager. On a terminal the lower part is redrawn; elsewhere it is a line now and then."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._begun_s = time.monotonic()
        self._drawn_s = 0.0
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> Screen:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.update("", refresh=True)
            self._live.stop()

    def say(self, line: str) -> None:
        """Something happened."""
        passed_s = time.monotonic() - self._begun_s
        self._console.print(f"[dim]{passed_s:6.1f} s[/]  {line}", highlight=False, soft_wrap=True)

    def show(self, published: int, seen: Observation, answers: Answers) -> None:
        """How things stand."""
        facts = {
            "samples": f"{published:,} published, {_read(seen):,} kept and read",
            "now": describe(seen),
            "predictions": f"{answers.answered:,} answered, {answers.failed} failed",
            "by version": "   ".join(_live_accuracy(answers)),
        }
        if self._live:
            grid = Table.grid(padding=(0, 2))
            for name, value in facts.items():
                grid.add_row(f"[bold]{name}[/]", value)
            self._live.update(grid, refresh=True)
        elif time.monotonic() - self._drawn_s > PLAIN_EVERY_S:
            self._drawn_s = time.monotonic()
            self.say("; ".join(f"{name}: {value}" for name, value in facts.items() if value))


def _read(seen: Observation) -> int:
    return seen.samples.train + seen.samples.validation + seen.samples.test


def _live_accuracy(answers: Answers) -> list[str]:
    return [
        f"v{version}: {count:,} ({answers.right[version] / count:.1%} right)"
        for version, count in sorted(answers.by_version.items())
    ]
