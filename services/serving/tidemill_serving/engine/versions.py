"""Which versions of a model lie on disk, and which of them its policy wants."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from tidemill_chassis.logs import get_logger

from tidemill_serving.engine.status import StatusError, invalid_argument

log = get_logger(__name__)

VERSION_MAX = 2**63 - 1
_NUMBER = re.compile(r"[0-9]+")


@dataclass(frozen=True)
class Latest:
    """The highest `count` versions."""

    count: int = 1


@dataclass(frozen=True)
class All:
    """Every version."""


@dataclass(frozen=True)
class Specific:
    """These versions, as far as they exist."""

    versions: frozenset[int]


Policy = Latest | All | Specific


def scan(base_path: Path, name: str) -> dict[int, Path]:
    """The version folders below a base path. A name of digits is a number: ``00000123`` is 123.

    Raises:
        StatusError: the base path cannot be read; nothing may be concluded from that.
    """
    try:
        entries = sorted(os.scandir(base_path), key=lambda entry: entry.name)
    except OSError as error:
        raise _unreadable(base_path, name) from error
    found: dict[int, Path] = {}
    for entry in entries:
        if not _NUMBER.fullmatch(entry.name) or not entry.is_dir():
            continue
        version = int(entry.name)
        if version > VERSION_MAX:
            continue
        if version in found:
            log.warning("duplicate_version", model=name, version=version, folder=entry.name)
            continue
        found[version] = Path(entry.path)
    return found


def aspired(policy: Policy, found: dict[int, Path], name: str) -> dict[int, Path]:
    """The versions that the policy wants of those found."""
    if isinstance(policy, All):
        return dict(found)
    if isinstance(policy, Latest):
        wanted = sorted(found, reverse=True)[: policy.count]
        return {version: found[version] for version in wanted}
    for version in sorted(policy.versions - found.keys()):
        log.warning("version_missing", model=name, version=version)
    return {version: path for version, path in found.items() if version in policy.versions}


def _unreadable(base_path: Path, name: str) -> StatusError:
    return invalid_argument(f"Could not find base path {base_path} for servable {name}")
