"""What a process frees it keeps; told in processes of their own, for it cannot be taken back."""

from __future__ import annotations

import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
from tidemill_chassis.memory import keep_freed
if "keep" in sys.argv:
    print(keep_freed())
size, before = 8 * 2**20, 0
for _ in range(20):
    half, rest = b"x" * size, b"y" * size
    del half, rest
    before = before or resource.getrusage(resource.RUSAGE_SELF).ru_minflt
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
PAGES = 20 * 2 * 8 * 2**20 // 4096
"""What twenty rounds would touch anew, each page by a fault."""


@pytest.mark.skipif(sys.platform != "linux", reason="GNU's C library is asked")
def test_what_is_freed_is_not_asked_of_the_system_again() -> None:
    kept = subprocess.run([sys.executable, "-c", FAULTS, "keep"], capture_output=True, text=True, check=True)

    changed, faults = kept.stdout.split()

    assert changed == "True"
    assert int(faults) < PAGES / 10
