"""Sources, what is wanted of them, what was seen, and what their watchers remember."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.create_table(
        "sources",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("params", postgresql.JSONB(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("state_reason", sa.String()),
        sa.Column("position", postgresql.JSONB()),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("filters_version", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True)),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("sources_due", "sources", ["due_at"], postgresql_where=sa.text("due_at is not null"))
    op.create_table(
        "filters",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("source_id", sa.String(), sa.ForeignKey("sources.id"), nullable=False),
        sa.Column("spec", postgresql.JSONB(), nullable=False),
    )
    op.create_index("filters_by_source", "filters", ["source_id"])
    op.create_table(
        "subscriptions",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("agent_id", sa.String(), sa.ForeignKey("agents.id"), nullable=False),
        sa.Column("source_id", sa.String(), sa.ForeignKey("sources.id"), nullable=False),
        sa.Column("filter_id", sa.String(), sa.ForeignKey("filters.id"), nullable=False),
        sa.Column("endpoint_id", sa.String()),
        sa.Column("description", sa.String()),
        sa.Column("after_seq", sa.BigInteger(), nullable=False),
        sa.Column("begins_after", postgresql.JSONB()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("subscriptions_by_agent", "subscriptions", ["agent_id", "id"])
    op.create_index("subscriptions_by_filter", "subscriptions", ["source_id", "filter_id"])
    op.create_table(
        "sightings",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("source_id", sa.String(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("undoes", sa.BigInteger()),
        sa.Column("filter_ids", postgresql.ARRAY(sa.String()), nullable=False),
        sa.Column("block_hash", sa.String()),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True)),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.UniqueConstraint("source_id", "seq"),
    )
    op.create_index("sightings_due", "sightings", ["due_at"], postgresql_where=sa.text("due_at is not null"))
    op.create_index("sightings_by_filter", "sightings", ["filter_ids"], postgresql_using="gin")
    op.create_index(
        "sightings_by_block",
        "sightings",
        ["source_id", "block_hash"],
        postgresql_where=sa.text("block_hash is not null"),
    )
    op.create_table(
        "watchers",
        sa.Column("source_id", sa.String(), sa.ForeignKey("sources.id"), primary_key=True),
        sa.Column("looked_at", sa.DateTime(timezone=True)),
        sa.Column("last_error", sa.String()),
        sa.Column("upstream_calls", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("doubts", sa.Integer(), nullable=False),
        sa.Column("whole", sa.Boolean(), nullable=False),
        sa.Column("etag", sa.String()),
        sa.Column("last_modified", sa.String()),
        sa.Column("body_sha256", sa.String()),
    )
    op.create_table(
        "blocks",
        sa.Column("source_id", sa.String(), sa.ForeignKey("sources.id"), primary_key=True),
        sa.Column("number", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("parent_hash", sa.String(), nullable=False),
        sa.Column("timestamp", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "selections",
        sa.Column("filter_id", sa.String(), primary_key=True),
        sa.Column("source_id", sa.String(), nullable=False),
        sa.Column("selected", postgresql.JSONB(), nullable=False),
    )
    op.create_index("ix_selections_source_id", "selections", ["source_id"])


def downgrade() -> None:
    for table in ("selections", "blocks", "watchers", "sightings", "subscriptions", "filters", "sources"):
        op.drop_table(table)
