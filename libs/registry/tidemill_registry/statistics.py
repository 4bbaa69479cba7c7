"""What PostgreSQL's planner knows of tables that have just grown.

Autovacuum tells it within a minute or so. Until then it believes that a rule matches one row of a new table
of 4,000, tries every sample with every object and every use, and a pool that takes 0.1 s to read takes
minutes (measured: not done after 60 s). A trainer reads the pools at once after it has filled the tables, so
it renews the statistics itself.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

TABLES = ("objects", "samples", "sample_uses", "label_claims")
"""Those that the pools are read from."""

_GROWN = text(
    """
    SELECT relname FROM pg_class
    WHERE oid = ANY (ARRAY(SELECT to_regclass(name) FROM unnest(CAST(:names AS text[])) AS name))
    AND pg_relation_size(oid) / current_setting('block_size')::int > :pages_min + :growth * relpages
    """
)
PAGES_MIN = 4
"""32 kB: below, every plan is a good one."""
GROWTH = 1.3


def renew_statistics(sql: Connection) -> list[str]:
    """Have the planner look at tables that grew by a third since it last did; their names. SQLite needs none.

    Costs a sample of each table, however large it is. For who does not own a table the server only warns.
    """
    if sql.dialect.name != "postgresql":
        return []
    parameters = {"names": list(TABLES), "pages_min": PAGES_MIN, "growth": GROWTH}
    grown = sorted(sql.scalars(_GROWN, parameters))
    for name in grown:
        sql.execute(text(f"ANALYZE {name}"))  # one of TABLES
    return grown
