"""Feeds: what all hear who want the same in the same way, as one sequence."""

import hashlib
import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision: str = "0013"
down_revision: str | None = "0012"
branch_labels: str | None = None
depends_on: str | None = None

FIRST = "0" * 64


def upgrade() -> None:
    _make_tables()
    _keep_payloads()
    op.add_column("subscriptions", sa.Column("feed_id", sa.String(), sa.ForeignKey("feeds.id")))
    op.add_column("subscriptions", sa.Column("after_hash", sa.String()))
    _move_subscriptions()
    op.alter_column("subscriptions", "feed_id", nullable=False)
    op.alter_column("subscriptions", "after_hash", nullable=False)
    op.create_index("subscriptions_by_feed", "subscriptions", ["feed_id", "endpoint_id"])
    op.drop_index("sightings_due", "sightings")
    op.drop_index("sightings_by_filter", "sightings")
    for column in ("type", "body", "due_at", "attempts"):
        op.drop_column("sightings", column)


def _make_tables() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "feeds",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("source_id", sa.String(), sa.ForeignKey("sources.id"), nullable=False),
        sa.Column("filter_id", sa.String(), nullable=False),
        sa.Column("finality", sa.String(), nullable=False),
        sa.Column("batch", sa.String()),
        sa.Column("heartbeat_blocks", sa.Integer()),
        sa.Column("level", sa.String(), nullable=False),
        sa.Column("depth", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("read_seq", sa.BigInteger(), nullable=False),
        sa.Column("released_seq", sa.BigInteger(), nullable=False),
        sa.Column("sent_seq", sa.BigInteger(), nullable=False),
        sa.Column("sent_to", sa.String(), nullable=False),
        sa.Column("spoke_at", sa.BigInteger()),
        sa.Column("attention_at", sa.BigInteger()),
        sa.Column("resting_since", moment),
        sa.Column("due_at", moment),
        sa.Column("created_at", moment, nullable=False),
    )
    op.create_index("feeds_due", "feeds", ["due_at"], postgresql_where=sa.text("due_at is not null"))
    op.create_index("feeds_by_filter", "feeds", ["filter_id"])
    op.create_index(
        "feeds_by_attention",
        "feeds",
        ["source_id", "level", "attention_at"],
        postgresql_where=sa.text("attention_at is not null"),
    )
    op.create_table(
        "feed_entries",
        sa.Column("feed_id", sa.String(), primary_key=True),
        sa.Column("seq", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("made_at", moment, nullable=False),
    )
    op.create_index("feed_entries_by_age", "feed_entries", ["made_at"])
    op.create_table(
        "told_events",
        sa.Column("feed_id", sa.String(), primary_key=True),
        sa.Column("event_id", sa.String(), primary_key=True),
        sa.Column("entry_seq", sa.BigInteger(), nullable=False),
        sa.Column("sighting_seq", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "matches",
        sa.Column("filter_id", sa.String(), primary_key=True),
        sa.Column("seq", sa.BigInteger(), primary_key=True, autoincrement=False),
    )


def _keep_payloads() -> None:
    """A sighting keeps what was seen; what is rung is made from it by each feed."""
    op.add_column("sightings", sa.Column("kind", sa.String()))
    op.add_column("sightings", sa.Column("payload", sa.String()))
    op.add_column("sightings", sa.Column("undone_by", sa.BigInteger()))
    op.add_column("sightings", sa.Column("block_number", sa.BigInteger()))
    op.execute(
        """
        update sightings s set kind = body::json -> 'data' ->> 'kind', payload = body::json -> 'data' ->> 'payload',
            block_number = case when block_hash is not null
                then (body::json #>> '{data,payload,block,number}')::bigint end,
            undone_by = (select min(u.seq) from sightings u where u.source_id = s.source_id and u.undoes = s.seq)
        """
    )
    op.execute("insert into matches (filter_id, seq) select unnest(filter_ids), seq from sightings")
    op.alter_column("sightings", "kind", nullable=False)
    op.alter_column("sightings", "payload", nullable=False)
    op.create_index("sightings_by_event", "sightings", ["event_id"])
    op.create_index("sightings_by_age", "sightings", ["seen_at"])


def _move_subscriptions() -> None:
    """Make the feed of every filter that somebody wants, with an entry for all that was told of it so far."""
    db = op.get_bind()
    wanted = db.execute(
        sa.text(
            """
            select u.source_id, u.filter_id, s.seq, min(u.created_at)
            from subscriptions u join sources s on s.id = u.source_id group by 1, 2, 3
            """
        )
    ).all()
    for source_id, filter_id, source_seq, created_at in wanted:
        feed_id = _feed_id(source_id, filter_id, "latest", "", "")
        sightings = db.execute(
            sa.text(
                """
                select seq, event_id, kind, undoes, undone_by, block_hash, payload, seen_at, due_at, type, body
                from sightings where source_id = :source and :filter = any(filter_ids) order by seq
                """
            ),
            {"source": source_id, "filter": filter_id},
        ).all()
        entries, told = _entries(feed_id, source_id, sightings)
        waiting = [entry["seq"] for entry, seen in zip(entries, sightings, strict=True) if seen.due_at is not None]
        hash = entries[-1]["hash"] if entries else FIRST
        values = {
            "id": feed_id,
            "source": source_id,
            "filter": filter_id,
            "seq": len(entries),
            "hash": hash,
            "read": source_seq,
            "sent": waiting[0] - 1 if waiting else len(entries),
            "at": created_at,
        }
        db.execute(
            sa.text(
                """
                insert into feeds (id, source_id, filter_id, finality, level, depth, seq, hash, read_seq, released_seq,
                    sent_seq, sent_to, due_at, created_at)
                values (:id, :source, :filter, 'latest', 'latest', 0, :seq, :hash, :read, :read, :sent, '', :at, :at)
                """
            ),
            values,
        )
        for table, rows in (("feed_entries", entries), ("told_events", told)):
            for row in rows:
                row = {name: value for name, value in row.items() if name not in {"hash", "source_seq"}}
                names, slots = ", ".join(row), ", ".join(f":{name}" for name in row)
                db.execute(sa.text(f"insert into {table} ({names}) values ({slots})"), row)
        subscriptions = db.execute(
            sa.text("select id, after_seq from subscriptions where source_id = :source and filter_id = :filter"), values
        ).all()
        for id, after in subscriptions:
            before = [entry for entry in entries if entry["source_seq"] <= after]
            place = {"seq": len(before), "hash": before[-1]["hash"] if before else FIRST}
            db.execute(
                sa.text(
                    "update subscriptions set feed_id = :feed, after_seq = :seq, after_hash = :hash where id = :id"
                ),
                {"id": id, "feed": feed_id, **place},
            )


def _entries(feed_id: str, source_id: str, sightings: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What the feed would have said, and what of it stands."""
    entries: list[dict[str, Any]] = []
    told: dict[str, dict[str, Any]] = {}
    prev = FIRST
    for seq, seen in enumerate(sightings, 1):
        before = json.loads(seen.body)
        data = {"feed_id": feed_id, "seq": seq, "prev": prev, "source_id": source_id, "event_id": seen.event_id}
        data |= {name: before["data"][name] for name in ("kind", "observed_at", "payload")}
        if seen.undoes is not None:
            told_by = told.pop(seen.event_id, {"entry_seq": 0})["entry_seq"]
            data |= {"retracts": seen.event_id, "retracts_seq": told_by}
        elif seen.block_hash is not None:
            place = {"feed_id": feed_id, "event_id": seen.event_id, "entry_seq": seq, "sighting_seq": seen.seq}
            told[seen.event_id] = place
        body = json.dumps({**before, "data": data}, ensure_ascii=False, separators=(",", ":"))
        prev = hashlib.sha256(body.encode()).hexdigest()
        entry = {"feed_id": feed_id, "seq": seq, "type": seen.type, "body": body, "made_at": seen.seen_at}
        entries.append({**entry, "hash": prev, "source_seq": seen.seq})
    return entries, list(told.values())


def _feed_id(*parts: str) -> str:
    """As feeds are named from now on; kept here, as a migration does not change."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part.encode()).to_bytes(4, "big") + part.encode())
    number, alphabet = int.from_bytes(digest.digest()[:16], "big"), "0123456789abcdefghjkmnpqrstvwxyz"
    return "fed_" + "".join(alphabet[number >> 5 * (25 - place) & 31] for place in range(26))


def downgrade() -> None:
    op.drop_index("subscriptions_by_feed", "subscriptions")
    for column in ("feed_id", "after_hash"):
        op.drop_column("subscriptions", column)
    # Where each subscription began in its source is no longer known: from here on.
    op.execute("update subscriptions u set after_seq = s.seq from sources s where s.id = u.source_id")
    for column in (
        sa.Column("type", sa.String(), nullable=False, server_default="event.matched"),
        sa.Column("body", sa.String(), nullable=False, server_default="{}"),
        sa.Column("due_at", sa.DateTime(timezone=True)),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
    ):
        op.add_column("sightings", column)
    op.execute(
        """
        update sightings set type = case when undoes is null then 'event.matched' else 'event.retracted' end,
            body = json_build_object('data', json_build_object('kind', kind, 'payload', payload::json))::text
        """
    )
    for column in ("type", "body", "attempts"):
        op.alter_column("sightings", column, server_default=None)
    op.drop_index("sightings_by_event", "sightings")
    op.drop_index("sightings_by_age", "sightings")
    for column in ("kind", "payload", "undone_by", "block_number"):
        op.drop_column("sightings", column)
    op.create_index("sightings_due", "sightings", ["due_at"], postgresql_where=sa.text("due_at is not null"))
    op.create_index("sightings_by_filter", "sightings", ["filter_ids"], postgresql_using="gin")
    for table in ("matches", "told_events", "feed_entries", "feeds"):
        op.drop_table(table)
