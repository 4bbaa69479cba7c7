"""Removes from an environment what no running service reads.

    python containers/image/prune.py /opt/tidemill/lib/python3.11/site-packages

Tests, C sources and headers, type stubs, the symbols of extension modules, and libclang, which TensorFlow
names and only its builders use.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

FOLDERS = ("tests", "include", "__pycache__")
"""Names of folders that go, wherever they are inside of a package; not `test`, which TensorFlow's API has."""
KEPT = ("numpy/_core/tests/_natype.py",)
"""numpy.testing, which scientific packages import, reads this one."""
FILES = ("*.pyi", "*.c", "*.cc", "*.cpp", "*.h", "*.hpp", "*.inc", "*.pyx", "*.pxd", "*.a", "*_test.py")
PACKAGES = ("clang", "numpy/f2py", "numpy/distutils", "tensorflow/include", "tensorflow/xla_aot_runtime_src")


def prune(packages: Path) -> None:
    """Remove from a folder of packages."""
    kept = {packages / name: (packages / name).read_bytes() for name in KEPT if (packages / name).is_file()}
    for name in PACKAGES:
        shutil.rmtree(packages / name, ignore_errors=True)
    for name in FOLDERS:
        for folder in list(packages.rglob(name)):
            # A package may have such a name; only folders inside of packages are anybody's tests.
            if folder.is_dir() and folder.parent != packages:
                shutil.rmtree(folder, ignore_errors=True)
    for pattern in FILES:
        for file in list(packages.rglob(pattern)):
            file.unlink()
    for file, content in kept.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def strip(packages: Path) -> None:
    """Drop the symbols of extension modules; not of the libraries beside them, whose ELF was patched."""
    for file in packages.rglob("*.so*"):
        if not file.is_symlink() and not any(part.endswith(".libs") for part in file.parts):
            subprocess.run(["strip", "--strip-unneeded", str(file)], check=True)


def main() -> None:
    for packages in map(Path, sys.argv[1:]):
        prune(packages)
        strip(packages)


if __name__ == "__main__":
    main()
