"""Schedules under a chosen id, with bounds and policies; fires that wait for one another; backfills."""

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | None = None
depends_on: str | None = None

_NEW_OF_SCHEDULES = (
    sa.Column("chosen_id", sa.String()),
    sa.Column("pause_reason", sa.String()),
    sa.Column("paused_at", sa.DateTime(timezone=True)),
    sa.Column("starts_at", sa.DateTime(timezone=True)),
    sa.Column("ends_at", sa.DateTime(timezone=True)),
    sa.Column("jitter_seconds", sa.Integer(), nullable=False, server_default="0"),
    sa.Column("tzdata", sa.String()),
    sa.Column("max_fires", sa.BigInteger()),
    sa.Column("overlap", sa.String(), nullable=False, server_default="allow"),
    sa.Column("buffer_max", sa.Integer()),
    sa.Column("misfire", sa.String(), nullable=False, server_default="latest"),
    sa.Column("catch_up_max", sa.Integer()),
    sa.Column("catch_up_seconds", sa.Integer()),
    sa.Column("completion", sa.String(), nullable=False, server_default="delivery"),
    sa.Column("completion_seconds", sa.Integer()),
    sa.Column("pause_after", sa.Integer()),
    sa.Column("notify_endpoint_id", sa.String()),
    sa.Column("fired", sa.BigInteger(), nullable=False, server_default="0"),
    sa.Column("give_ups", sa.Integer(), nullable=False, server_default="0"),
)
_NEW_OF_FIRES = (
    sa.Column("late", sa.Boolean(), nullable=False, server_default=sa.false()),
    sa.Column("overlap", sa.String(), nullable=False, server_default="allow"),
    sa.Column("delivery_id", sa.String()),
    sa.Column("outstanding", sa.Boolean(), nullable=False, server_default=sa.false()),
    sa.Column("ends_by", sa.DateTime(timezone=True)),
    sa.Column("completed_at", sa.DateTime(timezone=True)),
)


def upgrade() -> None:
    for column in _NEW_OF_SCHEDULES:
        op.add_column("schedules", column)
    # A spec that names a zone was computed with some release; an empty one is older than any and is looked at again.
    op.execute("update schedules set tzdata = '' where spec ? 'timezone'")
    op.create_unique_constraint("schedules_by_chosen_id", "schedules", ["agent_id", "chosen_id"])
    op.drop_index("schedules_due", "schedules")
    op.create_index(
        "schedules_due",
        "schedules",
        ["next_fire"],
        postgresql_where=sa.text("state = 'active' and next_fire is not null"),
    )
    op.create_index("schedules_by_tzdata", "schedules", ["tzdata"], postgresql_where=sa.text("tzdata is not null"))

    for column in _NEW_OF_FIRES:
        op.add_column("fires", column)
    op.drop_constraint("fires_pkey", "fires")
    op.create_primary_key("fires_pkey", "fires", ["schedule_id", "scheduled_at", "kind"])
    op.drop_index("fires_due", "fires")
    op.drop_index("fires_planned", "fires")
    op.create_index("fires_due", "fires", ["due_at"], postgresql_where=sa.text("due_at is not null and not late"))
    op.create_index("fires_late", "fires", ["due_at"], postgresql_where=sa.text("due_at is not null and late"))
    op.create_index(
        "fires_open",
        "fires",
        ["schedule_id", "scheduled_at"],
        postgresql_where=sa.text("state in ('planned', 'buffered')"),
    )
    op.create_index("fires_outstanding", "fires", ["schedule_id"], postgresql_where=sa.text("outstanding"))
    op.create_index("fires_until", "fires", ["schedule_id", "until"], postgresql_where=sa.text("until is not null"))
    op.create_index(
        "fires_running_out", "fires", ["ends_by"], postgresql_where=sa.text("outstanding and ends_by is not null")
    )

    op.add_column("messages", sa.Column("subject", sa.String()))

    op.create_table(
        "schedule_skips",
        sa.Column("schedule_id", sa.String(), sa.ForeignKey("schedules.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("reason", sa.String(), primary_key=True),
        sa.Column("count", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "backfills",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("schedule_id", sa.String(), nullable=False),
        sa.Column("agent_id", sa.String(), nullable=False),
        sa.Column("range_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("range_end", sa.DateTime(timezone=True), nullable=False),
        sa.Column("overlap", sa.String(), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cancelled_at", sa.DateTime(timezone=True)),
    )
    op.create_index("backfills_by_schedule", "backfills", ["schedule_id", "id"])


def downgrade() -> None:
    op.drop_table("backfills")
    op.drop_table("schedule_skips")
    op.drop_column("messages", "subject")
    for name in ("fires_running_out", "fires_until", "fires_outstanding", "fires_open", "fires_late", "fires_due"):
        op.drop_index(name, "fires")
    op.drop_constraint("fires_pkey", "fires")
    op.create_primary_key("fires_pkey", "fires", ["schedule_id", "kind", "scheduled_at"])
    for column in _NEW_OF_FIRES:
        op.drop_column("fires", column.name)
    op.create_index("fires_due", "fires", ["due_at"], postgresql_where=sa.text("due_at is not null"))
    op.create_index(
        "fires_planned", "fires", ["schedule_id", "scheduled_at"], postgresql_where=sa.text("state = 'planned'")
    )
    op.drop_index("schedules_by_tzdata", "schedules")
    op.drop_index("schedules_due", "schedules")
    op.drop_constraint("schedules_by_chosen_id", "schedules")
    for column in _NEW_OF_SCHEDULES:
        op.drop_column("schedules", column.name)
    op.create_index("schedules_due", "schedules", ["next_fire"], postgresql_where=sa.text("next_fire is not null"))
