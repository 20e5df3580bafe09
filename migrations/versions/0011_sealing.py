"""Kept answers are sealed, a key of the relay is published before it signs, and ended secrets are found."""

import sqlalchemy as sa
from alembic import op

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.add_column("kept_answers", sa.Column("sealed_with", sa.String()))
    op.add_column("signing_keys", sa.Column("signs_at", sa.DateTime(timezone=True)))
    op.create_index(
        "endpoints_rotating", "endpoints", ["id"], postgresql_where=sa.text("jsonb_array_length(secrets) > 1")
    )


def downgrade() -> None:
    op.drop_index("endpoints_rotating", "endpoints")
    op.drop_column("signing_keys", "signs_at")
    op.drop_column("kept_answers", "sealed_with")
