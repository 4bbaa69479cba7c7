"""What the quick ring shares: tables that are there, and folders in memory."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from tidemill_registry import migrate

MEMORY = Path("/dev/shm")
MEMORY_FREE_BYTES_MIN = 2**30


def pytest_configure(config: pytest.Config) -> None:
    """Nothing here is about a disk, and on a busy one every fsync of a test waits for those of others."""
    alone = all(
        Path(__file__).parent in (Path(each).absolute(), *Path(each).absolute().parents)
        for each in config.args
    )
    if alone and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= MEMORY_FREE_BYTES_MIN:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database, to be copied: migrating takes longer than most tests."""
    path = tmp_path_factory.mktemp("registry") / "registry.db"
    migrate(f"sqlite:///{path}")
    return path
