"""How long a batch may wait for more callers, learned from what the lane's batches cost and who calls.

Every call of the model costs a fixed part and a part per row. To wait for others can save no more than the
fixed part, so nobody waits longer than that (the bound of the ski rental problem: at most twice the cost of
knowing the future), and nobody at all once as many callers are here as were lately.
"""

from __future__ import annotations

import math

MEMORY = 0.9
"""How much of what was known stands after one more batch."""
PRESENT_SHARE = 0.5
"""With so many rows present of those that can be, the rest is not waited for. Who is out with another batch
cannot be: as long as those counted as present, one batch of nearly all callers and several of one each took
turns, and 64 callers cost 0.39 ms of CPU a request, not 0.34 (docs/adr/0025)."""
READ_AHEAD = 0.6
"""Of a batch: what may be read while as many batches are computed as may be out. 64 callers: 5,171 → 5,640
requests a second and 0.256 → 0.238 ms of CPU; 8 of 32 rows each: 428 → 445, 3.77 → 3.69 (by turns)."""
SHARE_MIN = 16
"""Rows whose batch is never parted: what a batch costs beside its rows is as much as several of them."""
SHARE_WORTH = 0.5
"""Batches are parted only if the rows of each still cost as much as this part of what a call itself does."""
SPREAD_MIN = 1e-6
"""Below this spread of rows the fixed part cannot be told apart from the rows'."""


class Pace:
    """Of one lane. fixed_s, row_s: a batch of n rows takes about fixed_s + n * row_s.

    present: how many rows were here at once, lately.
    """

    __slots__ = ("_row_squares", "_row_times", "_rows", "_times", "_weight", "fixed_s", "present", "row_s")

    def __init__(self) -> None:
        self.present = 0.0
        self.fixed_s = 0.0
        self.row_s = 0.0
        self._weight = self._rows = self._times = self._row_squares = self._row_times = 0.0

    def ran(self, rows: int, took_s: float) -> None:
        """Learn from a batch: least squares over the batches of late, the later the heavier."""
        self._weight = self._weight * MEMORY + 1.0
        self._rows = self._rows * MEMORY + rows
        self._times = self._times * MEMORY + took_s
        self._row_squares = self._row_squares * MEMORY + rows * rows
        self._row_times = self._row_times * MEMORY + rows * took_s
        mean_rows, mean_s = self._rows / self._weight, self._times / self._weight
        spread = self._row_squares / self._weight - mean_rows * mean_rows
        together = self._row_times / self._weight - mean_rows * mean_s
        slope = together / spread if spread > SPREAD_MIN * mean_rows * mean_rows else 0.0
        self.row_s = min(max(0.0, slope), mean_s / mean_rows)
        self.fixed_s = mean_s - self.row_s * mean_rows
        self.present *= MEMORY

    def seen(self, rows: int) -> None:
        """So many rows are here now, waiting or out; who is seen no more is forgotten batch by batch."""
        self.present = max(float(rows), self.present)

    def is_full(self, queued: int, out: int) -> bool:
        """Whether enough of the rows of late are queued, of those that are not out with a batch."""
        return queued >= (self.present - out) * PRESENT_SHARE

    def share(self, batches: int) -> float:
        """How many rows a batch may have, so that so many batches take turns: they are computed while the
        next one is read. A single one of nearly all callers left a third of two cores idle (docs/adr/0025).
        """
        worth = SHARE_WORTH * self.fixed_s / self.row_s if self.row_s else math.inf
        return max(self.present / (batches + READ_AHEAD), SHARE_MIN, worth)

    def window_s(self, limit_s: float) -> float:
        """How long the oldest may wait for others."""
        return min(self.fixed_s, limit_s)

    def cost_s(self, rows: int) -> float:
        """How long a batch of so many rows will take."""
        return self.fixed_s + rows * self.row_s
