"""A process that computes makes way for those that feed it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tidemill_chassis.scheduling import make_way

SCRIPT = """
import os, threading
from tidemill_chassis.scheduling import make_way
assert make_way()
policies = [os.sched_getscheduler(0)]
thread = threading.Thread(target=lambda: policies.append(os.sched_getscheduler(0)))
thread.start()
thread.join()
print(policies == [os.SCHED_BATCH] * 2)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux knows it")
def test_threads_that_start_later_make_way_too():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60)

    assert done.stdout.strip() == "True", done.stderr


def test_where_it_is_not_allowed_nothing_changes(monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr("os.sched_setscheduler", refuse, raising=False)

    assert not make_way()
