"""Removes from an environment what no running service reads.

    python containers/image/prune.py /opt/tidemill/lib/python3.11/site-packages

Tests, C sources and headers, type stubs, the descriptions that messages were generated from, the symbols
of extension modules, libclang, which TensorFlow names and only its builders use, Cloud Storage over gRPC,
which needs an extra that nobody here asks for, and Pillow's parts for formats that ingest refuses, with
their libraries.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

FOLDERS = ("tests", "include", "__pycache__")
"""Names of folders that go, wherever they are inside of a package; not `test`, which TensorFlow's API has."""
KEPT = ("numpy/_core/tests/_natype.py",)
"""numpy.testing, which scientific packages import, reads this one."""
SOURCES = ("*.c", "*.cc", "*.cpp", "*.h", "*.hpp", "*.inc", "*.pyx", "*.pxd", "*.proto")
FILES = (*SOURCES, "*.pyi", "*.a", "*_test.py")
PACKAGES = (
    "clang", "numpy/f2py", "numpy/distutils", "tensorflow/include", "tensorflow/xla_aot_runtime_src",
    "google/cloud/_storage_v2", "google/cloud/storage/asyncio",
)  # fmt: skip
MODULES = (
    "PIL/_avif.*.so", "PIL/_imagingft.*.so", "PIL/_imagingtk.*.so",
    "numpy/_core/_simd.*.so", "numpy/linalg/lapack_lite.*.so",
)  # fmt: skip
"""AVIF, fonts and windows are parts that Pillow may be built without; only tests import NumPy's two."""


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
    for pattern in MODULES:
        for file in list(packages.glob(pattern)):
            file.unlink()
    for file, content in kept.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def drop_unneeded(packages: Path) -> None:
    """Remove the libraries that wheels brought along and no extension module asks for any more."""
    brought = {file.name: file for file in packages.glob("*.libs/*.so*")}
    modules = [file for file in packages.rglob("*.so*") if file.name not in brought]
    kept: set[str] = set()
    while modules:
        wanted = {name for file in modules for name in needed(file)} & brought.keys()
        modules = [brought[name] for name in wanted - kept]
        kept |= wanted
    for name in brought.keys() - kept:
        brought[name].unlink()


def needed(file: Path) -> list[str]:
    """The names of the libraries that an ELF file is linked with."""
    told = subprocess.run(
        ["objdump", "--private-headers", str(file)], capture_output=True, text=True, check=True
    )
    return re.findall(r"^ +NEEDED +(\S+)$", told.stdout, re.M)


def strip(packages: Path) -> None:
    """Drop the symbols of extension modules; not of patched libraries beside them, nor of NVIDIA's."""
    for file in packages.rglob("*.so*"):
        foreign = any(part.endswith(".libs") or part == "nvidia" for part in file.parts)
        if not foreign and not file.is_symlink():
            subprocess.run(["strip", "--strip-unneeded", str(file)], check=True)


def main() -> None:
    for packages in map(Path, sys.argv[1:]):
        prune(packages)
        drop_unneeded(packages)
        strip(packages)


if __name__ == "__main__":
    main()
