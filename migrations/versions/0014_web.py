"""Inboxes, and why a look could not judge for a filter."""

import sqlalchemy as sa
from alembic import op

revision: str = "0014"
down_revision: str | None = "0013"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.add_column("filters", sa.Column("trouble", sa.String()))
    op.create_table(
        "inboxes",
        sa.Column("source_id", sa.String(), sa.ForeignKey("sources.id"), primary_key=True),
        sa.Column("agent_id", sa.String(), sa.ForeignKey("agents.id"), nullable=False),
        sa.Column("token_sha256", sa.String(), nullable=False, unique=True),
        sa.Column("sealed_with", sa.String(), nullable=False),
        sa.Column("sealed", sa.String(), nullable=False),
        sa.Column("tokens", sa.Double(), nullable=False),
        sa.Column("filled_at", sa.DateTime(timezone=True)),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "inbox_calls",
        sa.Column("source_id", sa.String(), primary_key=True),
        sa.Column("key", sa.String(), primary_key=True),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
    )
    op.create_index("inbox_calls_until", "inbox_calls", ["source_id", "until"])


def downgrade() -> None:
    op.drop_table("inbox_calls")
    op.drop_table("inboxes")
    op.drop_column("filters", "trouble")
