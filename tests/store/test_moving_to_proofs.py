"""Entries from before there were proofs are found by what they say, as those after."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, make_url, text

from app.local import migrations
from app.local.postgres import Postgres

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
ENTRIES: list[tuple[str, dict[str, Any], list[str]]] = [
    ("event.matched", {"event_id": "evt_1"}, ["evt_1"]),
    ("event.retracted", {"event_id": "evt_1", "retracts": "evt_1"}, ["evt_1"]),
    ("event.batch", {"items": [{"event_id": "evt_2"}, {"event_id": "evt_3"}]}, ["evt_2", "evt_3"]),
    ("event.batch", {"items": []}, []),
    ("subscription.heartbeat", {"after": 1}, []),
]


def test_entries_are_found_by_what_they_say(postgres: Postgres) -> None:
    config = migrations.config()
    before = ScriptDirectory.from_config(config).get_revision("0017").down_revision
    assert isinstance(before, str)
    engine = create_engine(make_url(postgres.url_of("before_proofs")).set(drivername="postgresql+psycopg"))
    with engine.connect() as db:
        config.attributes["connection"] = db
        command.upgrade(config, before)
        for seq, (type, data, _) in enumerate(ENTRIES, 1):
            body = orjson.dumps({"type": type, "data": data}).decode()
            written = "insert into feed_entries (feed_id, seq, type, body, made_at)"
            values = {"seq": seq, "type": type, "body": body, "now": NOW}
            db.execute(text(f"{written} values ('fed_1', :seq, :type, :body, :now)"), values)
        db.commit()
        command.upgrade(config, "0017")
        db.commit()
        found = db.execute(text("select event_ids from feed_entries order by seq")).scalars().all()
    engine.dispose()
    assert found == [event_ids for _, _, event_ids in ENTRIES]
