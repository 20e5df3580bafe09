"""Subscriptions from before there were feeds are moved over, with all that they were told and what they wait for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from alembic import command
from sqlalchemy import Connection, create_engine, make_url, text

from app.local import migrations
from app.local.postgres import Postgres
from tests.feeding import replayed
from tocsin.feeds import hash_of

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)


def body(type: str, seq: int, event_id: str) -> str:
    payload: dict[str, Any] = {"block": {"number": 7, "hash": "0x7"}, "replaced_by": None}
    data = {"event_id": event_id, "source_id": "src_1", "kind": "evm.log", "seq": seq}
    data |= {"observed_at": "2026-11-22T09:00:00.000Z", "payload": payload}
    return orjson.dumps({"type": type, "timestamp": "2026-11-22T09:00:00.000Z", "data": data}).decode()


@pytest.fixture
def before(postgres: Postgres) -> Iterator[Connection]:
    """A database as it was, with two subscriptions to one filter, and one sighting that is not on its way yet."""
    url = postgres.url_of("before_feeds")
    config = migrations.config()
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    with engine.connect() as db:
        config.attributes["connection"] = db
        command.upgrade(config, "0012")
        db.execute(text("insert into agents (id, created_at) values ('agt_1', :now)"), {"now": NOW})
        db.execute(
            text(
                """
                insert into sources (id, kind, params, state, seq, filters_version, attempts, created_at)
                values ('src_1', 'evm', '{"chain": "eip155:1"}', 'active', 4, 1, 0, :now)
                """
            ),
            {"now": NOW},
        )
        db.execute(text("insert into filters (id, source_id, spec) values ('flt_1', 'src_1', '{}')"))
        for id, after in (("sub_1", 0), ("sub_2", 3)):
            db.execute(
                text(
                    """
                    insert into subscriptions (id, agent_id, source_id, filter_id, after_seq, created_at)
                    values (:id, 'agt_1', 'src_1', 'flt_1', :after, :now)
                    """
                ),
                {"id": id, "after": after, "now": NOW},
            )
        told = [
            (1, "evt_1", None, "{flt_1}", None),
            (2, "evt_2", None, "{flt_2}", None),
            (3, "evt_1", 1, "{flt_1}", None),
            (4, "evt_3", None, "{flt_1,flt_2}", NOW),
        ]
        for seq, event_id, undoes, filters, due_at in told:
            type = "event.matched" if undoes is None else "event.retracted"
            values = {"id": f"sgt_{seq}", "seq": seq, "event": event_id, "undoes": undoes, "filters": filters}
            db.execute(
                text(
                    """
                    insert into sightings (id, source_id, seq, event_id, undoes, filter_ids, block_hash, type, body,
                        seen_at, due_at, attempts)
                    values (:id, 'src_1', :seq, :event, :undoes, :filters, '0x7', :type, :body, :now, :due, 0)
                    """
                ),
                {**values, "type": type, "body": body(type, seq, event_id), "now": NOW, "due": due_at},
            )
        db.commit()
        command.upgrade(config, "0013")
        db.commit()
        yield db
    engine.dispose()


def rows(db: Connection, question: str) -> Sequence[Any]:
    return db.execute(text(question)).all()


def test_what_was_told_becomes_a_feed(before: Connection) -> None:
    [feed] = rows(before, "select seq, hash, read_seq, released_seq, sent_seq, due_at from feeds")
    bodies = [row[0].encode() for row in rows(before, "select body from feed_entries order by seq")]
    assert replayed(bodies) == ["evt_3"]
    assert (feed.seq, feed.hash, feed.read_seq, feed.released_seq) == (3, hash_of(bodies[-1]), 4, 4)
    # The last is not on its way yet: the feed is due for that.
    assert (feed.sent_seq, feed.due_at) == (2, NOW)
    # Those who had joined begin where they began.
    joined = rows(before, "select id, after_seq, after_hash from subscriptions order by id")
    assert [(each.id, each.after_seq) for each in joined] == [("sub_1", 0), ("sub_2", 2)]
    assert joined[1].after_hash == hash_of(bodies[1])
    # And what stands can still be taken back.
    assert rows(before, "select event_id, entry_seq, sighting_seq from told_events") == [("evt_3", 3, 4)]
    kept = rows(before, "select seq, kind, block_number, undone_by from sightings order by seq")
    assert kept == [(1, "evm.log", 7, 3), (2, "evm.log", 7, None), (3, "evm.log", 7, None), (4, "evm.log", 7, None)]
    matches = rows(before, "select filter_id, seq from matches order by 1, 2")
    assert matches == [("flt_1", 1), ("flt_1", 3), ("flt_1", 4), ("flt_2", 2), ("flt_2", 4)]
