"""Files dropped into the store's `inbox/<dataset>/<label>/` become samples."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pydantic import ValidationError
from tidemill_chassis.logs import get_logger
from tidemill_contracts.errors import InvalidInput, NotFound
from tidemill_contracts.layout import INBOX, INBOX_DONE
from tidemill_contracts.objects import ObjectInfo, ObjectStore, check_name
from tidemill_contracts.samples import Sample

from tidemill_ingest import measures
from tidemill_ingest.handlers import Intake
from tidemill_ingest.packing import Origin
from tidemill_ingest.submissions import read_form

log = get_logger(__name__)

REFUSED = "inbox-refused/"
REASON = ".reason.txt"
SOURCE = "inbox"
FILES_AT_ONCE_MAX = 200
BYTES_AT_ONCE_MAX = 16 * 1024 * 1024


@dataclass(frozen=True)
class Settled:
    """A file that is taken in: where it stood, its bytes, the sample it became."""

    info: ObjectInfo
    data: bytes
    origin: Origin
    sample: Sample


class Inbox:
    """Watches by looking: works on every store.

    A file is taken once its size and generation stayed the same for `settle_s`, so that half-copied files
    are left alone; one that the store announces is whole, and is taken at once. It is published first and
    moved to `inbox-done/` after; killed in between, it is published again under the same sample id. A refused
    one goes to `inbox-refused/`, beside a text that says why. Names with a part that begins with a dot are
    not looked at.
    """

    def __init__(
        self,
        store: ObjectStore,
        intake: Intake,
        *,
        settle_s: float,
        size_bytes_max: int,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._intake = intake
        self._settle_s = settle_s
        self._size_bytes_max = size_bytes_max
        self._clock = clock
        self._seen: dict[ObjectInfo, float] = {}
        self._left: set[ObjectInfo] = set()

    def poll(self) -> int:
        """Take in what has settled; say how many files were published.

        Raises:
            Unavailable: the store or the bus did not answer; what was not moved is taken at the next poll.
        """
        return self._take_in(self._settled())

    def take_announced(self, info: ObjectInfo) -> int:
        """Take in a file of which is known that it is whole; say how many files were published.

        It is left alone if the name holds another generation by now, or nothing. Raises as `poll` does.
        """
        if not _is_visible(info.name):
            return 0
        try:
            if self._store.stat(info.name) != info:
                return 0
        except NotFound:
            return 0
        return self._take_in([info])

    def _take_in(self, infos: list[ObjectInfo]) -> int:
        published = 0
        for portion in _portions(infos):
            taken = [settled for info in portion if (settled := self._take(info)) is not None]
            for origin in dict.fromkeys(settled.origin for settled in taken):
                of_origin = [settled for settled in taken if settled.origin == origin]
                self._intake.publish(origin, [settled.sample for settled in of_origin])
                for settled in of_origin:
                    self._move(settled.info, settled.data, INBOX_DONE)
                log.info("inbox_taken", dataset=origin.dataset, files=len(of_origin))
                published += len(of_origin)
        return published

    def _settled(self) -> list[ObjectInfo]:
        now_s = self._clock()
        present = {info for info in self._store.list(INBOX) if _is_visible(info.name)}
        self._seen = {
            info: self._seen.get(info, now_s) for info in sorted(present, key=lambda info: info.name)
        }
        self._left &= present
        return [
            info
            for info, since_s in self._seen.items()
            if now_s - since_s >= self._settle_s and info not in self._left
        ]

    def _take(self, info: ObjectInfo) -> Settled | None:
        """The file as a sample; None if it is refused or gone."""
        if info.size_bytes > self._size_bytes_max:
            self._refuse(info, None, f"{info.size_bytes} bytes is over the limit of {self._size_bytes_max}")
            return None
        try:
            data = self._store.get(info.name)
        except NotFound:
            return None
        try:
            origin, label = _place(info.name)
            sample = self._intake.prepare_one(origin, _sample(label, data), "file")
        except InvalidInput as error:
            self._refuse(info, data, str(error))
            return None
        return Settled(info, data, origin, sample)

    def _refuse(self, info: ObjectInfo, data: bytes | None, reason: str) -> None:
        """Put the file aside with the reason; one too large to be read stays where it is."""
        name = REFUSED + info.name.removeprefix(INBOX)
        measures.REFUSED.labels("inbox", "InvalidInput").inc()
        log.warning("inbox_refused", file=info.name, reason=reason)
        self._store.put(name + REASON, f"{reason}\n".encode("utf-8", "replace"))
        if data is None:
            self._left.add(info)
        else:
            self._move(info, data, REFUSED)

    def _move(self, info: ObjectInfo, data: bytes, folder: str) -> None:
        self._store.put(folder + info.name.removeprefix(INBOX), data)
        try:
            if self._store.stat(info.name) == info:  # else it was replaced meanwhile, and is a new file
                self._store.delete(info.name)
        except NotFound:
            return


def _is_visible(name: str) -> bool:
    if any(part.startswith(".") for part in name.split("/")):
        return False
    try:
        check_name(REFUSED + name + REASON)
    except (InvalidInput, UnicodeEncodeError):  # names of a file system need not be text
        return False
    return True


def _place(name: str) -> tuple[Origin, str]:
    parts = name.removeprefix(INBOX).split("/")
    if len(parts) != 3:
        raise InvalidInput(f"put files into {INBOX}<dataset>/<label>/, not at {name}")
    form = read_form({"dataset": parts[0], "label": parts[1], "source": SOURCE})
    return Origin(form.dataset, form.split, form.source), form.label


def _sample(label: str, data: bytes) -> Sample:
    if not data:
        raise InvalidInput("the file is empty")
    try:
        return Sample(label=label, image=base64.b64encode(data).decode())
    except ValidationError as error:
        raise InvalidInput(str(error.errors(include_url=False)[0]["msg"])) from error


def _portions(infos: list[ObjectInfo]) -> Iterator[list[ObjectInfo]]:
    portion: list[ObjectInfo] = []
    for info in infos:
        heavy = sum(one.size_bytes for one in portion) + info.size_bytes > BYTES_AT_ONCE_MAX
        if portion and (heavy or len(portion) >= FILES_AT_ONCE_MAX):
            yield portion
            portion = []
        portion.append(info)
    if portion:
        yield portion
