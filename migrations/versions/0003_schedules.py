"""Schedules, and the journal of their fires."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.create_table(
        "schedules",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("agent_id", sa.String(), sa.ForeignKey("agents.id"), nullable=False),
        sa.Column("endpoint_id", sa.String(), sa.ForeignKey("endpoints.id", ondelete="SET NULL")),
        sa.Column("name", sa.String()),
        sa.Column("spec", JSONB(), nullable=False),
        sa.Column("payload", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("next_fire", sa.DateTime(timezone=True)),
        sa.Column("last_fire", sa.DateTime(timezone=True)),
        sa.Column("runs", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("schedules_by_agent", "schedules", ["agent_id", "id"])
    op.create_index("schedules_by_endpoint", "schedules", ["endpoint_id"])
    op.create_index("schedules_due", "schedules", ["next_fire"], postgresql_where=sa.text("next_fire is not null"))
    op.create_table(
        "fires",
        sa.Column("schedule_id", sa.String(), primary_key=True),
        sa.Column("kind", sa.String(), primary_key=True),
        sa.Column("scheduled_at", sa.DateTime(timezone=True), primary_key=True),
        sa.Column("id", sa.String(), nullable=False, unique=True),
        sa.Column("agent_id", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.String()),
        sa.Column("until", sa.DateTime(timezone=True)),
        sa.Column("run", sa.BigInteger()),
        sa.Column("previous", sa.DateTime(timezone=True)),
        sa.Column("fire_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True)),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("planned_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("fired_at", sa.DateTime(timezone=True)),
        sa.Column("message_id", sa.String()),
    )
    op.create_index("fires_due", "fires", ["due_at"], postgresql_where=sa.text("due_at is not null"))
    op.create_index(
        "fires_planned", "fires", ["schedule_id", "scheduled_at"], postgresql_where=sa.text("state = 'planned'")
    )


def downgrade() -> None:
    op.drop_table("fires")
    op.drop_table("schedules")
