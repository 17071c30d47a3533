"""Who sees a thing and who may change it.

One listener narrows every query of a caller's session, so that no service can forget to: what its caller may not see is
not there, and is answered as not found.
"""

from __future__ import annotations

from typing import Any, ClassVar

from sqlalchemy import ColumnElement, String, event, literal, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Mapped, ORMExecuteState, Session, mapped_column, with_loader_criteria

from workbench.core.context import Context, Principal
from workbench.core.errors import Forbidden
from workbench.core.schemas import EVERYONE, PRIVATE, Audience

MANAGE = "workspace:manage"


class NotYours(Forbidden):
    """Only its owner may do this."""

    code = "not_owner"


class NoSuchTeam(Forbidden):
    """You are no member of this team."""

    code = "team.not_member"


class Owned:
    """A row with an owner, who may let a team or everyone see it."""

    id: Mapped[str]
    owner_id: Mapped[str]
    #: `private`, `everyone`, or a team's id.
    audience: Mapped[str] = mapped_column(String(40), default=PRIVATE, server_default=PRIVATE)


class Within:
    """A row that is seen by whoever sees the row it belongs to."""

    #: Name of the column that holds the other row's id, and the other row's class.
    within: ClassVar[tuple[str, type[Owned]]]


def visible(table: type[Owned], user: Principal) -> ColumnElement[bool]:
    """Return the condition under which a caller sees a row."""
    return or_(table.owner_id == user.id, table.audience.in_([EVERYONE, *sorted(user.teams)]))


def may_change(user: Principal, row: Owned) -> bool:
    """Tell whether a caller owns a row, shares a team with it or manages the workspace."""
    return row.owner_id == user.id or row.audience in user.teams or MANAGE in user.permissions


def changeable(table: type[Owned], user: Principal) -> ColumnElement[bool]:
    """Return the condition under which a caller may change a row."""
    return or_(table.owner_id == user.id, table.audience.in_(sorted(user.teams)), literal(MANAGE in user.permissions))


def require_change(context: Context, row: Owned, what: str) -> None:
    """Raise `NotYours` unless the caller may change a row."""
    if not may_change(context.user, row):
        raise NotYours(f"{what} belongs to someone else; its owner or a maintainer can change it.")


def share(context: Context, row: Owned, audience: Audience, what: str) -> None:
    """Let nobody else, a team or everyone see a row; only its owner or who manages the workspace may."""
    user = context.user
    if row.owner_id != user.id and MANAGE not in user.permissions:
        raise NotYours(f"{what} belongs to someone else; its owner or a maintainer can share it.")
    if audience not in (PRIVATE, EVERYONE) and audience not in user.teams and MANAGE not in user.permissions:
        raise NoSuchTeam(f"You are no member of a team {audience}.")
    row.audience = audience
    context.noted["audience"] = audience


@event.listens_for(Session, "do_orm_execute")
def _narrow(state: ORMExecuteState) -> None:
    user: Principal | None = state.session.info.get("user")
    if user is None or MANAGE in user.permissions or not state.is_select or state.is_column_load:
        return
    state.statement = state.statement.options(*_criteria(user))


def _criteria(user: Principal) -> list[Any]:
    owned = [with_loader_criteria(table, visible(table, user)) for table in Owned.__subclasses__()]
    return owned + [with_loader_criteria(table, _inside(table, user)) for table in Within.__subclasses__()]


def _inside(table: type[Within], user: Principal) -> ColumnElement[bool]:
    name, parent = table.within
    column: InstrumentedAttribute[str] = getattr(table, name)
    return column.in_(select(parent.id).where(visible(parent, user)))
