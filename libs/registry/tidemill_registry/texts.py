"""Text in SQL that sorts alike everywhere."""

from __future__ import annotations

from sqlalchemy import String
from sqlalchemy.types import TypeEngine


def sorted_text(length: int) -> TypeEngine[str]:
    """Text whose order decides something: by code points, as SQLite and Python sort.

    PostgreSQL would sort by the language that its server was set up with, and another server's rounds would
    then be made of other samples.
    """
    return String(length).with_variant(String(length, collation="C"), "postgresql")
