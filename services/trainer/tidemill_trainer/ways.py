"""The ways in which batches reach the trainer: pulled for ever, pulled until all is done, or pushed."""

from __future__ import annotations

from collections.abc import Callable

from tidemill_chassis import worker
from tidemill_chassis.lifecycle import Stop
from tidemill_chassis.logs import get_logger
from tidemill_chassis.push import Receive, receive_with
from tidemill_chassis.push_access import Verify
from tidemill_chassis.retry import Backoff
from tidemill_chassis.settings import Address
from tidemill_contracts.bus import Bus, Delivery, Subscription
from tidemill_contracts.errors import Unavailable

from tidemill_trainer.worker import SUBSCRIPTION, TOPIC, Trainer

log = get_logger(__name__)

PUSHED_PAUSE_S = 1.0
"""Between two looks at what is due, when nobody pulls."""
PULL_WAIT_S = 2.0
"""When all is to be done once: a topic that gave nothing for so long has nothing."""


def run_pulling(trainer: Trainer, subscription: Subscription, stop: Stop) -> None:
    """Work until `stop`."""
    worker.run(subscription, trainer.handle, stop=stop, idle=trainer.idle)


def run_once(
    trainer: Trainer, subscription: Subscription, stop: Stop, *, wait_s: float = PULL_WAIT_S
) -> None:
    """Do everything that is due now, for every model that nobody else holds; then return.

    While a neighbour does not answer it is waited for: whoever starts this sets the limit.
    """
    heard: list[str] = []

    def handle(delivery: Delivery) -> None:
        heard.append(delivery.message_id)
        trainer.handle(delivery)

    def idle() -> None:
        done = trainer.advance()
        if not heard and not done:
            stop.set()
        heard.clear()

    worker.run(subscription, handle, stop=stop, idle=idle, wait_s=wait_s)


def run_pushed(
    trainer: Trainer,
    bus: Bus,
    stop: Stop,
    *,
    bind: Address,
    ready: Callable[[], None],
    verify: Verify,
) -> None:
    """Work until `stop`. A push request is answered 2xx once its batch is noted; training goes on beside it.

    Raises:
        OSError: the address is taken.
    """
    from tidemill_chassis.push_server import PushServer  # brings Flask, which who pulls need not carry

    receive: Receive = receive_with(trainer.handle, bus, TOPIC, SUBSCRIPTION)
    backoff = Backoff(worker.PAUSE_FIRST_S, worker.PAUSE_LIMIT_S)
    with PushServer(bind, ready, receive=receive, verify=verify):
        while not stop.is_set():
            pause_s = PUSHED_PAUSE_S
            try:
                trainer.idle()
                backoff.reset()
            except Unavailable as error:
                pause_s = backoff.next_s()
                log.warning("paused", error=error, pause_s=round(pause_s, 2))
            stop.wait(pause_s)
