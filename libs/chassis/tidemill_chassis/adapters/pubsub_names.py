"""Which Pub/Sub resources a bus uses, and how it pulls: ``pubsub://PROJECT`` or ``pubsub://PROJECT/PREFIX``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from tidemill_contracts.bus import DEAD_SUFFIX
from tidemill_contracts.errors import InvalidInput

from tidemill_chassis.settings import SettingsError

PREFIX = "tidemill"
_PULLS = {"": False, "pull=unary": False, "pull=streaming": True}
_RESOURCE = re.compile(r"(?!goog)[A-Za-z][A-Za-z0-9._~+%-]{2,254}")


@dataclass(frozen=True)
class PubsubNames:
    """Full names of topics and subscriptions. prefix: keeps platforms apart that share a project.

    streaming: messages come by an open stream (``?pull=streaming``) instead of being asked for.

    Pub/Sub knows a subscription by its name alone, the bus by topic and name: so its name holds both.
    """

    project: str
    prefix: str = PREFIX
    streaming: bool = False

    @classmethod
    def from_url(cls, url: str) -> PubsubNames:
        """Raises SettingsError: the address has no project, or more than a project, a prefix and `pull`."""
        parts = urlsplit(url)
        prefix = unquote(parts.path).strip("/") or PREFIX
        if not parts.netloc or "/" in prefix or parts.query not in _PULLS:
            raise SettingsError(
                f"TIDEMILL_BUS must be such as pubsub://my-project or pubsub://my-project?pull=streaming, "
                f"not {url!r}"
            )
        return cls(parts.netloc, prefix, _PULLS[parts.query])

    def topic(self, topic: str) -> str:
        """Raises InvalidInput: Pub/Sub takes no such name."""
        return f"projects/{self.project}/topics/{_checked(f'{self.prefix}.{topic}')}"

    def dead_topic(self, topic: str) -> str:
        """Where the topic's dead letters go; those of a dead-letter topic go back to its end."""
        return self.topic(topic.removesuffix(DEAD_SUFFIX) + DEAD_SUFFIX)

    def subscription(self, topic: str, subscription: str) -> str:
        """Raises as `topic` does."""
        name = _checked(f"{self.prefix}.{topic}.{subscription}")
        return f"projects/{self.project}/subscriptions/{name}"


def _checked(name: str) -> str:
    if not _RESOURCE.fullmatch(name):
        raise InvalidInput(f"Pub/Sub takes no name like {name!r}: 3 to 255 letters, digits and . _ ~ + % -")
    return name
