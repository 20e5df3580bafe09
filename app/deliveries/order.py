"""SQL of order keys: of the pending deliveries of one endpoint and key, only the first is on its way; the others wait.

Whoever adds to a key or takes its first away holds the key's lock, from before it looks until it commits. So the one
who adds sees whether there is a first that will let go of it, and the one who concludes sees who is next: neither
misses the other.

Keys are the first that is locked, in the order of their hashes; then come deliveries, endpoints, lanes and schedules.
So what waits behind another is locked only by one who holds its key, and never waited for by one who does. A claim has
no key, and waits for nothing: what it finds to be over is concluded by the next round, which locks the key first.
"""

from collections.abc import Collection
from datetime import datetime
from hashlib import blake2b

import orjson
from sqlalchemy.ext.asyncio import AsyncSession

from app.kit.sql import sql

Key = tuple[str, str]  # an endpoint's id and the order key


async def lock(db: AsyncSession, keys: Collection[Key]) -> None:
    """Be alone with these keys until the transaction ends. Look only afterwards, in another statement."""
    if not keys:
        return
    hashes = sorted({_hash(key) for key in keys})
    statement = sql("select pg_advisory_xact_lock(value::bigint) from json_array_elements_text(cast(:hashes as json))")
    await db.execute(statement, {"hashes": orjson.dumps(hashes).decode()})


async def release_next(db: AsyncSession, keys: Collection[Key], now: datetime) -> int:
    """Set the next of each of these keys on its way, unless one is already. Returns how many; call with keys locked,
    when what was first of them has concluded in this transaction."""
    if not keys:
        return 0
    statement = sql(
        """
        update deliveries d set due_at = :now, hold = null
        from (
            select (
                select n.id from deliveries n
                where n.endpoint_id = k.endpoint_id and n.order_key = k.order_key and n.state = 'pending'
                -- One that is on its way comes first, and is then not held by order.
                order by n.hold is not distinct from 'order', n.id limit 1
            ) as id
            from json_to_recordset(cast(:keys as json)) as k(endpoint_id text, order_key text)
        ) next
        where d.id = next.id and d.hold = 'order'
        returning d.id
        """
    )
    named = [{"endpoint_id": endpoint_id, "order_key": key} for endpoint_id, key in sorted(set(keys))]
    released = await db.execute(statement, {"keys": orjson.dumps(named).decode(), "now": now})
    return len(released.scalars().all())


def _hash(key: Key) -> int:
    """63 bits and a sign. Two keys that share a hash wait for each other a little longer, and nothing else."""
    endpoint_id, name = key
    digest = blake2b(f"{endpoint_id} {name}".encode(), digest_size=8, person=b"tocsin order").digest()
    return int.from_bytes(digest, "big", signed=True)
