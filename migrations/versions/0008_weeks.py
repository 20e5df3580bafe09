"""Messages, deliveries and attempts by week of their ids, so that what is too old is dropped and not deleted."""

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from alembic import op

from app.kit.ids import first_of

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | None = None
depends_on: str | None = None

_KEYS = {"messages": ("id",), "deliveries": ("id",), "attempts": ("delivery_id", "number")}
_PREFIXES = {"messages": "msg", "deliveries": "dlv", "attempts": "dlv"}
_INDEXES = (
    ("messages_by_sender", "messages", ("sender_id", "id"), "sender_id is not null"),
    ("deliveries_due", "deliveries", ("due_at",), "due_at is not null"),
    ("deliveries_by_agent", "deliveries", ("agent_id", "id"), None),
    ("deliveries_held", "deliveries", ("endpoint_id", "id"), "hold = 'lane'"),
    (
        "deliveries_in_order",
        "deliveries",
        ("endpoint_id", "order_key", "id"),
        "order_key is not null and state = 'pending'",
    ),
)
_UNDELIVERED = ("deliveries_undelivered", "deliveries", ("agent_id", "id"))
_WEEK = timedelta(days=7)
_AHEAD = 1
# Older than this lies in the partition of what fits nowhere: a table of thousands of parts would serve nobody.
_WEEKS_MAX = 60


def upgrade() -> None:
    weeks = _weeks()
    _drop_indexes()
    for table, key in _KEYS.items():
        op.execute(f"alter table {table} rename to {table}_whole")
        op.execute(f"alter table {table}_whole drop constraint {table}_pkey")
        op.execute(f"create table {table} (like {table}_whole including defaults) partition by range ({key[0]})")
        op.execute(f"create table {table}_other partition of {table} default")
        for week in weeks:
            bounds = [first_of(_PREFIXES[table], moment) for moment in (week, week + _WEEK)]
            op.execute(
                f"create table {table}_{week:%Y%m%d} partition of {table} "
                f"for values from ('{bounds[0]}') to ('{bounds[1]}')"
            )
        _move(table)
    # Also what waits: so that all that an agent did not get is found in one place.
    _create_indexes("state <> 'delivered'")


def downgrade() -> None:
    _drop_indexes()
    for table in _KEYS:
        op.execute(f"alter table {table} rename to {table}_whole")
        op.execute(f"alter table {table}_whole drop constraint {table}_pkey")
        op.execute(f"create table {table} (like {table}_whole including defaults)")
        _move(table)
    _create_indexes("state in ('failed', 'cancelled')")


def _weeks() -> list[datetime]:
    """The first moments of all weeks that have messages, up to some that are to come."""
    now, oldest = op.get_bind().execute(sa.text("select clock_timestamp(), min(created_at) from messages")).one()
    first = max(_monday(oldest or now), _monday(now) - _WEEKS_MAX * _WEEK)
    last = _monday(now) + _AHEAD * _WEEK
    return [first + n * _WEEK for n in range((last - first) // _WEEK + 1)]


def _monday(moment: datetime) -> datetime:
    midnight = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight - timedelta(days=midnight.weekday())


def _move(table: str) -> None:
    op.execute(f"insert into {table} select * from {table}_whole")
    op.execute(f"drop table {table}_whole")
    op.execute(f"alter table {table} add constraint {table}_pkey primary key ({', '.join(_KEYS[table])})")


def _drop_indexes() -> None:
    for name, table, *_ in (*_INDEXES, _UNDELIVERED):
        op.drop_index(name, table)


def _create_indexes(undelivered: str) -> None:
    for name, table, columns, where in (*_INDEXES, (*_UNDELIVERED, undelivered)):
        condition = None if where is None else sa.text(where)
        op.create_index(name, table, list(columns), postgresql_where=condition)
