"""Asks a cluster's API over HTTPS, as whoever the trainer runs as."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tidemill_contracts.errors import InvalidInput, Unavailable

from tidemill_trainer.launchers.clusters import ApiCall

TIMEOUT_S = 30.0
ANSWER_BYTES_MAX = 4 * 2**20
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
IN_CLUSTER = "https://kubernetes.default.svc"
CLOUD_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


class Api:
    """Sends calls to an API.

    address: such as `https://kubernetes.default.svc`. token: asked before each call, for tokens end.
    authority: PEM file of who signs the API's certificate; those that the machine trusts if None.
    """

    def __init__(self, address: str, token: Callable[[], str], *, authority: Path | None = None) -> None:
        self._address, self._token, self._authority = address, token, authority

    def send(self, call: ApiCall) -> Mapping[str, Any]:
        """The API's answer.

        Raises:
            Unavailable: it does not answer, or not now; try again.
            InvalidInput: it refuses the call; the text says why.
        """
        body = json.dumps(call.body).encode() if call.body is not None else None
        headers = {"authorization": f"Bearer {self._token()}", "content-type": "application/json"}
        request = urllib.request.Request(  # noqa: S310  (the address is the operator's)
            self._address + call.path, data=body, headers=headers, method=call.method
        )
        secure = self._address.startswith("https:")
        context = ssl.create_default_context(cafile=self._authority) if secure else None
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S, context=context) as answer:  # noqa: S310
                found: Mapping[str, Any] = json.loads(answer.read(ANSWER_BYTES_MAX) or b"{}")
                return found
        except urllib.error.HTTPError as error:
            said = error.read(500).decode("utf-8", "replace")
            kind = Unavailable if error.code == 429 or error.code >= 500 else InvalidInput
            raise kind(f"{call.method} {call.path}: HTTP {error.code}: {said}") from error
        except (OSError, ValueError) as error:
            raise Unavailable(f"no answer at {self._address}: {error}") from error


def of_kubernetes() -> Api:
    """The API of the cluster that the trainer runs in, as the pod's service account."""
    return Api(IN_CLUSTER, lambda: (ACCOUNT / "token").read_text().strip(), authority=ACCOUNT / "ca.crt")


def of_vertex(region: str) -> Api:
    """Vertex AI of a region, by the application's default credentials."""
    return Api(f"https://{region}-aiplatform.googleapis.com", _google_token)


def _google_token() -> str:
    import google.auth
    from google.auth.transport.requests import Request

    try:
        credentials, _ = google.auth.default(scopes=[CLOUD_SCOPE])
        credentials.refresh(Request())
        return str(credentials.token)
    except google.auth.exceptions.GoogleAuthError as error:
        raise Unavailable(f"no credentials of Google: {error}") from error
