"""Entries that are found by what they say, and chains that stay held to what their blocks have shown."""

import sqlalchemy as sa
from alembic import op

revision: str = "0017"
down_revision: str | None = "0016"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.create_table(
        "learned_chains",
        sa.Column("chain", sa.String(), primary_key=True),
        sa.Column("demanded", sa.String(), nullable=False),
        sa.Column("rooted", sa.Integer(), nullable=False),
        sa.Column("bloomed", sa.Integer(), nullable=False),
    )
    op.add_column(
        "feed_entries",
        sa.Column("event_ids", sa.ARRAY(sa.String()), nullable=False, server_default=sa.text("'{}'")),
    )
    op.execute(
        """
        update feed_entries set event_ids = array(
            select item ->> 'event_id'
            from json_array_elements(
                case when type = 'event.batch' then body::json -> 'data' -> 'items'
                else json_build_array(body::json -> 'data') end
            ) as item
        )
        where type in ('event.matched', 'event.retracted', 'event.batch')
        """
    )
    op.create_index("feed_entries_by_event", "feed_entries", ["event_ids"], postgresql_using="gin")


def downgrade() -> None:
    op.drop_index("feed_entries_by_event", "feed_entries")
    op.drop_column("feed_entries", "event_ids")
    op.drop_table("learned_chains")
