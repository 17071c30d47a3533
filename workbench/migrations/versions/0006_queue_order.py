"""Waiting jobs get a rank, by which people change the order in which they start; until now their ids were it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("rank", sa.BigInteger(), nullable=False, server_default="0"))
    op.execute(
        "UPDATE jobs SET rank = ranked.place FROM (SELECT id, row_number() OVER (ORDER BY id) AS place FROM jobs)"
        " AS ranked WHERE ranked.id = jobs.id"
    )
    op.create_index(op.f("ix_jobs_rank"), "jobs", ["rank"])


def downgrade() -> None:
    op.drop_index(op.f("ix_jobs_rank"), "jobs")
    op.drop_column("jobs", "rank")
