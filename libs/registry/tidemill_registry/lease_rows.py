"""Leases: one holder at a time, recognised by a token that grows with every holder."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, select, update
from tidemill_contracts.errors import Conflict

from tidemill_registry.records import Lease
from tidemill_registry.statements import insert_or_ignore
from tidemill_registry.tables import leases


def take_lease(sql: Connection, name: str, *, holder: str, duration_s: float, now: datetime) -> Lease | None:
    """The lease, if nobody else holds it; None while somebody does. Who holds it takes it again."""
    expires_at = now + timedelta(seconds=duration_s)
    insert_or_ignore(sql, leases, [{"name": name, "holder": "", "token": 0, "expires_at": now}])
    row = sql.execute(select(leases).where(leases.c.name == name).with_for_update()).one()
    if row.holder not in ("", holder) and row.expires_at > now:
        return None
    token = row.token if row.holder == holder else row.token + 1
    sql.execute(
        update(leases).where(leases.c.name == name).values(holder=holder, token=token, expires_at=expires_at)
    )
    return Lease(name, holder, token, expires_at)


def renew_lease(sql: Connection, lease: Lease, *, duration_s: float, now: datetime) -> Lease:
    """The lease with its time begun anew.

    Raises:
        Conflict: somebody else took it; stop what it protects.
    """
    expires_at = now + timedelta(seconds=duration_s)
    renewed = sql.execute(
        update(leases)
        .where(leases.c.name == lease.name, leases.c.token == lease.token, leases.c.holder == lease.holder)
        .values(expires_at=expires_at)
    )
    if renewed.rowcount != 1:
        raise Conflict(f"{lease.holder} no longer holds {lease.name}")
    return Lease(lease.name, lease.holder, lease.token, expires_at)


def confirm_lease(sql: Connection, lease: Lease) -> None:
    """Return if the lease is still held: call it in the transaction that it protects.

    Raises:
        Conflict: somebody else took it; the transaction must not take effect.
    """
    held = select(leases.c.token).where(leases.c.name == lease.name, leases.c.holder == lease.holder)
    if sql.scalar(held.with_for_update()) != lease.token:
        raise Conflict(f"{lease.holder} no longer holds {lease.name}")


def release_lease(sql: Connection, lease: Lease) -> None:
    """Let the next one in at once. The row stays, so that tokens go on growing."""
    sql.execute(
        update(leases)
        .where(leases.c.name == lease.name, leases.c.token == lease.token, leases.c.holder == lease.holder)
        .values(holder="")
    )
