"""The gate: whether a challenger is published, and why."""

from tidemill_trainer.gate.decision import Decision, Evidence, decide

__all__ = ["Decision", "Evidence", "decide"]
