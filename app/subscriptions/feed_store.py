"""SQL of feeds: who may be waiting to hear something, what there is to say, and what was said."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import orjson
from sqlalchemy import TextClause, or_, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, func, select

from app.kit import due, limits
from app.kit.sql import sql
from app.subscriptions.feeds import Entry, Feed, Hearer, Retracting, Seen, Step, Terms, View
from app.subscriptions.models import Catching, FeedEntry, Filter, Source, Subscription
from app.subscriptions.models import Feed as Row
from tocsin.feeds import beginning_hash

T = TypeVar("T")

# Joining and leaving


async def join(db: AsyncSession, new_id: str, source: Source, filter_id: str, terms: Terms, now: datetime) -> Row:
    """The feed that tells this in this way, heard from now on, and locked; a new one by this id where there is none.

    Its source is locked: nobody else makes one at the same time.
    """
    feed = await _found(db, source.id, filter_id, terms)
    if feed is None:
        feed = _begun(db, new_id, source, filter_id, terms, now)
    elif feed.resting_since is not None:
        await _resume(db, feed, source, terms)
    await db.flush()
    return feed


async def _found(db: AsyncSession, source_id: str, filter_id: str, terms: Terms) -> Row | None:
    """The feed of these terms, locked, so that nobody forgets it. One of the past has its beginning still."""
    begins = select(col(FeedEntry.seq)).where(col(FeedEntry.feed_id) == col(Row.id), col(FeedEntry.seq) == 1)
    question = select(Row).where(
        col(Row.source_id) == source_id,
        col(Row.filter_id) == filter_id,
        col(Row.finality) == terms.finality,
        col(Row.batch).is_not_distinct_from(terms.batch),
        col(Row.heartbeat_blocks).is_not_distinct_from(terms.heartbeat_blocks),
        col(Row.from_block).is_not_distinct_from(terms.from_block),
        or_(col(Row.from_block).is_(None), col(Row.seq) == 0, begins.exists()),
    )
    newest = question.order_by(col(Row.created_at).desc()).limit(1).with_for_update()
    return (await db.scalars(newest.execution_options(populate_existing=True))).one_or_none()


def _begun(db: AsyncSession, feed_id: str, source: Source, filter_id: str, terms: Terms, now: datetime) -> Row:
    """A new feed, which begins where its source stands."""
    feed = Row(
        id=feed_id,
        source_id=source.id,
        filter_id=filter_id,
        finality=terms.finality,
        batch=terms.batch,
        heartbeat_blocks=terms.heartbeat_blocks,
        from_block=terms.from_block,
        is_catching_up=terms.from_block is not None,
        level=terms.level.name,
        depth=terms.level.depth,
        seq=0,
        hash=beginning_hash,
        read_seq=source.seq,
        released_seq=source.seq,
        sent_seq=0,
        attention_at=_looks_at(terms),
        created_at=now,
    )
    db.add(feed)
    if terms.from_block is not None:
        reach = limits.backfill_start_blocks
        db.add(Catching(id=feed_id, next_block=terms.from_block, reach_blocks=reach, due_at=now))
    return feed


async def _resume(db: AsyncSession, feed: Row, source: Source, terms: Terms) -> None:
    """Let a feed that nobody has heard for a while go on with its sequence. What it told before it knows no more."""
    await db.execute(text("delete from told_events where feed_id = :id"), {"id": feed.id})
    feed.resting_since = None
    feed.read_seq = feed.released_seq = source.seq
    feed.sent_seq, feed.sent_to = feed.seq, ""
    feed.spoke_at, feed.attention_at = None, _looks_at(terms)


def _looks_at(terms: Terms) -> int | None:
    """A feed with a heartbeat looks as soon as it can where it begins."""
    return None if terms.heartbeat_blocks is None else terms.level.depth


async def rest_unheard(db: AsyncSession, feed_id: str, now: datetime) -> None:
    """Let the feed rest if no subscription is to it. Its source is locked.

    One of the past is forgotten: it could not go on without what it would miss. Who wants it again has it made again.
    """
    forgotten = text(
        """
        with gone as (
            delete from feeds f
            where f.id = :id and f.from_block is not null
                and not exists (select from subscriptions u where u.feed_id = f.id)
            returning f.id
        ), entries as (
            delete from feed_entries e using gone where e.feed_id = gone.id
        ), told as (
            delete from told_events t using gone where t.feed_id = gone.id
        )
        delete from catching_up c using gone where c.id = gone.id
        """
    )
    await db.execute(forgotten, {"id": feed_id})
    statement = text(
        """
        update feeds set resting_since = :now, due_at = null, attention_at = null
        where id = :id and not exists (select from subscriptions where feed_id = :id)
        """
    )
    await db.execute(statement, {"id": feed_id, "now": now})


# Calling attention. A feed that somebody feeds at this moment is waited for: what it has not seen yet, it will look at.


async def seen(db: AsyncSession, source_id: str, filters: Mapping[str, int | None], now: datetime) -> None:
    """Something passed these filters, in blocks from these numbers on: feeds of it are due, now or once it is final.

    Without a number it concerns them now: it is on no chain, or takes something back.
    """
    statement = sql(
        """
        update feeds f set
            due_at = case when w.number is null or (f.level = 'latest' and f.depth = 0)
                then least(f.due_at, :now) else f.due_at end,
            attention_at = case when w.number is null or (f.level = 'latest' and f.depth = 0)
                then f.attention_at else least(f.attention_at, w.number + f.depth) end
        from json_to_recordset(cast(:wanted as json)) as w(filter_id text, number bigint)
        where f.filter_id = w.filter_id and f.source_id = :source_id and f.resting_since is null
        """
    )
    wanted = [{"filter_id": filter_id, "number": number} for filter_id, number in filters.items()]
    await db.execute(statement, {"source_id": source_id, "wanted": orjson.dumps(wanted).decode(), "now": now})


async def moved(db: AsyncSession, source_id: str, position: Mapping[str, Any], now: datetime) -> None:
    """The source stands here: feeds that waited for one of its heads to get so far are due."""
    # The index holds only those who wait: what nobody waits for costs nothing, however many feeds there are. One that
    # begins to wait at this moment, for a head that is there already, is seen when the source is looked at again.
    statement = sql(
        """
        update feeds f set due_at = least(f.due_at, :now), attention_at = null
        from json_to_recordset(cast(:heads as json)) as h(level text, number bigint)
        where f.source_id = :source_id and f.level = h.level and f.attention_at <= h.number
        """
    )
    named = {"latest": position.get("number"), "safe": position.get("safe"), "finalized": position.get("finalized")}
    heads = [{"level": level, "number": number} for level, number in named.items() if number is not None]
    if heads:
        await db.execute(statement, {"source_id": source_id, "heads": orjson.dumps(heads).decode(), "now": now})


# Feeding


async def claim(db: AsyncSession, now: datetime, limit: int) -> Sequence[Feed]:
    """The feeds that have been due for longest, locked until this transaction ends; others skip them."""
    statement = sql(
        """
        select id, source_id, filter_id, finality, batch, heartbeat_blocks, seq, hash, read_seq, released_seq,
            sent_seq, sent_to, spoke_at, after_block, is_catching_up
        from feeds where due_at <= :now order by due_at limit :limit for update skip locked
        """
    )
    rows = await db.execute(statement, {"now": now, "limit": limit})
    return [
        Feed(id, source_id, filter_id, Terms(finality, batch, heartbeat_blocks), *place)
        for id, source_id, filter_id, finality, batch, heartbeat_blocks, *place in rows
    ]


async def views(db: AsyncSession, feeds: Sequence[Feed], limit: int) -> Mapping[str, View]:
    """What the sources of these feeds, which are locked, have seen for each."""
    # Read after the feeds were locked: whoever adds to a source calls its feeds first, and waits for those that are
    # locked. So what is not seen here is called afterwards.
    sources = sql("select id, seq, position from sources where id = any(cast(:ids as text[]))")
    found = await db.execute(sources, {"ids": list({feed.source_id for feed in feeds})})
    stand = {row.id: (row.seq, row.position) for row in found}
    asked = [
        {
            "id": feed.id,
            "source_id": feed.source_id,
            "filter_id": feed.filter_id,
            "read_seq": feed.read_seq,
            "released_seq": feed.released_seq,
            "after_block": feed.after_block,
            "until": stand[feed.source_id][0],
        }
        for feed in feeds
    ]
    values = {"feeds": orjson.dumps(asked).decode(), "limit": limit, "bytes_max": limits.feeding_bytes_max}
    gone, gone_more = _fitting(await db.execute(_retracting, values), Retracting)
    standing, standing_more = _fitting(await db.execute(_standing, values | {"limit": limit + 1}), Seen)
    return {
        feed.id: View(
            *stand[feed.source_id],
            gone.get(feed.id, ()),
            standing.get(feed.id, ()),
            retracting_more=feed.id in gone_more,
            seen_more=feed.id in standing_more,
        )
        for feed in feeds
    }


def _fitting(rows: Iterable[Any], item: Callable[..., T]) -> tuple[Mapping[str, Sequence[T]], Set[str]]:
    """What was read for each feed, and the feeds for which there is more than fits."""
    read, more = dict[str, list[T]](), set[str]()
    for feed_id, fits, *row in rows:
        if fits:
            read.setdefault(feed_id, []).append(item(*row))
        else:
            more.add(feed_id)
    return read, more


# Both ask how things stood at `until`, whatever the source has added since. What does not fit is named, and not read.
_asked = """
    json_to_recordset(cast(:feeds as json)) as f(
        id text, source_id text, filter_id text, read_seq bigint, released_seq bigint, after_block bigint,
        until bigint
    )
"""
_retracting = sql(
    f"""
    select f.id, r.bytes_before < :bytes_max, r.entry_seq, r.event_id, r.kind,
        case when r.bytes_before < :bytes_max then r.payload end, r.seen_at, r.block_number, r.block_hash
    from {_asked} cross join lateral (
        select newest.*, sum(octet_length(payload)) over (order by entry_seq desc, sighting_seq desc)
            - octet_length(payload) as bytes_before
        from (
            select * from (
                select distinct on (t.event_id) t.entry_seq, t.sighting_seq, u.*
                from matches m
                join sightings u on u.source_id = f.source_id and u.seq = m.seq and u.undoes is not null
                join told_events t on t.feed_id = f.id and t.event_id = u.event_id
                where m.filter_id = f.filter_id and m.seq > f.read_seq and m.seq <= f.until
                    and not exists (
                        select from sightings s
                        where s.event_id = u.event_id and s.source_id = f.source_id and s.undoes is null
                            and f.filter_id = any(s.filter_ids)
                            and s.seq <= f.until and (s.undone_by is null or s.undone_by > f.until)
                    )
                order by t.event_id, u.seq desc
            ) undone
            order by undone.entry_seq desc, undone.sighting_seq desc limit :limit
        ) newest
    ) r
    order by f.id, r.entry_seq desc, r.sighting_seq desc
    """
)
_standing = sql(
    f"""
    select f.id, r.bytes_before < :bytes_max, r.seq, r.event_id, r.kind,
        case when r.bytes_before < :bytes_max then r.payload end, r.seen_at, r.block_number, r.block_hash
    from {_asked} cross join lateral (
        select oldest.*, sum(octet_length(payload)) over (order by seq) - octet_length(payload) as bytes_before
        from (
            select s.*
            from matches m
            join sightings s on s.source_id = f.source_id and s.seq = m.seq and s.undoes is null
            where m.filter_id = f.filter_id and m.seq > f.released_seq and m.seq <= f.until
                and (s.undone_by is null or s.undone_by > f.until)
                and (f.after_block is null or s.block_number > f.after_block)
                and not exists (select from told_events t where t.feed_id = f.id and t.event_id = s.event_id)
            order by m.seq limit :limit
        ) oldest
    ) r
    order by f.id, r.seq
    """
)


async def write(db: AsyncSession, steps: Sequence[Step], now: datetime) -> None:
    """Append these entries to their feeds, and remember which of the events may have to be taken back."""
    entries = [(each.feed.id, entry) for each in steps for entry in each.entries]
    if not entries:
        return
    added = sql(
        """
        insert into feed_entries (feed_id, seq, type, body, event_ids, made_at)
        select feed_id, seq, type, body, event_ids, :now
        from json_to_recordset(cast(:entries as json))
            as e(feed_id text, seq bigint, type text, body text, event_ids text[])
        """
    )
    rows = [
        {"feed_id": feed_id, "seq": e.seq, "type": e.type, "body": e.body, "event_ids": list(e.event_ids)}
        for feed_id, e in entries
    ]
    await db.execute(added, {"entries": orjson.dumps(rows).decode(), "now": now})
    taken_back = [
        {"feed_id": feed_id, "event_id": each.event_id} for feed_id, entry in entries for each in entry.retracted
    ]
    if taken_back:
        dropped = sql(
            """
            delete from told_events t
            using json_to_recordset(cast(:events as json)) as e(feed_id text, event_id text)
            where t.feed_id = e.feed_id and t.event_id = e.event_id
            """
        )
        await db.execute(dropped, {"events": orjson.dumps(taken_back).decode()})
    told = [
        {"feed_id": feed_id, "event_id": each.event_id, "entry_seq": entry.seq, "sighting_seq": each.seq}
        for feed_id, entry in entries
        for each in entry.told
        # What is on no chain is never taken back.
        if each.block_hash is not None
    ]
    if told:
        kept = sql(
            """
            insert into told_events (feed_id, event_id, entry_seq, sighting_seq)
            select feed_id, event_id, entry_seq, sighting_seq from json_to_recordset(cast(:events as json))
                as e(feed_id text, event_id text, entry_seq bigint, sighting_seq bigint)
            """
        )
        await db.execute(kept, {"events": orjson.dumps(told).decode()})


async def unsent(db: AsyncSession, feeds: Sequence[Feed], limit: int) -> Mapping[str, Sequence[Entry]]:
    """The entries of these feeds that are not on their way to everybody, oldest first, at most `limit` of each.

    Where they are large, fewer; at least one.
    """
    statement = sql(
        """
        select f.id, e.seq, e.type, e.body
        from json_to_recordset(cast(:feeds as json)) as f(id text, sent_seq bigint) cross join lateral (
            select seq, type, body, sum(octet_length(body)) over (order by seq) - octet_length(body) as bytes_before
            from (
                select * from feed_entries where feed_id = f.id and seq > f.sent_seq order by seq limit :limit
            ) waiting
        ) e
        where e.bytes_before < :bytes_max
        order by f.id, e.seq
        """
    )
    values = {"limit": limit, "bytes_max": limits.feeding_bytes_max}
    found = await _of_each(db, statement, feeds, "sent_seq", values)
    return {feed_id: [Entry(*row) for row in rows] for feed_id, rows in found.items()}


async def hearers(db: AsyncSession, feeds: Sequence[Feed], limit: int) -> Mapping[str, Sequence[Hearer]]:
    """The endpoints after `sent_to` that hear these feeds, each once, in order, at most `limit` of each feed."""
    statement = sql(
        """
        select f.id, h.endpoint_id, h.after_seq
        from json_to_recordset(cast(:feeds as json)) as f(id text, sent_to text) cross join lateral (
            select endpoint_id, min(after_seq) as after_seq from subscriptions
            where feed_id = f.id and endpoint_id > f.sent_to
            group by endpoint_id order by endpoint_id limit :limit
        ) h
        order by f.id, h.endpoint_id
        """
    )
    found = await _of_each(db, statement, feeds, "sent_to", {"limit": limit})
    return {feed_id: [Hearer(*row) for row in rows] for feed_id, rows in found.items()}


async def _of_each(
    db: AsyncSession, statement: TextClause, feeds: Sequence[Feed], place: str, values: Mapping[str, Any]
) -> Mapping[str, Sequence[Sequence[Any]]]:
    """What a statement finds for each of these feeds, from this place of theirs on. No feed, no question."""
    found: dict[str, list[Sequence[Any]]] = {feed.id: [] for feed in feeds}
    if feeds:
        asked = orjson.dumps([{"id": feed.id, place: getattr(feed, place)} for feed in feeds]).decode()
        for feed_id, *row in await db.execute(statement, {**values, "feeds": asked}):
            found[feed_id].append(row)
    return found


@dataclass(frozen=True, slots=True)
class Fed:
    """Where a feed that was claimed has got to. Due again while it `goes_on`."""

    feed: Feed
    attention_at: int | None
    goes_on: bool


async def conclude(db: AsyncSession, fed: Sequence[Fed], now: datetime) -> None:
    """Write where these feeds have got to."""
    statement = sql(
        """
        update feeds f set seq = n.seq, hash = n.hash, read_seq = n.read_seq, released_seq = n.released_seq,
            sent_seq = n.sent_seq, sent_to = n.sent_to, spoke_at = n.spoke_at, attention_at = n.attention_at,
            due_at = case when n.goes_on then cast(:now as timestamptz) end
        from json_to_recordset(cast(:fed as json)) as n(
            id text, seq bigint, hash text, read_seq bigint, released_seq bigint, sent_seq bigint, sent_to text,
            spoke_at bigint, attention_at bigint, goes_on boolean
        )
        where f.id = n.id
        """
    )
    names = ("id", "seq", "hash", "read_seq", "released_seq", "sent_seq", "sent_to", "spoke_at")
    rows = [
        {name: getattr(each.feed, name) for name in names}
        | {"attention_at": each.attention_at, "goes_on": each.goes_on}
        for each in fed
    ]
    await db.execute(statement, {"fed": orjson.dumps(rows).decode(), "now": now})


# Catching up


@dataclass(frozen=True, slots=True)
class Behind:
    """A feed that has to catch up, and what it is to."""

    feed: Feed
    catching: Catching
    source: Source
    filter_id: str
    spec: Mapping[str, Any]


async def catching(db: AsyncSession, feed_ids: Collection[str]) -> Mapping[str, Catching]:
    """How far those of these feeds have caught up that begin in the past."""
    rows = await db.scalars(select(Catching).where(col(Catching.id).in_(feed_ids)))
    return {row.id: row for row in rows}


async def behind(db: AsyncSession, now: datetime, lease_seconds: float) -> Behind | None:
    """Take a feed that has to catch up; nobody else does until the lease ends."""
    taken = await due.claim(db, Catching, now=now, lease_seconds=lease_seconds, limit=1)
    if not taken:
        return None
    question = (
        select(Row, Source, Filter)
        .join(Source, col(Source.id) == col(Row.source_id))
        .join(Filter, col(Filter.id) == col(Row.filter_id))
        .where(col(Row.id) == taken[0].id)
    )
    feed, source, wanted = (await db.execute(question)).one()
    return Behind(_feed(feed), taken[0], source, wanted.id, wanted.spec)


async def behind_of(db: AsyncSession, agent_id: str) -> int:
    """How many of an agent's subscriptions have to catch up."""
    question = select(func.count()).join(Row, col(Row.id) == col(Subscription.feed_id))
    mine = question.where(col(Subscription.agent_id) == agent_id, col(Row.is_catching_up))
    return (await db.scalars(mine.select_from(Subscription))).one()


async def still_behind(db: AsyncSession, taken: Catching) -> Feed | None:
    """The feed that was taken, locked; None when it is not ours any more."""
    # The feed first, as everybody does who locks both.
    feed = (await db.scalars(select(Row).where(col(Row.id) == taken.id).with_for_update())).one_or_none()
    question = select(Catching).where(col(Catching.id) == taken.id, col(Catching.attempts) == taken.attempts)
    is_ours = (await db.scalars(question.with_for_update())).one_or_none() is not None
    return _feed(feed) if feed is not None and is_ours else None


async def begin_later(db: AsyncSession, feed_id: str, block: int) -> None:
    """Say of a feed of the past that it begins at this block."""
    await db.execute(text("update feeds set from_block = :block where id = :id"), {"id": feed_id, "block": block})


async def caught(db: AsyncSession, catching: Catching, due_at: datetime | None) -> None:
    """Write how far a feed has caught up. Without a time it has: what was seen meanwhile is next."""
    statement = text(
        """
        update catching_up set next_block = :next, until_block = :until, reach_blocks = :reach, failures = :failures,
            last_error = :error, due_at = :due_at
        where id = :id
        """
    )
    values = {
        "id": catching.id,
        "next": catching.next_block,
        "until": catching.until_block,
        "reach": catching.reach_blocks,
        "failures": catching.failures,
        "error": catching.last_error,
        "due_at": due_at,
    }
    await db.execute(statement, values)
    if due_at is None:
        live = text("update feeds set is_catching_up = false, after_block = :until where id = :id")
        await db.execute(live, values)


def _feed(row: Row) -> Feed:
    terms = Terms(row.finality, row.batch, row.heartbeat_blocks, row.from_block)
    place = (row.seq, row.hash, row.read_seq, row.released_seq, row.sent_seq, row.sent_to, row.spoke_at)
    return Feed(row.id, row.source_id, row.filter_id, terms, *place, row.after_block, row.is_catching_up)


# Reading


async def entries(db: AsyncSession, feed_id: str, after: int, limit: int) -> Sequence[FeedEntry]:
    """The entries of a feed after a place, in order, at most `limit`. Where they are large, fewer; at least one."""
    statement = text(
        """
        select feed_id, seq, type, body, event_ids, made_at from (
            select *, sum(octet_length(body)) over (order by seq) - octet_length(body) as bytes_before
            from (select * from feed_entries where feed_id = :id and seq > :after order by seq limit :limit) later
        ) page
        where bytes_before < :bytes_max order by seq
        """
    )
    rows = select(FeedEntry).from_statement(statement.columns(*FeedEntry.__table__.columns))  # pyright: ignore
    values = {"id": feed_id, "after": after, "limit": limit, "bytes_max": limits.feed_page_bytes_max}
    return (await db.scalars(rows, values)).all()


async def hearers_of(db: AsyncSession, agent_id: str, event_id: str, limit: int) -> Sequence[str]:
    """The agent's subscriptions that were told an event, oldest first."""
    statement = sql(
        """
        select distinct s.id from feed_entries e
        join subscriptions s on s.feed_id = e.feed_id and s.agent_id = :agent_id and s.after_seq < e.seq
        where e.event_ids @> array[cast(:event_id as varchar)]
        order by s.id limit :limit
        """
    )
    values = {"agent_id": agent_id, "event_id": event_id, "limit": limit}
    return (await db.scalars(statement, values)).all()


async def told(db: AsyncSession, agent_id: str, subscription_id: str, event_id: str) -> str | None:
    """The latest entry about an event that this subscription of the agent's was told; None where there is none."""
    statement = sql(
        """
        select e.body from feed_entries e
        join subscriptions s on s.feed_id = e.feed_id and s.after_seq < e.seq
        where s.id = :subscription_id and s.agent_id = :agent_id
            and e.event_ids @> array[cast(:event_id as varchar)]
        order by e.seq desc limit 1
        """
    )
    values = {"agent_id": agent_id, "subscription_id": subscription_id, "event_id": event_id}
    return (await db.execute(statement, values)).scalar_one_or_none()


async def seqs(db: AsyncSession, feed_ids: Collection[str]) -> Mapping[str, int]:
    """How far each of these feeds has come."""
    question = sql("select id, seq from feeds where id = any(cast(:ids as text[]))")
    return {row.id: row.seq for row in await db.execute(question, {"ids": list(feed_ids)})}
