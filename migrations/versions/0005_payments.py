"""Payments that were presented, and the answers that they bought."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.create_table(
        "payments",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("agent_id", sa.String(), sa.ForeignKey("agents.id"), nullable=False),
        sa.Column("operation", sa.String(), nullable=False),
        sa.Column("idempotency_key", sa.String()),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("network", sa.String(), nullable=False),
        sa.Column("asset", sa.String(), nullable=False),
        sa.Column("payer", sa.String(), nullable=False),
        sa.Column("nonce", sa.String(), nullable=False),
        sa.Column("pay_to", sa.String(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("valid_before", sa.BigInteger(), nullable=False),
        sa.Column("from_block", sa.BigInteger()),
        sa.Column("requirements", postgresql.JSONB(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("asked", sa.Boolean(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True)),
        sa.Column("transaction", sa.String()),
        sa.Column("code", sa.String()),
        sa.Column("receipt", sa.String()),
        sa.Column("answer_status", sa.Integer()),
        sa.Column("answer_headers", postgresql.JSONB()),
        sa.Column("answer_body", sa.LargeBinary()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True)),
        sa.Column("done_at", sa.DateTime(timezone=True)),
    )
    op.create_index("payments_by_authorization", "payments", ["network", "asset", "payer", "nonce"], unique=True)
    op.create_index("payments_by_agent", "payments", ["agent_id", "id"])
    op.create_index(
        "payments_open_by_key",
        "payments",
        ["agent_id", "idempotency_key"],
        unique=True,
        postgresql_where=sa.text("state not in ('refused', 'done')"),
    )


def downgrade() -> None:
    op.drop_table("payments")
