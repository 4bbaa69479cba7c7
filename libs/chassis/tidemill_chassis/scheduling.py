"""Who makes way for whom on a machine whose cores are all busy."""

from __future__ import annotations

import os
import sys


def make_way() -> bool:
    """Have threads of this process, when they wake up, push nobody aside who runs (``SCHED_BATCH``).

    For processes that compute: they get their share of the cores all the same, but who feeds them, or carries
    their answers away, is not stopped half-way. Call before threads start. False, and nothing changed, where
    the system does not know it or does not allow it.
    """
    if sys.platform != "linux":
        return False
    try:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except OSError:
        return False
    return True
