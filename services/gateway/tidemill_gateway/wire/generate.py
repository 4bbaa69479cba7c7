"""Generates the *_pb2 modules from the .proto files beside it.

``python -m tidemill_gateway.wire.generate``; needs the package grpcio-tools.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    """Generate every module and its types."""
    from grpc_tools import protoc  # type: ignore[import-untyped]

    root = HERE.parent.parent
    names = [str(path.relative_to(root)) for path in sorted(HERE.glob("*.proto"))]
    options = [f"--proto_path={root}", f"--python_out={root}", f"--pyi_out={root}"]
    well_known = Path(protoc.__file__).parent / "_proto"
    code = int(protoc.main(["protoc", *options, f"--proto_path={well_known}", *names]))
    for stub in HERE.glob("*_pb2.pyi"):
        _complete_types(stub)
    return code


def _complete_types(stub: Path) -> None:
    """The compiler writes bare `Mapping`, which strict type checking refuses."""
    text = stub.read_text().replace("_Mapping]", "_Mapping[str, _Any]]")
    stub.write_text(text.replace("from typing import ", "from typing import Any as _Any, ", 1))


if __name__ == "__main__":
    sys.exit(main())
