"""The audit log: each entry holds the hash of the one before, and is written in the transaction that it describes."""

from __future__ import annotations

import hashlib
import json
from contextlib import closing
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from workbench.accounts.schemas import AuditQuery, AuditRecord, AuditVerdict
from workbench.accounts.tables import AuditEntry
from workbench.core.clock import utcnow
from workbench.core.context import Principal
from workbench.core.schemas import Page

LOCK = 0x61756469  # advisory lock key: "audi"
FIRST = "0" * 64  # what the first entry holds of the one before
FIELDS = ("actor_id", "actor_name", "holder", "address", "action", "object", "details", "previous")


def record(
    session: Session, actor: Principal, action: str, thing: str = "", *, address: str = "", **details: Any
) -> None:
    """Write down who did what to which thing; `details` are small and hold no secret."""
    if session.get_bind().dialect.name == "postgresql":  # SQLite has one writer at a time anyway
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
    newest = session.scalar(select(AuditEntry.hash).order_by(AuditEntry.seq.desc()).limit(1))
    entry = AuditEntry(
        at=utcnow(),
        actor_id=actor.id,
        actor_name=actor.name,
        holder=f"{actor.holder.kind} {actor.holder.id}" if actor.holder is not None else "",
        address=address,
        action=action,
        object=thing[:200],
        details=details,
        previous=newest or FIRST,
    )
    entry.hash = _digest(entry)
    session.add(entry)
    session.flush()


def verify(session: Session) -> AuditVerdict:
    """Follow the whole chain; an entry that was changed, removed or put in between breaks it.

    That the last entries were cut off shows only to who remembers `head`.
    """
    previous, count = FIRST, 0
    chain = select(AuditEntry).order_by(AuditEntry.seq).execution_options(yield_per=1000)
    with closing(session.scalars(chain)) as entries:
        for entry in entries:
            if entry.previous != previous or entry.hash != _digest(entry):
                return AuditVerdict(holds=False, entries=count, head=previous, broken_at=entry.seq)
            previous, count = entry.hash, count + 1
    return AuditVerdict(holds=True, entries=count, head=previous, broken_at=None)


def listing(session: Session, query: AuditQuery) -> Page[AuditRecord]:
    """Return entries, newest first."""
    statement = select(AuditEntry).order_by(AuditEntry.seq.desc()).limit(query.limit + 1)
    if query.cursor is not None:
        statement = statement.where(AuditEntry.seq < int(query.cursor))
    if query.actor_id is not None:
        statement = statement.where(AuditEntry.actor_id == query.actor_id)
    if query.action is not None:
        statement = statement.where(AuditEntry.action == query.action)
    rows = session.scalars(statement).all()
    items = [_record(row) for row in rows[: query.limit]]
    return Page(items=items, next_cursor=str(items[-1].seq) if len(rows) > query.limit else None)


def _digest(entry: AuditEntry) -> str:
    content = {name: getattr(entry, name) for name in FIELDS} | {"at": entry.at.isoformat()}
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _record(row: AuditEntry) -> AuditRecord:
    return AuditRecord.model_validate({name: getattr(row, name) for name in AuditRecord.model_fields})
