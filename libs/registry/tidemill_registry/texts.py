"""Text in SQL: it sorts alike everywhere, and every database can hold it."""

from __future__ import annotations

from sqlalchemy import String
from sqlalchemy.types import TypeEngine


def sorted_text(length: int) -> TypeEngine[str]:
    """Text whose order decides something: by code points, as SQLite and Python sort.

    PostgreSQL would sort by the language that its server was set up with, and another server's rounds would
    then be made of other samples.
    """
    return String(length).with_variant(String(length, collation="C"), "postgresql")


def plain_text(text: str, length_max: int) -> str:
    """The text as every database can hold it: cut to a length, NUL and halves of surrogate pairs escaped.

    PostgreSQL takes no NUL in text, and neither database half a surrogate pair.
    """
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")[:length_max]
