"""Feeds that tell the past, too."""

import sqlalchemy as sa
from alembic import op

revision: str = "0016"
down_revision: str | None = "0015"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.add_column("feeds", sa.Column("from_block", sa.BigInteger()))
    op.add_column("feeds", sa.Column("after_block", sa.BigInteger()))
    op.add_column("feeds", sa.Column("is_catching_up", sa.Boolean(), nullable=False, server_default=sa.text("false")))
    op.create_table(
        "catching_up",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("next_block", sa.BigInteger(), nullable=False),
        sa.Column("until_block", sa.BigInteger()),
        sa.Column("reach_blocks", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("last_error", sa.String()),
        sa.Column("due_at", sa.DateTime(timezone=True)),
        sa.Column("attempts", sa.Integer(), nullable=False),
    )
    op.create_index("catching_up_due", "catching_up", ["due_at"], postgresql_where=sa.text("due_at is not null"))


def downgrade() -> None:
    op.drop_table("catching_up")
    for column in ("from_block", "after_block", "is_catching_up"):
        op.drop_column("feeds", column)
