"""Faults that the Cloud Storage emulator commits on demand, by seed."""

from __future__ import annotations

import random
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Any

KINDS = ("status", "reset", "lost_answer", "slow", "cut", "flip")


@dataclass(frozen=True)
class Fault:
    """One rule.

    operation: put, get, stat, list, delete, or any.
    kind: `status`: answer with `status` and do nothing. `reset`: close the connection and do nothing.
        `lost_answer`: do it, then close the connection. `slow`: wait `delay_s` first.
        `cut`: send half of the body. `flip`: send the body with one bit turned.
    share: of the calls; count: at most so many; 0 for no end.
    """

    operation: str = "any"
    kind: str = "status"
    status: int = 503
    delay_s: float = 0.0
    share: float = 1.0
    count: int = 0


class Faults:
    """The rules in force; the first that strikes wins."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._dice = random.Random(0)
        self._rules: list[Fault] = []
        self._struck: Counter[int] = Counter()

    def set(self, wanted: dict[str, Any]) -> None:
        """``{"seed": 7, "rules": [{"operation": "put", "share": 0.3}, …]}``; no rules: all is well again."""
        rules = [Fault(**rule) for rule in wanted.get("rules", [])]
        for rule in rules:
            if rule.kind not in KINDS:
                raise ValueError(f"no fault of kind {rule.kind}; there are {', '.join(KINDS)}")
        with self._lock:
            self._dice = random.Random(wanted.get("seed", 0))
            self._rules = rules
            self._struck.clear()

    def strike(self, operation: str) -> Fault | None:
        """The fault that this call meets, if any."""
        with self._lock:
            for position, rule in enumerate(self._rules):
                if rule.operation not in ("any", operation):
                    continue
                if rule.count and self._struck[position] >= rule.count:
                    continue
                if self._dice.random() < rule.share:
                    self._struck[position] += 1
                    return rule
        return None

    def told(self) -> dict[str, Any]:
        """How often each rule struck."""
        with self._lock:
            return {"struck": [self._struck[position] for position in range(len(self._rules))]}
