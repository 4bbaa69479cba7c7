"""The thread that looks into the inbox again and again."""

from __future__ import annotations

from collections.abc import Callable

from tidemill_chassis.lifecycle import Stop
from tidemill_chassis.logs import get_logger
from tidemill_chassis.retry import Backoff
from tidemill_contracts.errors import Unavailable

from tidemill_ingest.inbox import Inbox

log = get_logger(__name__)

PAUSE_LIMIT_S = 30.0


def watch(open_inbox: Callable[[], Inbox], *, poll_s: float, stop: Stop) -> None:
    """Poll until `stop`. An outage is told once when it begins and once when it ends.

    open_inbox: called again until it succeeds: HTTP works without a store, so ingest starts without one.
    """
    inbox: Inbox | None = None
    backoff = Backoff(poll_s, max(poll_s, PAUSE_LIMIT_S))
    failing = False
    pause_s = 0.0
    while not stop.wait(pause_s):
        try:
            inbox = inbox or open_inbox()
            inbox.poll()
        except Exception as error:  # noqa: BLE001  (a thread that dies would leave the inbox unwatched, unseen)
            if not failing:
                tell = log.warning if isinstance(error, Unavailable) else log.error
                tell("inbox_outage_began", error=error)
            failing = True
            pause_s = backoff.next_s()
        else:
            if failing:
                log.info("inbox_outage_ended")
            failing = False
            backoff.reset()
            pause_s = poll_s
