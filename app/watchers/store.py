"""SQL of what watchers remember."""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from app.watchers.evidence import Capability, Verified
from app.watchers.follower import Block, Final, Ring
from app.watchers.models import Block as BlockRow
from app.watchers.models import LearnedChain, Selection, Watcher


async def watcher(db: AsyncSession, source_id: str) -> Watcher:
    """How the watching of a source went so far; made at the first look."""
    statement = text(
        """
        insert into watchers (source_id, upstream_calls, failures, doubts, whole) values (:id, 0, 0, 0, true)
        on conflict (source_id) do nothing
        """
    )
    await db.execute(statement, {"id": source_id})
    return (await db.scalars(select(Watcher).where(col(Watcher.source_id) == source_id))).one()


async def watchers(db: AsyncSession, source_ids: Collection[str]) -> Mapping[str, Watcher]:
    """How the watching of these sources goes; those that nobody has looked at yet are left out."""
    rows = await db.scalars(select(Watcher).where(col(Watcher.source_id).in_(source_ids)))
    return {row.source_id: row for row in rows}


async def conclude_look(
    db: AsyncSession,
    source_id: str,
    *,
    now: datetime,
    calls: int,
    error: str | None,
    doubts: int = 0,
) -> None:
    """Count a look. `failures` counts those in a row that ended in an error."""
    statement = text(
        """
        update watchers
        set looked_at = :now, upstream_calls = upstream_calls + :calls, last_error = cast(:error as text),
            doubts = :doubts,
            failures = case when cast(:error as text) is null then 0 else failures + 1 end
        where source_id = :id
        """
    )
    await db.execute(statement, {"id": source_id, "now": now, "calls": calls, "error": error, "doubts": doubts})


async def count_calls(db: AsyncSession, source_id: str, calls: int) -> None:
    """Count calls that were made beside looks."""
    statement = text("update watchers set upstream_calls = upstream_calls + :calls where source_id = :id")
    await db.execute(statement, {"id": source_id, "calls": calls})


# Chains


async def ring(db: AsyncSession, of: Watcher) -> Ring:
    """The newest blocks that were applied, and how far they are final."""
    question = select(BlockRow).where(col(BlockRow.source_id) == of.source_id).order_by(col(BlockRow.number))
    rows = await db.scalars(question)
    final = None if of.final_number is None else Final(of.final_number, of.final_hash)
    return Ring(tuple(Block(row.number, row.hash, row.parent_hash, row.timestamp) for row in rows), of.whole, final)


async def replace_blocks(db: AsyncSession, source_id: str, before: Ring, after: Ring) -> None:
    """Make `after` what is remembered, where `before` was: only what differs is written."""
    kept = set(before.blocks) & set(after.blocks)
    gone = [block.number for block in before.blocks if block not in kept]
    new = [block for block in after.blocks if block not in kept]
    dropped = text("delete from blocks where source_id = :id and number = any(cast(:numbers as bigint[]))")
    await db.execute(dropped, {"id": source_id, "numbers": gone})
    added = text(
        """
        insert into blocks (source_id, number, hash, parent_hash, timestamp)
        select :id, * from unnest(
            cast(:numbers as bigint[]), cast(:hashes as text[]), cast(:parents as text[]), cast(:times as bigint[])
        )
        """
    )
    columns = {
        "numbers": [block.number for block in new],
        "hashes": [block.hash for block in new],
        "parents": [block.parent for block in new],
        "times": [block.timestamp for block in new],
    }
    await db.execute(added, {"id": source_id, **columns})
    whole = text("update watchers set whole = :whole where source_id = :id")
    await db.execute(whole, {"id": source_id, "whole": after.whole})


async def keep_prices(db: AsyncSession, source_id: str, observed: Mapping[str, Mapping[str, Any]]) -> None:
    """Remember the prices that each of these filters looks back on."""
    kept = text(
        """
        insert into selections (filter_id, source_id, selected)
        select n.id, :source_id, n.selected
        from json_to_recordset(cast(:kept as json)) as n(id text, selected jsonb)
        on conflict (filter_id) do update set selected = excluded.selected
        """
    )
    rows = [{"id": filter_id, "selected": each} for filter_id, each in observed.items()]
    if rows:
        await db.execute(kept, {"source_id": source_id, "kept": orjson.dumps(rows).decode()})


async def drop_prices(db: AsyncSession, source_id: str, filter_ids: Collection[str]) -> None:
    """Forget what others than these filters looked back on: whoever wants the same again begins anew."""
    others = text("delete from selections where source_id = :source_id and filter_id <> all(cast(:filters as text[]))")
    await db.execute(others, {"source_id": source_id, "filters": list(filter_ids)})


async def keep_final(db: AsyncSession, source_id: str, final: Final | None) -> None:
    """Remember how far the chain is final. It never goes back."""
    if final is None:
        return
    statement = text(
        """
        update watchers set final_number = :number, final_hash = :hash
        where source_id = :id and (final_number is null or final_number < :number)
        """
    )
    await db.execute(statement, {"id": source_id, "number": final.number, "hash": final.hash})


async def keep_providers(db: AsyncSession, source_id: str, providers: Sequence[Mapping[str, Any]]) -> None:
    """Remember how each provider fared, for those who ask another process."""
    statement = text("update watchers set providers = cast(:providers as jsonb) where source_id = :id")
    await db.execute(statement, {"id": source_id, "providers": json.dumps(providers)})


async def learned(db: AsyncSession, chain: str) -> Capability | None:
    """What the answers about a chain are held to, as far as anybody has learned."""
    row = (await db.scalars(select(LearnedChain).where(col(LearnedChain.chain) == chain))).one_or_none()
    return None if row is None else _capability(row)


async def learned_all(db: AsyncSession) -> Mapping[str, Capability]:
    """The same of all chains."""
    rows = await db.scalars(select(LearnedChain))
    return {row.chain: _capability(row) for row in rows}


async def keep_learned(db: AsyncSession, chain: str, capability: Capability) -> None:
    """Remember what the answers about a chain are held to. What is demanded never becomes less."""
    statement = text(
        """
        insert into learned_chains as l (chain, demanded, rooted, bloomed) values (:chain, :demanded, :rooted, :bloomed)
        on conflict (chain) do update set rooted = excluded.rooted, bloomed = excluded.bloomed,
            demanded = case when l.demanded = 'receipts-root' or excluded.demanded = 'rpc'
                then l.demanded else excluded.demanded end
        """
    )
    values = {"demanded": capability.demanded, "rooted": capability.rooted, "bloomed": capability.bloomed}
    await db.execute(statement, {"chain": chain, **values})


# Documents


async def have_read(db: AsyncSession, source_id: str) -> set[str]:
    """The filters that have looked at the document."""
    return set(await db.scalars(select(Selection.filter_id).where(col(Selection.source_id) == source_id)))


async def is_waiting(db: AsyncSession, source_id: str) -> bool:
    """Whether the document holds what was found and not told yet."""
    statement = text(
        """
        select exists (select from selections where source_id = :id and selected @> '{"waiting": true}')
        """
    )
    return (await db.execute(statement, {"id": source_id})).scalar_one()


async def selections(db: AsyncSession, source_id: str) -> Mapping[str, Mapping[str, Any]]:
    """What each filter remembers of the document as it was last read."""
    rows = await db.scalars(select(Selection).where(col(Selection.source_id) == source_id))
    return {row.filter_id: row.selected for row in rows}


async def keep_selections(
    db: AsyncSession, source_id: str, changed: Mapping[str, Mapping[str, Any]], wanted: Sequence[str]
) -> None:
    """Remember what these filters know now, and nothing of any that is not wanted any more."""
    others = text("delete from selections where source_id = :source_id and filter_id <> all(cast(:filters as text[]))")
    await db.execute(others, {"source_id": source_id, "filters": list(wanted)})
    if not changed:
        return
    kept = text(
        """
        insert into selections (filter_id, source_id, selected)
        select n.filter_id, :source_id, n.selected::jsonb
        from unnest(cast(:filters as text[]), cast(:selected as text[])) as n(filter_id, selected)
        on conflict (filter_id) do update set selected = excluded.selected
        """
    )
    columns = {"filters": list(changed), "selected": [json.dumps(each) for each in changed.values()]}
    await db.execute(kept, {"source_id": source_id, **columns})


async def keep_validators(
    db: AsyncSession, source_id: str, etag: str | None, last_modified: str | None, body_sha256: str | None
) -> None:
    """Remember how to ask whether the document has changed."""
    statement = text(
        "update watchers set etag = :etag, last_modified = :modified, body_sha256 = :sha256 where source_id = :id"
    )
    values = {"id": source_id, "etag": etag, "modified": last_modified, "sha256": body_sha256}
    await db.execute(statement, values)


async def forget(db: AsyncSession, source_id: str) -> None:
    """Forget what was known of a source that is watched anew."""
    for table in ("blocks", "selections"):
        await db.execute(text(f"delete from {table} where source_id = :id"), {"id": source_id})
    fresh = text(
        """
        update watchers
        set doubts = 0, failures = 0, whole = true, final_number = null, final_hash = null,
            etag = null, last_modified = null, body_sha256 = null
        where source_id = :id
        """
    )
    await db.execute(fresh, {"id": source_id})


def _capability(row: LearnedChain) -> Capability:
    return Capability(cast(Verified, row.demanded), rooted=row.rooted, bloomed=row.bloomed)
