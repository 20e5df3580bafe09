"""Messages that were published know their deliveries."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.add_column("messages", sa.Column("delivery_ids", JSONB()))


def downgrade() -> None:
    op.drop_column("messages", "delivery_ids")
