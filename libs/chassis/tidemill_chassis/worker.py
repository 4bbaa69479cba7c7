"""The loop of a service that consumes a subscription one delivery at a time."""

from __future__ import annotations

from collections.abc import Callable

from tidemill_contracts.bus import Delivery, Subscription
from tidemill_contracts.errors import Conflict, Corrupt, InvalidInput, NotFound, Unavailable

from tidemill_chassis.lifecycle import Stop
from tidemill_chassis.logs import get_logger
from tidemill_chassis.retry import Backoff

log = get_logger(__name__)

PULL_MAX = 100
PULL_WAIT_S = 1.0
PAUSE_FIRST_S = 0.2
PAUSE_LIMIT_S = 10.0


def run(
    subscription: Subscription,
    handle: Callable[[Delivery], None],
    *,
    stop: Stop,
    pull_max: int = PULL_MAX,
    wait_s: float = PULL_WAIT_S,
    idle: Callable[[], None] | None = None,
) -> None:
    """Handle deliveries until `stop`; acknowledge each after its effect is durable.

    What `handle` raises decides: Unavailable gives the delivery back and pauses; InvalidInput, NotFound,
    Conflict and Corrupt put it aside as a dead letter with the reason. Anything else is a fault of ours:
    it is logged and given back, and the bus puts it aside after its last attempt.

    idle: called after every pull, also an empty one.
    """
    backoff = Backoff(PAUSE_FIRST_S, PAUSE_LIMIT_S)
    while not stop.is_set():
        try:
            deliveries = subscription.pull(pull_max, wait_s)
            for index, delivery in enumerate(deliveries):
                if stop.is_set():
                    subscription.give_back([rest.ack_id for rest in deliveries[index:]])
                    break
                _settle(subscription, delivery, handle)
            if idle is not None:
                idle()
            backoff.reset()
        except Unavailable as error:
            pause_s = backoff.next_s()
            log.warning("paused", error=error, pause_s=round(pause_s, 2))
            stop.wait(pause_s)


def _settle(subscription: Subscription, delivery: Delivery, handle: Callable[[Delivery], None]) -> None:
    try:
        handle(delivery)
    except Unavailable:
        subscription.give_back([delivery.ack_id])
        raise
    except (InvalidInput, NotFound, Conflict, Corrupt) as error:
        log.warning("dead_lettered", error=error, message_id=delivery.message_id)
        subscription.dead_letter(delivery, str(error))
    except Exception as error:  # noqa: BLE001  (one broken message must not stop the others)
        log.error("handler_failed", error=error, message_id=delivery.message_id, attempt=delivery.attempt)
        subscription.give_back([delivery.ack_id], delay_s=PAUSE_LIMIT_S)
    else:
        subscription.acknowledge([delivery.ack_id])
