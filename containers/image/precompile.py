"""Compiles the modules that a service imports at its start, and no others.

    PYTHONPYCACHEPREFIX=/opt/pycache python containers/image/precompile.py tidemill_ingest.main

A container's root file system is read-only: Python could never write what it compiled. Compiling everything
that is installed would add twice as much to the image as is ever read. The standard library is compiled too:
the base image comes without.
"""

from __future__ import annotations

import importlib
import py_compile
import sys


def main() -> None:
    for name in sys.argv[1:]:
        importlib.import_module(name)
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and file.endswith(".py") and name != "__main__":
            # Never compared with the source again: nobody can change either in an image.
            mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
            py_compile.compile(file, invalidation_mode=mode, doraise=True)


if __name__ == "__main__":
    main()
