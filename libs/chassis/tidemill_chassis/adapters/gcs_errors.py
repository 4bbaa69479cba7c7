"""Cloud Storage's errors in our classes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import requests
from google.api_core import exceptions as api
from google.auth.exceptions import GoogleAuthError
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
from tidemill_contracts.errors import Conflict, NotFound, Overloaded, Unavailable

OVERLOADED_RETRY_S = 5.0
_BUCKET_GONE = "bucket does not exist"


@contextmanager
def translated(name: str) -> Iterator[None]:
    """name: of the object or bucket that the call is about."""
    try:
        yield
    except api.PreconditionFailed as error:
        raise Conflict(f"{name} is at another generation") from error
    except api.NotFound as error:
        if _BUCKET_GONE in str(error):
            raise Unavailable(f"the bucket does not exist: type `tidemill provision` ({name})") from error
        raise NotFound(f"there is no object {name}") from error
    except (api.Forbidden, api.Unauthorized) as error:
        raise Unavailable(
            f"Cloud Storage lets this account not in: it needs roles/storage.objectUser on the bucket "
            f"({error.message})"
        ) from error
    except api.TooManyRequests as error:
        raise Overloaded(
            f"Cloud Storage takes no more for now: {name}", retry_after_s=OVERLOADED_RETRY_S
        ) from error
    except (
        api.GoogleAPIError,
        GoogleAuthError,
        InvalidResponse,
        DataCorruption,
        requests.RequestException,
        OSError,
    ) as error:
        raise Unavailable(f"Cloud Storage does not answer: {' '.join(str(error).split())[:300]}") from error
