"""Prints what projects need from others, so that an image's dependencies are installed before its code.

    python containers/image/requirements.py libs/contracts 'libs/chassis[gcp]' services/ingest

Our own packages are left out: they come as wheels. ``--swap OLD=NEW`` puts NEW, at the version to which the
constraints pin OLD, where OLD is asked for; ``--drop NAME`` leaves one out.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

CONSTRAINTS = Path("requirements/constraints.txt")
_NAME = re.compile(r"[A-Za-z0-9._-]+")


def wanted(project: str) -> Iterator[str]:
    """The requirements of a project's folder, with those of the extras in brackets."""
    folder, _, extras = project.rstrip("]").partition("[")
    described = tomllib.loads((Path(folder) / "pyproject.toml").read_text())["project"]
    yield from described.get("dependencies", [])
    for extra in filter(None, extras.split(",")):
        yield from described["optional-dependencies"][extra]


def name_of(requirement: str) -> str:
    """The package's name as the index compares it."""
    found = _NAME.match(requirement)
    if found is None:
        raise SystemExit(f"this is not a requirement: {requirement!r}")
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def pin_of(name: str) -> str:
    """``==VERSION`` as the constraints have it."""
    for line in CONSTRAINTS.read_text().splitlines():
        if name_of(line or "-") == name:
            return line[line.index("==") :]
    raise SystemExit(f"{CONSTRAINTS} has no pin of {name}")


def main() -> None:
    parser = argparse.ArgumentParser(description="What projects need from others, a line each.")
    parser.add_argument("projects", nargs="+")
    parser.add_argument("--swap", action="append", default=[], metavar="OLD=NEW")
    parser.add_argument("--drop", action="append", default=[], metavar="NAME")
    options = parser.parse_args()
    swaps = dict(swap.split("=", 1) for swap in options.swap)
    found: dict[str, None] = {}
    for project in options.projects:
        for requirement in wanted(project):
            name = name_of(requirement)
            if name in swaps and swaps[name] != name:
                found[swaps[name] + pin_of(name)] = None
            elif name not in options.drop and not name.startswith("tidemill"):
                found[requirement] = None
    sys.stdout.writelines(f"{requirement}\n" for requirement in found)


if __name__ == "__main__":
    main()
