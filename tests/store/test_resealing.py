"""What is sealed with another key, or with none, and how it comes under the current one."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from app.deliveries import relay_key, resealing
from app.deliveries.relay_key import RelayKey, RotationRefused
from app.deliveries.secrets import Secrets, stored
from app.kit import idempotency
from app.kit.database import Database
from app.kit.sealing import Keyring, SecretKey, UnknownSecretKey
from tests.world import EPOCH
from tocsin.keys import PrivateKey

OLD, NEW = SecretKey(bytes(32)), SecretKey(bytes(range(32)))
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
HOUR = timedelta(hours=1)
KEY = PrivateKey.from_seed(bytes(32))


@pytest.fixture
async def plain(database: Database) -> Database:
    """Three endpoints, a signing key and an answer, as a release before sealing left them."""
    async with database.transaction() as db:
        await db.execute(text("insert into agents (id, created_at) values ('agt_1', :at)"), {"at": EPOCH})
        await db.execute(
            text(
                """
                insert into endpoints
                    (id, agent_id, url, state, secret, attempts, attempts_before, created_at, updated_at)
                select 'ep_' || n, 'agt_1', 'https://agent.example/', 'active', :secret, 0, 0, :at, :at
                from generate_series(1, 3) as n
                """
            ),
            {"secret": SECRET, "at": EPOCH},
        )
        await db.execute(
            text(
                """
                insert into signing_keys (kid, purpose, private_key, created_at)
                values (:kid, 'webhooks', :seed, :at)
                """
            ),
            {"kid": KEY.public.keyid, "seed": KEY.text, "at": EPOCH},
        )
        await db.execute(
            text(
                """
                insert into kept_answers (agent_id, key, fingerprint, status, headers, body, expires_at)
                values ('agt_1', 'k', '', 201, '{}', convert_to(:secret, 'utf8'), :at)
                """
            ),
            {"secret": SECRET, "at": EPOCH},
        )
    return database


async def seal(database: Database, keyring: Keyring) -> None:
    """All of it, as `tocsin migrate` and `tocsin reseal` do, two at a time."""
    async with database.transaction() as db:
        while await resealing.seal_next(db, keyring, 2):
            pass
    after = ""
    while True:
        async with database.transaction() as db:
            count, after = await resealing.reseal_next(db, keyring, after, 2)
        if not count:
            break
    async with database.transaction() as db:
        while await idempotency.reseal(db, keyring, 2):
            pass
        await relay_key.reseal(db, keyring)


async def sealed_by(database: Database) -> dict[str | None, int]:
    async with database.transaction() as db:
        secrets, answers = await resealing.sealed_by(db), await idempotency.sealed_by(db)
    return {key: secrets.get(key, 0) + answers.get(key, 0) for key in {*secrets, *answers}}


async def test_what_was_left_plain_is_sealed_and_works_as_before(plain: Database) -> None:
    assert await sealed_by(plain) == {None: 5}
    await seal(plain, Keyring(OLD))

    assert await sealed_by(plain) == {OLD.id: 5}
    assert await opened(plain, Keyring(OLD)) == [SECRET] * 3
    assert SECRET not in await everything(plain)
    async with plain.transaction() as db:
        [key] = await RelayKey(Keyring(OLD)).get(db, EPOCH)
    assert key.text == KEY.text


async def test_another_key_takes_over_and_the_one_before_is_not_needed_any_more(plain: Database) -> None:
    await seal(plain, Keyring(OLD))
    await seal(plain, Keyring(NEW, [OLD]))
    await seal(plain, Keyring(NEW))

    assert await sealed_by(plain) == {NEW.id: 5}
    assert await opened(plain, Keyring(NEW)) == [SECRET] * 3


async def test_a_resealing_that_broke_off_is_taken_up_where_it_was(plain: Database) -> None:
    await seal(plain, Keyring(OLD))
    async with plain.transaction() as db:
        assert (await resealing.reseal_next(db, Keyring(NEW, [OLD]), "", 2))[0] == 2

    assert await opened(plain, Keyring(NEW, [OLD])) == [SECRET] * 3
    await seal(plain, Keyring(NEW, [OLD]))
    assert await sealed_by(plain) == {NEW.id: 5}


async def test_a_wrong_key_is_found_out_by_the_signing_key(plain: Database) -> None:
    await seal(plain, Keyring(OLD))
    with pytest.raises(UnknownSecretKey, match=OLD.id):
        async with plain.transaction() as db:
            await RelayKey(Keyring(NEW)).get(db, EPOCH)


async def test_a_new_signing_key_is_published_signs_and_replaces_the_one_before(database: Database) -> None:
    keyring, seen = Keyring(NEW), RelayKey(Keyring(NEW))
    async with database.transaction() as db:
        [first] = await seen.get(db, EPOCH)
        made = await relay_key.rotate(db, keyring, EPOCH, announce=HOUR, overlap=HOUR)

        def kids(keys) -> list[str]:
            return [getattr(key, "public", key).keyid for key in keys]

        old, new = first.public.keyid, made.kid
        moments = [EPOCH + step for step in (timedelta(seconds=5), HOUR, 2 * HOUR)]
        signing = [kids(await seen.get(db, at)) for at in moments]
        published = [kids(await seen.published(db, at)) for at in moments]

    assert signing == [[old], [new, old], [new]]
    assert published == [[old, new], [new, old], [new]]


async def test_after_a_leak_the_new_key_signs_alone_at_once(database: Database) -> None:
    keyring = Keyring(NEW)
    async with database.transaction() as db:
        await relay_key.rotate(db, keyring, EPOCH, announce=HOUR, overlap=HOUR)
        with pytest.raises(RotationRefused, match="--now"):
            await relay_key.rotate(db, keyring, EPOCH, announce=HOUR, overlap=HOUR)
        made = await relay_key.rotate(db, keyring, EPOCH, announce=timedelta(0), overlap=timedelta(0))
        fresh = RelayKey(keyring)
        assert [key.public.keyid for key in await fresh.get(db, EPOCH)] == [made.kid]
        assert [key.keyid for key in await fresh.published(db, EPOCH)] == [made.kid]


async def opened(database: Database, keyring: Keyring) -> list[str]:
    """The secrets of all endpoints."""
    async with database.transaction() as db:
        rows = (await db.execute(text("select id, secret, secrets from endpoints order by id"))).all()
    assert all(row.secret is None for row in rows)
    for row in rows:
        assert Secrets(keyring).signing(row.id, stored(row.secret, row.secrets), EPOCH)
    return [Secrets(keyring).text(row.id, row.secrets[0]) for row in rows]


async def everything(database: Database) -> str:
    async with database.transaction() as db:
        rows = [*await db.execute(text("select cast(t as text) from endpoints t"))]
        rows += [*await db.execute(text("select encode(body, 'escape') from kept_answers"))]
    return " ".join(row[0] for row in rows)
