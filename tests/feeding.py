"""A source that tests write themselves, feeds on it, and a reader who knows only what the feeds have said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.kit.database import Database
from app.kit.ids import Ids
from app.services import Services
from app.subscriptions import store
from app.subscriptions.feeds import Terms
from app.subscriptions.service import Looked
from app.subscriptions.telling import Seen, Undone
from tests.world import EPOCH, OwnClock
from tocsin.feeds import beginning_hash, hash_of

SOURCE, FILTER, AGENT = "src_1", "flt_1", "agt_1"
PAYLOAD = {"replaced_by": None}


@dataclass(frozen=True)
class Block:
    """A block, and the ids of the events in it."""

    number: int
    hash: str
    events: tuple[str, ...]


@dataclass
class Written:
    """A chain that a test extends and rewinds, each time in the one transaction of a look."""

    database: Database
    services: Services
    clock: OwnClock
    source_id: str = SOURCE
    filter_id: str = FILTER
    blocks: list[Block] = field(default_factory=list[Block])
    made: int = 0

    def grow(self, *events: int, number: int | None = None) -> list[Block]:
        """New blocks on top, with so many events each; not yet looked at."""
        first = number if number is not None else (self.blocks[-1].number + 1 if self.blocks else 1)
        new = list[Block]()
        for place, count in enumerate(events):
            self.made += 1
            names = tuple(f"evt_{self.made}_{n}" for n in range(count))
            new.append(Block(first + place, f"0x{self.made}", names))
        return new

    async def look(self, undo: int = 0, add: Sequence[Block] = (), **heads: int | None) -> None:
        """Take back so many blocks, and add these."""
        gone = [self.blocks.pop() for _ in range(undo)]
        self.blocks += add
        async with self.database.transaction() as db:
            held = await store.lock_source(db, self.source_id)
            standing = await self.services.subscriptions.standing(db, self.source_id, [block.hash for block in gone])
            undone = [
                Undone(
                    each.event_id,
                    each.kind,
                    each.filter_ids,
                    each.block_hash,
                    each.block_number,
                    each.seq,
                    each.payload,
                    {"replaced_by": None},
                )
                for each in reversed(standing)
            ]
            seen = [
                Seen(event, "evm.log", [self.filter_id], PAYLOAD, block.hash, block.number)
                for block in add
                for event in block.events
            ]
            await self.services.subscriptions.tell(db, held, [*undone, *seen], self.clock.at)
            tip = {"number": self.blocks[-1].number, "hash": self.blocks[-1].hash, "timestamp": 0}
            again = self.clock.at + timedelta(seconds=1)
            looked = Looked("active", again, position={**tip, "safe": None, "finalized": None, **heads})
            await self.services.subscriptions.conclude(db, held, looked, self.clock.at)

    def reading(self, head: int) -> list[str]:
        """The events up to a block, as somebody finds them who asks the chain itself."""
        return [event for block in self.blocks if block.number <= head for event in block.events]


async def found(database: Database) -> None:
    """A source with a filter, and an agent."""
    async with database.transaction() as db:
        await db.execute(text("insert into agents (id, created_at) values (:id, :at)"), {"id": AGENT, "at": EPOCH})
        source = """
            insert into sources (id, kind, params, state, seq, filters_version, attempts, created_at)
            values (:id, 'evm', '{"chain": "eip155:1"}', 'active', 0, 0, 0, :at)
        """
        await db.execute(text(source), {"id": SOURCE, "at": EPOCH})
        wanted = "insert into filters (id, source_id, spec) values (:id, :source, '{}')"
        await db.execute(text(wanted), {"id": FILTER, "source": SOURCE})


async def join(database: Database, terms: Terms, *endpoint_ids: str) -> str:
    """Let these endpoints hear a feed from now on; nobody, and it is only read. Returns its id."""
    from app.subscriptions import feed_store
    from app.subscriptions.models import Subscription

    async with database.transaction() as db:
        source = await store.lock_source(db, SOURCE)
        feed = await feed_store.join(db, Ids().new("fed"), source, FILTER, terms, EPOCH)
        for endpoint_id in endpoint_ids or (None,):
            if endpoint_id is not None:
                await _endpoint(db, endpoint_id)
            db.add(
                Subscription(
                    id=Ids().new("sub"),
                    agent_id=AGENT,
                    source_id=SOURCE,
                    filter_id=FILTER,
                    feed_id=feed.id,
                    endpoint_id=endpoint_id,
                    after_seq=feed.seq,
                    after_hash=feed.hash,
                    begins_after={},
                    created_at=EPOCH,
                )
            )
    return feed.id


async def _endpoint(db: AsyncSession, endpoint_id: str) -> None:
    endpoint = """
        insert into endpoints (id, agent_id, url, state, secret, attempts, attempts_before, created_at, updated_at)
        values (:id, :agent, 'https://agent.example/', 'active', 'whsec_', 0, 0, :at, :at) on conflict do nothing
    """
    await db.execute(text(endpoint), {"id": endpoint_id, "agent": AGENT, "at": EPOCH})


async def said(database: Database, feed_id: str) -> list[bytes]:
    """All bodies of a feed, in order."""
    question = text("select body from feed_entries where feed_id = :id order by seq")
    async with database.transaction() as db:
        return [body.encode() for body in (await db.scalars(question, {"id": feed_id})).all()]


async def rung(database: Database) -> dict[str, list[bytes]]:
    """What was set on its way to each endpoint, in the order of the feed."""
    question = text("select d.endpoint_id, m.body from deliveries d join messages m on m.id = d.message_id")
    async with database.transaction() as db:
        rows = (await db.execute(question)).all()
    heard: dict[str, list[bytes]] = {}
    for endpoint_id, body in sorted(rows, key=lambda row: orjson.loads(row[1])["data"]["seq"]):
        heard.setdefault(endpoint_id, []).append(body.encode())
    return heard


def replayed(bodies: Sequence[bytes], after: tuple[int, str] = (0, beginning_hash)) -> list[str]:
    """The events that stand for a reader who has only these bodies; a sequence that does not hold is refused."""
    seq, prev = after
    standing: dict[str, int] = {}
    for body in bodies:
        ring = orjson.loads(body)
        data = ring["data"]
        seq += 1
        assert (data["seq"], data["prev"]) == (seq, prev)
        prev = hash_of(body)
        for type, item in _items(ring["type"], data):
            if type == "event.matched":
                assert item["event_id"] not in standing, "told twice"
                standing[item["event_id"]] = seq
            else:
                assert standing.pop(item["retracts"]) == item["retracts_seq"], "taken back as something else"
    return list(standing)


def _items(type: str, data: Mapping[str, Any]) -> list[tuple[str, Any]]:
    if type == "event.batch":
        return [(item["type"], item) for item in data["items"]]
    return [] if type == "subscription.heartbeat" else [(type, data)]
