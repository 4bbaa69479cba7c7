"""The command tidemill-model-server: tensorflow_model_server's flags and protocols, in this process."""

from __future__ import annotations

import os
import sys

from tidemill_chassis import logs, memory, scheduling
from tidemill_chassis.lifecycle import Stop, stop_on_signals

from tidemill_serving.engine.flags import FlagError, Flags, parse, usage
from tidemill_serving.engine.status import StatusError

PROGRAM = "tidemill-model-server"

EXIT_FAILED = 255
log = logs.get_logger(__name__)


def main() -> None:
    """Parse the flags, serve until SIGTERM or SIGINT, drain, leave with 0."""
    logs.configure("serving-engine", os.environ.get("TIDEMILL_LOG_LEVEL", "info"))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    memory.keep_freed()
    scheduling.make_way()
    if "--help" in sys.argv[1:]:
        sys.stdout.write(usage(PROGRAM) + "\n")
        return
    try:
        flags = parse(sys.argv[1:])
        serve(flags, stop_on_signals())
    except FlagError as error:
        _leave(f"{error}\n{usage(PROGRAM)}")
    except StatusError as error:
        _leave(f"Failed to start server. Error: {error.code.name}: {error.message}")
    except OSError as error:
        _leave(f"Failed to start server. Error: {error}")


def serve(flags: Flags, stop: Stop) -> None:
    """Serve until `stop`. TensorFlow is imported here, so that a wrong flag is told at once."""
    from tidemill_serving.engine import running

    if flags.version:
        sys.stdout.write(running.versions_text())
        return
    running.run(flags, stop)


def _leave(text: str) -> None:
    sys.stderr.write(text + "\n")
    raise SystemExit(EXIT_FAILED)


if __name__ == "__main__":
    main()
