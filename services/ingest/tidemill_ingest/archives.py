"""ZIP files of pictures, a folder per label: unpacked within limits, whatever the archive says of itself."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from tidemill_contracts.errors import InvalidInput, TooLarge
from tidemill_contracts.events import SAMPLES_PER_MESSAGE_MAX

MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
DIRECTORY_BYTES_MAX = 4 * 1024 * 1024
"""Of an archive's table of contents, which is read whole: an entry takes ten times as much in memory."""
_END = struct.Struct("<4s4H2LH")
_END_MARK = b"PK\x05\x06"
_LARGE_MARK, _LARGE_LOCATOR_BYTES = b"PK\x06\x07", 20
_COMMENT_BYTES_MAX = 2**16
_ENCRYPTED = 1
_PACKED_AS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Others may ask for gigabytes of memory before they give a byte."""


@dataclass(frozen=True)
class Unpacked:
    """A file of an archive. name: in the archive. label: the folder that it lies in."""

    name: str
    label: str
    data: bytes


def is_archive(data: bytes) -> bool:
    return data.startswith(MAGIC)


def unpack(data: bytes, *, file_bytes_max: int, all_bytes_max: int) -> Iterator[Unpacked]:
    """The archive's files in its order, without hidden ones. No more than the limits are ever unpacked.

    Raises:
        InvalidInput: it is no sound ZIP, is encrypted, or has a file outside a folder.
        TooLarge: a limit is reached.
    """
    _check_directory(data)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = [
                info for info in archive.infolist() if not info.is_dir() and not _is_hidden(info.filename)
            ]
            if not 1 <= len(entries) <= SAMPLES_PER_MESSAGE_MAX:
                raise InvalidInput(
                    f"an archive holds 1 to {SAMPLES_PER_MESSAGE_MAX} pictures, not {len(entries)}"
                )
            left = all_bytes_max
            for info in entries:
                content = _read(archive, info, min(file_bytes_max, left))
                left -= len(content)
                yield Unpacked(info.filename, _label(info.filename), content)
    # zipfile's NotImplementedError: a compression or an encryption that it does not know.
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, OSError) as error:
        raise InvalidInput(f"the archive is damaged: {error}") from error


def _check_directory(data: bytes) -> None:
    """Look at the table of contents' own size before it is read."""
    place = data.rfind(_END_MARK, max(0, len(data) - _END.size - _COMMENT_BYTES_MAX))
    if place < 0 or place + _END.size > len(data):
        raise InvalidInput("the archive is damaged: it has no end")
    if data.startswith(_LARGE_MARK, max(0, place - _LARGE_LOCATOR_BYTES)):
        raise InvalidInput("the archive is of the large kind (ZIP64), which no request here can need")
    size = _END.unpack_from(data, place)[5]
    if size > DIRECTORY_BYTES_MAX:
        raise TooLarge(
            f"the archive's table of contents is over {DIRECTORY_BYTES_MAX} bytes: send it in parts"
        )


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, size_max: int) -> bytes:
    if info.flag_bits & _ENCRYPTED:
        raise InvalidInput(f"{info.filename} is encrypted: pack it without a password")
    if info.compress_type not in _PACKED_AS:
        raise InvalidInput(f"{info.filename} is packed in another way than store or deflate: pack it anew")
    with archive.open(info) as file:
        content = file.read(size_max + 1)
    if len(content) > size_max:
        raise TooLarge(f"{info.filename}: unpacked, it goes over the limit of {size_max} bytes that are left")
    return content


def _is_hidden(name: str) -> bool:
    """What systems leave in archives beside the files: .DS_Store, __MACOSX/."""
    return any(part.startswith((".", "__MACOSX")) for part in name.split("/"))


def _label(name: str) -> str:
    parts = name.split("/")
    if len(parts) < 2 or not parts[-2]:
        raise InvalidInput(f"{name} lies in no folder: put each picture into a folder named by its label")
    return parts[-2]
