"""Takes in the files that Cloud Storage announces, as they come."""

from __future__ import annotations

from collections.abc import Callable

from tidemill_chassis import worker
from tidemill_chassis.lifecycle import Stop
from tidemill_chassis.logs import get_logger
from tidemill_chassis.retry import Backoff
from tidemill_contracts.announced_files import SUBSCRIPTION, TOPIC, announced_file
from tidemill_contracts.bus import Bus, Delivery, Subscription
from tidemill_contracts.errors import InvalidInput, NotFound, Unavailable
from tidemill_contracts.layout import INBOX

from tidemill_ingest.inbox import Inbox

log = get_logger(__name__)

LEASE_S = 60.0
ATTEMPTS_MAX = 100
PULL_MAX = 10
"""Files may be large and slow to decode: what is pulled must be done within the lease."""
PAUSE_FIRST_S = 0.5
PAUSE_LIMIT_S = 30.0


class Announcements:
    """bucket: in which the inbox lies; what another one announces is not ours."""

    def __init__(self, inbox: Inbox, bucket: str) -> None:
        self._inbox = inbox
        self._bucket = bucket

    def handle(self, delivery: Delivery) -> None:
        """Take in the file that was announced; it is published and moved when this returns.

        One that was taken already, is gone, or was replaced since (which is announced by itself) is done.

        Raises:
            InvalidInput: it is no announcement of a file of our bucket.
            Unavailable: store or bus did not answer; the same again later takes it.
        """
        found = announced_file(delivery.message)
        if found is None:
            return
        if found.bucket != self._bucket:
            said = f"a file of bucket {found.bucket} was announced, the inbox is in {self._bucket}"
            raise InvalidInput(said)
        if not found.info.name.startswith(INBOX):
            return
        self._inbox.take_announced(found.info)


def listen(bus: Bus, open_inbox: Callable[[], Inbox], bucket: str, stop: Stop) -> None:
    """Take announced files until `stop`. While store or bus are away, tries again and again to begin."""
    backoff = Backoff(PAUSE_FIRST_S, PAUSE_LIMIT_S)
    while not stop.is_set():
        try:
            subscription = _subscribe(bus)
            announcements = Announcements(open_inbox(), bucket)
        except (Unavailable, NotFound) as error:
            pause_s = backoff.next_s()
            log.warning("announcements_not_heard", error=error, pause_s=round(pause_s, 2))
            stop.wait(pause_s)
        else:
            worker.run(subscription, announcements.handle, stop=stop, pull_max=PULL_MAX)


def _subscribe(bus: Bus) -> Subscription:
    return bus.subscribe(TOPIC, SUBSCRIPTION, ack_deadline_s=LEASE_S, attempts_max=ATTEMPTS_MAX)
