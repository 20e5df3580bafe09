"""Indexes for who watches: endpoints by state, and those whose breaker is not closed."""

import sqlalchemy as sa
from alembic import op

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Index them."""
    op.create_index("endpoints_by_state", "endpoints", ["state"])
    op.create_index("lanes_broken", "lanes", ["breaker"], postgresql_where=sa.text("breaker <> 'closed'"))


def downgrade() -> None:
    """Drop the indexes again."""
    op.drop_index("lanes_broken", "lanes")
    op.drop_index("endpoints_by_state", "endpoints")
