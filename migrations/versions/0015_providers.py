"""How far a chain is final, and how its providers fare."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "0015"
down_revision: str | None = "0014"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.add_column("watchers", sa.Column("final_number", sa.BigInteger()))
    op.add_column("watchers", sa.Column("final_hash", sa.String()))
    op.add_column("watchers", sa.Column("providers", JSONB()))


def downgrade() -> None:
    for name in ("providers", "final_hash", "final_number"):
        op.drop_column("watchers", name)
