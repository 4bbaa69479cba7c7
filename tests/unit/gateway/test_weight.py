"""The gateway starts fast and stays light."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import re, sys, time
started = time.perf_counter()
import tidemill_gateway.main
import tidemill_gateway.server.worker
took_s = time.perf_counter() - started
# Not ru_maxrss: Linux lets it begin at the size of the process that started us.
peak_kb = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
print(took_s, peak_kb / 1024, "tensorflow" in sys.modules)
"""


def test_the_import_is_fast_light_and_without_tensorflow() -> None:
    best_s, memory_mb, tensorflow = 10.0, 0.0, ""
    for _ in range(3):  # the machine may be busy: the best of three is the code's own time
        run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
        took, memory, tensorflow = run.stdout.split()
        best_s, memory_mb = min(best_s, float(took)), float(memory)
        if best_s < 1.5:
            break

    assert best_s < 1.5
    assert memory_mb < 150
    assert tensorflow == "False"
