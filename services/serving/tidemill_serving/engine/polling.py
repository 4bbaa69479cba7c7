"""Looks for new versions at an interval, until stopped."""

from __future__ import annotations

from tidemill_chassis.lifecycle import Stop
from tidemill_chassis.logs import get_logger

from tidemill_serving.engine.core import Core
from tidemill_serving.engine.model_config import Configs, read_file
from tidemill_serving.engine.status import StatusError

log = get_logger(__name__)


def poll_config(core: Core, path: str, every_s: int, stop: Stop) -> None:
    """Look at the configuration file every `every_s` seconds, and reload when its content is new and right.

    A file that is wrong, empty, or caught in the middle of being written, leaves the models as they are.
    """
    before: Configs | None = None
    while every_s > 0 and not stop.wait(every_s):
        try:
            configs = read_file(path)
            if configs is None:
                log.info("empty_config_ignored", path=path)
                continue
            if configs != before:
                core.reload(configs)
                log.info("config_reloaded", models=[config.name for config in configs])
            before = configs
        except StatusError as error:
            log.error("config_refused", code=error.code.name, reason=error.message)
        except Exception as error:  # noqa: BLE001  (one bad file must not end all looking)
            log.error("config_look_failed", error=error)


def poll(core: Core, every_s: int, stop: Stop) -> None:
    """Look every `every_s` seconds until `stop`. 0 or less: not again after the configuration's own look."""
    while every_s > 0 and not stop.wait(every_s):
        try:
            core.look()
        except Exception as error:  # noqa: BLE001  (one bad look must not end all looking)
            log.error("look_failed", error=error)
