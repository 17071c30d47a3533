"""Accounts, logins, teams, mail and the audit log; owned things get an audience."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)
#: Until now everyone with an account saw everything; what is made from now on is its owner's alone.
OWNED = ("datasets", "models", "jobs")


def text(length: int) -> sa.String:
    return sa.String(length=length)


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("id", text(40), nullable=False),
        sa.Column("email", text(254), nullable=False),
        sa.Column("email_norm", text(254), nullable=False),
        sa.Column("name", text(128), nullable=False),
        sa.Column("password_hash", text(200), nullable=False),
        sa.Column("role", text(20), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("verified_at", TIME, nullable=True),
        sa.Column("disabled_at", TIME, nullable=True),
        sa.Column("last_login_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("email_norm", name=op.f("uq_users_email_norm")),
    )
    op.create_table(
        "logins",
        sa.Column("id", text(40), nullable=False),
        sa.Column("user_id", text(40), nullable=False),
        sa.Column("cookie_sha256", text(64), nullable=True),
        sa.Column("address", text(64), nullable=False),
        sa.Column("agent", text(200), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("last_used_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("revoked_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_logins_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_logins")),
        sa.UniqueConstraint("cookie_sha256", name=op.f("uq_logins_cookie_sha256")),
    )
    op.create_index(op.f("ix_logins_user_id"), "logins", ["user_id"])
    op.create_table(
        "refresh_tokens",
        sa.Column("token_sha256", text(64), nullable=False),
        sa.Column("login_id", text(40), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("used_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(["login_id"], ["logins.id"], name=op.f("fk_refresh_tokens_login_id_logins")),
        sa.PrimaryKeyConstraint("token_sha256", name=op.f("pk_refresh_tokens")),
    )
    op.create_index(op.f("ix_refresh_tokens_login_id"), "refresh_tokens", ["login_id"])
    op.create_table(
        "once_tokens",
        sa.Column("id", text(40), nullable=False),
        sa.Column("token_sha256", text(64), nullable=False),
        sa.Column("purpose", text(20), nullable=False),
        sa.Column("user_id", text(80), nullable=False),
        sa.Column("data", JSON, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("used_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_once_tokens")),
        sa.UniqueConstraint("token_sha256", name=op.f("uq_once_tokens_token_sha256")),
    )
    op.create_index(op.f("ix_once_tokens_purpose"), "once_tokens", ["purpose"])
    op.create_index(op.f("ix_once_tokens_user_id"), "once_tokens", ["user_id"])
    op.create_table(
        "teams",
        sa.Column("id", text(40), nullable=False),
        sa.Column("name", text(128), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_teams")),
        sa.UniqueConstraint("name", name=op.f("uq_teams_name")),
    )
    op.create_table(
        "team_members",
        sa.Column("team_id", text(40), nullable=False),
        sa.Column("user_id", text(40), nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_team_members_team_id_teams")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_team_members_user_id_users")),
        sa.PrimaryKeyConstraint("team_id", "user_id", name=op.f("pk_team_members")),
    )
    op.create_index(op.f("ix_team_members_user_id"), "team_members", ["user_id"])
    op.create_table(
        "outbox",
        sa.Column("id", text(40), nullable=False),
        sa.Column("recipient", text(254), nullable=False),
        sa.Column("subject", text(200), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("sent_at", TIME, nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("next_try_at", TIME, nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
    )
    op.create_index(op.f("ix_outbox_next_try_at"), "outbox", ["next_try_at"])
    op.create_table(
        "audit_log",
        sa.Column("seq", SEQUENCE, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("actor_id", text(80), nullable=False),
        sa.Column("actor_name", text(200), nullable=False),
        sa.Column("holder", text(120), nullable=False),
        sa.Column("address", text(64), nullable=False),
        sa.Column("action", text(80), nullable=False),
        sa.Column("object", text(200), nullable=False),
        sa.Column("details", JSON, nullable=False),
        sa.Column("previous", text(64), nullable=False),
        sa.Column("hash", text(64), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit_log")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_audit_log_actor_id"), "audit_log", ["actor_id"])
    op.create_index(op.f("ix_audit_log_action"), "audit_log", ["action"])
    op.add_column("access_tokens", sa.Column("scopes", JSON, nullable=True))
    for table in OWNED:
        op.add_column(table, sa.Column("audience", text(40), nullable=False, server_default="private"))
        op.execute(sa.table(table, sa.column("audience")).update().values(audience="everyone"))


def downgrade() -> None:
    for table in OWNED:
        op.drop_column(table, "audience")
    op.drop_column("access_tokens", "scopes")
    for table in (
        *("audit_log", "outbox", "team_members", "teams", "once_tokens"),
        *("refresh_tokens", "logins", "users"),
    ):
        op.drop_table(table)
