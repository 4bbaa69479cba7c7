"""One JSON line per thing that happened: an event's name, ids, then measures with units."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime

_LEVELS = {"debug", "info", "warning", "error"}
_VALUE_LENGTH_MAX = 2000
_service = "tidemill"


class Log:
    """Writes events. Never hand it a payload, a token or a person."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, event: str, **fields: object) -> None:
        self._write(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: object) -> None:
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, *, error: BaseException | None = None, **fields: object) -> None:
        self._write(logging.WARNING, event, fields, error)

    def error(self, event: str, *, error: BaseException | None = None, **fields: object) -> None:
        self._write(logging.ERROR, event, fields, error)

    def _write(
        self, level: int, event: str, fields: dict[str, object], error: BaseException | None = None
    ) -> None:
        self._logger.log(level, event, extra={"fields": fields, "error": error})


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": _service,
            "event": record.getMessage(),
        }
        line.update(getattr(record, "fields", {}))
        error = getattr(record, "error", None) or (record.exc_info[1] if record.exc_info else None)
        if error is not None:
            line["error"] = f"{type(error).__name__}: {error}"
            if record.levelno >= logging.ERROR:
                line["trace"] = "".join(traceback.format_exception(error))[-4000:]
        return json.dumps(line, default=_shortened)


def _shortened(value: object) -> str:
    return str(value)[:_VALUE_LENGTH_MAX]


def configure(service: str, level: str = "info") -> None:
    """Send every log of this process to standard error as JSON lines, from `level` upward.

    Raises:
        ValueError: there is no such level.
    """
    if level.lower() not in _LEVELS:
        raise ValueError(f"TIDEMILL_LOG_LEVEL must be one of {', '.join(sorted(_LEVELS))}, not {level!r}")
    global _service
    _service = service
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("werkzeug", "absl", "h5py", "matplotlib"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def get_logger(name: str) -> Log:
    """The log of one module: ``log = get_logger(__name__)``."""
    return Log(name)
