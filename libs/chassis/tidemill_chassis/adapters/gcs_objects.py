"""The store port on Google Cloud Storage, the service or an emulator.

The bucket must exist: `tidemill provision` makes it. Set STORAGE_EMULATOR_HOST to the URL of an emulator, on
which it is made when it is missing. Without it, Application Default Credentials must exist.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

from google.api_core.client_options import ClientOptions
from google.api_core.exceptions import Conflict as AlreadyThere
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import GoogleAuthError
from google.cloud import storage
from google.cloud.storage.exceptions import DataCorruption
from google.cloud.storage.retry import DEFAULT_RETRY
from tidemill_contracts.errors import Conflict, Corrupt, NotFound, Unavailable
from tidemill_contracts.objects import ABSENT, ObjectInfo, check_name

from tidemill_chassis.adapters.gcs_errors import translated
from tidemill_chassis.settings import SettingsError

EMULATOR_VARIABLE = "STORAGE_EMULATOR_HOST"
ANSWER_TIMEOUT_S = (3.05, 60.0)
RETRY_FIRST_S = 0.2
RETRY_LIMIT_S = 5.0
RETRY_TOTAL_S_MAX = 20.0
"""So long a call is tried again, with jitter, before the store counts as unavailable."""
READ_ATTEMPTS_MAX = 3
RACE_ATTEMPTS_MAX = 10
WRITE_MARK = "tidemill-write"
"""Metadata that names one write, so that its own repetition is not taken for somebody else's."""
FINALIZED, PAYLOAD_FORMAT = "OBJECT_FINALIZE", "JSON_API_V1"
PERMISSIONS = ("storage.objects.create", "storage.objects.get", "storage.objects.list")

T = TypeVar("T")
Rule = Mapping[str, Any]
"""A lifecycle rule as the JSON API writes it."""
_RETRY = DEFAULT_RETRY.with_delay(initial=RETRY_FIRST_S, maximum=RETRY_LIMIT_S).with_timeout(
    RETRY_TOTAL_S_MAX
)
_CALL: dict[str, Any] = {"timeout": ANSWER_TIMEOUT_S, "retry": _RETRY}


class CloudStore:
    """Objects in one bucket. Made by `from_url`; safe to use from several threads.

    Every write and deletion names the generation that it replaces, so that repeating it after a lost answer
    changes nothing. What goes over 8 MiB is uploaded resumably. CRC32C is checked on every way.
    """

    def __init__(self, client: storage.Client, bucket: str, *, emulator: bool) -> None:
        self._client = client
        self._bucket = client.bucket(bucket)
        self._emulator = emulator

    @classmethod
    def from_url(cls, url: str, environ: Mapping[str, str] = os.environ, *, make: bool = True) -> CloudStore:
        """A store in the bucket of ``gs://BUCKET``. The service is asked at the first call, not here.

        make: on an emulator, make the bucket if it is missing.

        Raises:
            SettingsError: the address is wrong, or there are no credentials.
            Unavailable: the emulator does not answer.
        """
        parts = urlsplit(url)
        if not parts.netloc or parts.path not in ("", "/"):
            raise SettingsError(f"TIDEMILL_STORE must be such as gs://my-bucket, not {url!r}")
        host = environ.get(EMULATOR_VARIABLE, "")
        made = cls(_client(host), parts.netloc, emulator=bool(host))
        if host and make:
            made.ensure_bucket()
        return made

    def ensure_bucket(self, location: str | None = None) -> None:
        """Make the bucket if it is missing: private, with access by role alone."""
        self._bucket.iam_configuration.uniform_bucket_level_access_enabled = True
        self._bucket.iam_configuration.public_access_prevention = "enforced"
        with translated(self._bucket.name), suppress(AlreadyThere):
            self._client.create_bucket(self._bucket, location=location, **_CALL)

    def has_bucket(self) -> bool:
        """Whether the bucket is there; raises Unavailable: it is somebody else's, or nobody answers."""
        with translated(self._bucket.name):
            return bool(self._bucket.exists(**_CALL))

    def missing_rules(self, rules: Sequence[Rule]) -> list[Rule]:
        """Those lifecycle rules that the bucket has not; its other rules are its owner's affair."""
        with translated(self._bucket.name):
            self._bucket.reload(**_CALL)
        known = [dict(rule) for rule in self._bucket.lifecycle_rules]
        return [rule for rule in rules if rule not in known]

    def add_rules(self, rules: Sequence[Rule]) -> None:
        """Add lifecycle rules to those that the bucket has."""
        with translated(self._bucket.name):
            self._bucket.reload(**_CALL)
            self._bucket.lifecycle_rules = [*self._bucket.lifecycle_rules, *rules]
            self._bucket.patch(if_metageneration_match=self._bucket.metageneration, **_CALL)

    def announces(self, topic: str, prefix: str) -> bool:
        """Whether the bucket tells the topic, by its full name, of every whole file below the prefix."""
        with translated(self._bucket.name):
            known = list(self._bucket.list_notifications(**_CALL))
        return any(
            one.topic_name == topic.rpartition("/")[2]
            and one.topic_project == topic.split("/")[1]
            and (one.blob_name_prefix or "") == prefix
            and one.payload_format == PAYLOAD_FORMAT
            and (one.event_types is None or FINALIZED in one.event_types)
            for one in known
        )

    def announce(self, topic: str, prefix: str) -> None:
        """Let the bucket tell the topic of every file that is whole below the prefix from now on.

        Raises:
            Unavailable: Cloud Storage's own account may not publish there, or nobody answers.
        """
        made = self._bucket.notification(
            topic_name=topic.rpartition("/")[2],
            topic_project=topic.split("/")[1],
            event_types=[FINALIZED],
            blob_name_prefix=prefix,
            payload_format=PAYLOAD_FORMAT,
        )
        with translated(self._bucket.name):
            made.create(**_CALL)

    def put(self, name: str, data: bytes, *, if_generation: int | None = None) -> ObjectInfo:
        check_name(name)
        if if_generation is not None:
            return self._write(name, data, if_generation)
        return self._over_whatever_is_there(name, lambda generation: self._write(name, data, generation))

    def _write(self, name: str, data: bytes, generation: int) -> ObjectInfo:
        blob = self._bucket.blob(name)
        mark = uuid4().hex
        blob.metadata = {WRITE_MARK: mark}
        try:
            with translated(name):
                blob.upload_from_string(
                    data,
                    content_type="application/octet-stream",
                    if_generation_match=generation,
                    checksum="crc32c",
                    **_CALL,
                )
        except Conflict:
            found = self._find(name)
            if found is None or (found.metadata or {}).get(WRITE_MARK) != mark:
                raise
            return _info(found)  # the answer to an earlier attempt of ours was lost
        return _info(blob)

    def get(self, name: str) -> bytes:
        check_name(name)
        for _ in range(READ_ATTEMPTS_MAX):
            with translated(name), suppress(DataCorruption):
                return bytes(self._bucket.blob(name).download_as_bytes(checksum="crc32c", **_CALL))
        raise Corrupt(f"{name} does not match its checksum, read {READ_ATTEMPTS_MAX} times")

    def stat(self, name: str) -> ObjectInfo:
        check_name(name)
        found = self._find(name)
        if found is None:
            raise NotFound(f"there is no object {name}")
        return _info(found)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        with translated(self._bucket.name):
            fields = "items(name,size,generation),nextPageToken"
            for blob in self._client.list_blobs(self._bucket, prefix=prefix, fields=fields, **_CALL):
                yield _info(blob)

    def delete(self, name: str) -> None:
        check_name(name)

        def delete(generation: int) -> None:
            if generation != ABSENT:
                with translated(name), suppress(NotFound):
                    self._bucket.blob(name).delete(if_generation_match=generation, **_CALL)

        with suppress(NotFound):
            self._over_whatever_is_there(name, delete)

    def ping(self) -> None:
        with translated(self._bucket.name):
            if self._emulator:
                self._client.get_bucket(self._bucket, **_CALL)
                return
            granted = self._bucket.test_iam_permissions(list(PERMISSIONS), **_CALL)
        lacking = set(PERMISSIONS) - set(granted)
        if lacking:
            raise Unavailable(f"no permission on {self._bucket.name}: grant {', '.join(sorted(lacking))}")

    def _over_whatever_is_there(self, name: str, act: Callable[[int], T]) -> T:
        """Act on the name's generation of the moment; again, if somebody else was quicker."""
        for _ in range(RACE_ATTEMPTS_MAX):
            found = self._find(name)
            with suppress(Conflict):
                return act(ABSENT if found is None else int(found.generation))
        raise Unavailable(f"{name} was changed by others {RACE_ATTEMPTS_MAX} times in between")

    def _find(self, name: str) -> Any:
        with translated(name):
            return self._bucket.get_blob(name, **_CALL)


def _client(emulator: str) -> storage.Client:
    if emulator:
        endpoint = emulator if "://" in emulator else f"http://{emulator}"
        return storage.Client(
            project="emulator",
            credentials=AnonymousCredentials(),
            client_options=ClientOptions(api_endpoint=endpoint),
        )
    try:
        return storage.Client()
    except (GoogleAuthError, OSError) as error:
        raise SettingsError(
            f"no Google credentials: run `gcloud auth application-default login`, or set "
            f"{EMULATOR_VARIABLE}=http://127.0.0.1:9000 ({error})"
        ) from error


def _info(blob: Any) -> ObjectInfo:
    return ObjectInfo(blob.name, int(blob.size), int(blob.generation))
