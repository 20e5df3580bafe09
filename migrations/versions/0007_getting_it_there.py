"""Lanes, limits and profiles of endpoints; sealed secrets; order, phases of attempts, and recoveries."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | None = None
depends_on: str | None = None

_MOMENT = sa.DateTime(timezone=True)
_NEW = {
    "endpoints": (
        sa.Column("secrets", JSONB(), nullable=False, server_default=sa.text("'[]'")),
        sa.Column("headers", JSONB()),
        sa.Column("types", JSONB()),
        sa.Column("filter", JSONB()),
        sa.Column("senders", JSONB(), nullable=False, server_default=sa.text("'[]'")),
        sa.Column("max_in_flight", sa.Integer()),
        sa.Column("rate_per_second", sa.Float()),
        sa.Column("retry_seconds", JSONB()),
        sa.Column("timeout_seconds", sa.Float()),
        sa.Column("profile", sa.String(), nullable=False, server_default="standard"),
        sa.Column("subscription_id", sa.String()),
        sa.Column("expires_at", _MOMENT),
    ),
    "messages": (
        sa.Column("sender_id", sa.String()),
        sa.Column("order_key", sa.String()),
        sa.Column("traceparent", sa.String()),
        sa.Column("expunged_at", _MOMENT),
    ),
    "deliveries": (
        sa.Column("reason", sa.String()),
        sa.Column("hold", sa.String()),
        sa.Column("order_key", sa.String()),
    ),
    "attempts": (
        sa.Column("lookup_ms", sa.Integer()),
        sa.Column("connect_ms", sa.Integer()),
        sa.Column("tls_ms", sa.Integer()),
        sa.Column("wait_ms", sa.Integer()),
        sa.Column("read_ms", sa.Integer()),
        sa.Column("next_attempt_at", _MOMENT),
    ),
    "signing_keys": (sa.Column("sealed_with", sa.String()), sa.Column("retires_at", _MOMENT)),
}
_INDEXES = (
    ("endpoints_expiring", "endpoints", ("expires_at",), "expires_at is not null"),
    ("messages_by_sender", "messages", ("sender_id", "id"), "sender_id is not null"),
    ("deliveries_held", "deliveries", ("endpoint_id", "id"), "hold = 'lane'"),
    (
        "deliveries_in_order",
        "deliveries",
        ("endpoint_id", "order_key", "id"),
        "order_key is not null and state = 'pending'",
    ),
    ("deliveries_undelivered", "deliveries", ("agent_id", "id"), "state in ('failed', 'cancelled')"),
)


def upgrade() -> None:
    for table, columns in _NEW.items():
        for column in columns:
            op.add_column(table, column)
    op.alter_column("endpoints", "secret", nullable=True)
    op.execute("update deliveries set hold = 'lane' where state = 'pending' and due_at is null")
    op.drop_index("deliveries_waiting", "deliveries")
    for name, table, columns, where in _INDEXES:
        op.create_index(name, table, list(columns), postgresql_where=sa.text(where))
    op.drop_constraint("signing_keys_purpose_key", "signing_keys")
    op.create_index(
        "signing_keys_current",
        "signing_keys",
        ["purpose"],
        unique=True,
        postgresql_where=sa.text("retires_at is null"),
    )
    op.create_table(
        "lanes",
        sa.Column("endpoint_id", sa.String(), primary_key=True),
        sa.Column("due_at", _MOMENT),
        sa.Column("breaker", sa.String(), nullable=False, server_default="closed"),
        sa.Column("failures", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("failing_since", _MOMENT),
        sa.Column("opens", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("open_until", _MOMENT),
        sa.Column("tokens", sa.Float()),
        sa.Column("tokens_at", _MOMENT),
        sa.Column("holders", JSONB(), nullable=False, server_default=sa.text("'{}'")),
    )
    op.create_index("lanes_due", "lanes", ["due_at"], postgresql_where=sa.text("due_at is not null"))
    op.create_table(
        "recoveries",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("agent_id", sa.String(), nullable=False),
        sa.Column("endpoint_id", sa.String()),
        sa.Column("states", JSONB(), nullable=False, server_default=sa.text("'[]'")),
        sa.Column("type", sa.String()),
        sa.Column("since", _MOMENT, nullable=False),
        sa.Column("until", _MOMENT, nullable=False),
        sa.Column("rate_per_second", sa.Float(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("position", sa.String()),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("sent", sa.Integer(), nullable=False),
        sa.Column("skipped", sa.Integer(), nullable=False),
        sa.Column("due_at", _MOMENT),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("ended_at", _MOMENT),
    )
    op.create_index("recoveries_by_agent", "recoveries", ["agent_id", "id"])
    op.create_index("recoveries_due", "recoveries", ["due_at"], postgresql_where=sa.text("due_at is not null"))


def downgrade() -> None:
    op.drop_table("recoveries")
    op.drop_table("lanes")
    op.drop_index("signing_keys_current", "signing_keys")
    op.create_unique_constraint("signing_keys_purpose_key", "signing_keys", ["purpose"])
    for name, table, _columns, _where in _INDEXES:
        op.drop_index(name, table)
    op.create_index(
        "deliveries_waiting",
        "deliveries",
        ["endpoint_id"],
        postgresql_where=sa.text("state = 'pending' and due_at is null"),
    )
    op.alter_column("endpoints", "secret", nullable=False)
    for table, columns in _NEW.items():
        for column in columns:
            op.drop_column(table, column.name)
