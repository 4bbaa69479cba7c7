"""Who may push messages in: only one account, with a token that was made for us."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tidemill_chassis.settings import Address, Environment

Verify = Callable[[str], None]
"""Returns if a bearer token lets its bearer in; raises Refused with the reason, or Unavailable."""


class Refused(Exception):
    """The token does not let its bearer in; the text says why."""


@dataclass(frozen=True)
class PushSettings:
    """bind: where push requests and health are answered.

    audience: what the tokens must be made for: the audience that the push subscription names.
    account: e-mail of the service account in whose name the subscription pushes.
    """

    bind: Address
    audience: str
    account: str

    @classmethod
    def from_env(cls, env: Environment, bind_name: str) -> PushSettings | None:
        """None: the variable `bind_name` is not set, so messages are pulled.

        Raises:
            SettingsError: it is set, and audience or account are missing.
        """
        if not env.text(bind_name, ""):
            return None
        return cls(
            bind=env.address(bind_name, "0.0.0.0:8080"),
            audience=env.text("TIDEMILL_PUSH_AUDIENCE", example="https://persistor-x.run.app/push"),
            account=env.text("TIDEMILL_PUSH_ACCOUNT", example="push@my-project.iam.gserviceaccount.com"),
        )
