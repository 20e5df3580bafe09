"""Numbers of the journal are announced by locks, and no more told by the ids of those who wrote them."""

import sqlalchemy as sa
from alembic import op

revision: str = "0019"
down_revision: str | None = "0018"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.drop_column("events", "writer")


def downgrade() -> None:
    # All that is there was written by transactions that have ended.
    op.add_column("events", sa.Column("writer", sa.BigInteger(), nullable=False, server_default="0"))
    op.alter_column("events", "writer", server_default=None)
