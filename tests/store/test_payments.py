"""A payment is bound to one request, whoever comes first."""

import asyncio
from datetime import timedelta

import pytest

from app.kit.database import Database
from app.kit.ids import Ids
from app.payments import store
from app.payments.models import Payment
from app.payments.settlements import State, Tender
from tests.world import EPOCH, TestAgent

TENDER = Tender(
    "eip155:84532", "0x" + "a" * 40, "0x" + "b" * 40, "0x" + "c" * 64, "0x" + "d" * 40, 1_000, 0, 2_000_000_000
)


def a_payment(agent: TestAgent, nonce: str = TENDER.nonce, key: str | None = None) -> Payment:
    return Payment(
        id=Ids().new("pay"),
        agent_id=agent.id,
        operation="POST /v1/things",
        idempotency_key=key,
        fingerprint="f",
        network=TENDER.network,
        asset=TENDER.asset,
        payer=TENDER.payer,
        nonce=nonce,
        pay_to=TENDER.pay_to,
        amount=TENDER.amount,
        valid_before=TENDER.valid_before,
        requirements={},
        state=State.RESERVED,
        created_at=EPOCH,
    )


async def test_of_two_at_once_one_reserves(database: Database, agent: TestAgent) -> None:
    async def reserve() -> bool:
        async with database.transaction() as db:
            return await store.reserve(db, a_payment(agent))

    assert sorted(await asyncio.gather(reserve(), reserve(), reserve())) == [False, False, True]


async def test_while_one_payment_settles_another_for_its_key_is_one_too_many(
    database: Database, agent: TestAgent
) -> None:
    async with database.transaction() as db:
        assert await store.reserve(db, a_payment(agent, key="k"))
        payment = await store.presented(db, TENDER)
        assert payment is not None
        await store.move(db, payment, State.SETTLING)
        assert not await store.reserve(db, a_payment(agent, nonce="0x" + "1" * 64, key="k"))
        assert await store.reserve(db, a_payment(agent, nonce="0x" + "2" * 64, key="other"))


async def test_a_refused_payment_makes_room(database: Database, agent: TestAgent) -> None:
    async with database.transaction() as db:
        await store.reserve(db, a_payment(agent))
        payment = await store.presented(db, TENDER)
        assert payment is not None
        await store.move(db, payment, State.SETTLING)
        assert not await store.reserve(db, a_payment(agent))
        await store.move(db, payment, State.REFUSED)
        assert await store.reserve(db, a_payment(agent))


async def test_who_lost_the_lease_holds_nothing(database: Database, agent: TestAgent) -> None:
    async with database.transaction() as db:
        await store.reserve(db, a_payment(agent))
    async with database.transaction() as db:
        first = await store.presented(db, TENDER)
        assert first is not None
        await store.hold(db, first, EPOCH + timedelta(seconds=45))
    async with database.transaction() as db:
        second = await store.presented(db, TENDER)
        assert second is not None
        await store.hold(db, second, EPOCH + timedelta(seconds=90))
    async with database.transaction() as db:
        assert await store.held(db, first) is None
        assert await store.held(db, second) is not None


async def test_a_state_is_not_left_against_the_table(database: Database, agent: TestAgent) -> None:
    async with database.transaction() as db:
        await store.reserve(db, a_payment(agent))
        payment = await store.presented(db, TENDER)
        assert payment is not None
        with pytest.raises(AssertionError, match="reserved cannot become done"):
            await store.move(db, payment, State.DONE)
