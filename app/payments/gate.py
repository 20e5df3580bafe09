"""The gate before operations that have a price: one payment, one performance, one answer.

    reserve and rehearse, commit  →  settle, no transaction open  →  book, perform, keep the answer, commit

A payment is bound to its request, and marked as being settled, before the facilitator hears of it; so whatever is lost
after that (the facilitator's answer, this process, the caller's connection), the same payment sent again takes up where
the first one stopped. It is the caller's only way to pay once, hence a 503 and never a fresh 402 while in doubt.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from app.events import Happened, record
from app.kit import idempotency, limits, telemetry
from app.kit.clock import Clock
from app.kit.database import Transaction
from app.kit.ids import Ids
from app.kit.operations import Answer, Operation, Sale
from app.payments import prices, seller, store
from app.payments.chain import Chain, ChainSilent
from app.payments.models import Payment
from app.payments.seller import Offer, Presented, Seller
from app.payments.settlements import (
    REFUSALS,
    Refused,
    Settled,
    State,
    Unknown,
    Unsent,
    Verdict,
    fingerprint,
    judge,
    judge_sighting,
)
from tocsin.problems import FacilitatorUnavailable, IdempotencyConflict, PaymentPending, PaymentReused, Problem

log = telemetry.logger(__name__)


@dataclass(frozen=True)
class Replayed:
    """The payment has bought its answer already."""

    answer: Answer


@dataclass(frozen=True)
class Ours:
    """The payment is ours to bring to its end. `asked`: a facilitator may have seen it before this attempt."""

    payment: Payment
    asked: bool


@dataclass(frozen=True)
class Busy:
    """Another request has the payment in hand."""


@dataclass(frozen=True)
class Absent:
    """The payment has not been presented before, or was refused."""


Admission = Replayed | Ours | Busy | Absent


class Tollgate:
    """Sells calls of priced operations."""

    def __init__(
        self,
        prices: Mapping[str, int],
        seller: Seller,
        chain: Chain | None,
        transaction: Transaction,
        clock: Clock,
        ids: Ids,
        origin: str,
    ) -> None:
        self._prices = prices
        self._seller = seller
        self._chain = chain
        self._transaction = transaction
        self._clock = clock
        self._ids = ids
        self._origin = origin

    def price(self, operation: Operation) -> str | None:
        """What a call costs, as `$0.001`; None when it is free."""
        amount = self._prices.get(operation.name)
        return prices.price(amount) if amount is not None else None

    async def sell(self, sale: Sale) -> Answer:
        """The answer that the payment buys, whether it buys it now or has before."""
        header = sale.incoming.headers.get("payment-signature")
        if header is None:
            raise await self._seller.challenge(await self._offer(sale), "payment_required", "")
        presented = seller.read(header)
        waited_until = self._clock.monotonic() + limits.payment_wait_seconds
        while self._clock.monotonic() < waited_until:
            match await self._admit(sale, presented):
                case Replayed(answer):
                    return answer
                case Ours(payment, asked):
                    return await self._bring_to_its_end(sale, presented, payment, asked)
                case Busy():
                    await self._clock.sleep(limits.payment_poll_seconds)
                case Absent():
                    if (answer := await self._reserve(sale, presented)) is not None:
                        return answer
        raise _pending()

    async def _offer(self, sale: Sale) -> Offer:
        incoming = sale.incoming
        url = f"{self._origin}{incoming.path}" + (f"?{incoming.query}" if incoming.query else "")
        return await self._seller.offer(self._prices[sale.operation.name], url, sale.operation.name)

    async def _admit(self, sale: Sale, presented: Presented) -> Admission:
        """Where the payment stands. Takes its lease if somebody must see to it and nobody does."""
        async with self._transaction() as db:
            payment = await store.presented(db, presented.tender)
            if payment is None or payment.state == State.REFUSED:
                return Absent()
            if payment.fingerprint != _fingerprint(sale, presented):
                raise PaymentReused
            if payment.state == State.DONE:
                return Replayed(_kept(payment))
            now = await self._clock.now(db)
            if payment.due_at is not None and payment.due_at > now:
                return Busy()
            return await self._take_up(db, payment, now)

    async def _take_up(self, db: AsyncSession, payment: Payment, now: datetime) -> Ours:
        asked = payment.asked
        await store.hold(db, payment, now + timedelta(seconds=limits.payment_lease_seconds))
        if payment.state in {State.RESERVED, State.UNKNOWN}:
            await store.move(db, payment, State.SETTLING, asked=True)
        return Ours(payment, asked)

    async def _reserve(self, sale: Sale, presented: Presented) -> Answer | None:
        """Bind a new payment to its request, if the request would succeed. What refuses it here costs nothing.

        Returns the answer instead, if the request's idempotency key was given one in the meantime.
        """
        offer = await self._offer(sale)
        if not self._seller.matches(offer, presented):
            raise await self._seller.challenge(offer, "terms_mismatch", "The payment is not to the terms of this call.")
        from_block = await self._next_block()
        async with self._transaction() as db:
            payment = self._new(sale, presented, offer, from_block, await self._clock.now(db))
            if await store.reserve(db, payment):
                rehearsed = await _rehearse(db, sale)
                if "idempotent-replayed" in rehearsed.headers:
                    await store.withdraw(db, payment)
                    return rehearsed
            elif await store.presented(db, presented.tender) is None:
                raise IdempotencyConflict("Another payment for this Idempotency-Key is on its way; repeat that one.")
        return None

    async def _next_block(self) -> int | None:
        """The first block that a settlement which we ask for can be in, if there is a node to ask.

        A transfer before it is no settlement of ours: somebody would be presenting an old payment again.
        """
        if self._chain is None:
            return None
        try:
            return await self._chain.height() + 1
        except ChainSilent as error:
            raise FacilitatorUnavailable("The relay cannot reach the chain that payments settle on.") from error

    def _new(self, sale: Sale, presented: Presented, offer: Offer, from_block: int | None, now: datetime) -> Payment:
        tender = presented.tender
        return Payment(
            id=self._ids.new("pay"),
            agent_id=sale.caller.id,
            operation=sale.operation.name,
            idempotency_key=idempotency.key_of(sale.incoming),
            fingerprint=_fingerprint(sale, presented),
            network=tender.network,
            asset=tender.asset,
            payer=tender.payer,
            nonce=tender.nonce,
            pay_to=tender.pay_to,
            amount=tender.amount,
            valid_before=tender.valid_before,
            from_block=from_block,
            requirements=seller.requirements_of(offer),
            state=State.RESERVED,
            created_at=now,
        )

    async def _bring_to_its_end(self, sale: Sale, presented: Presented, payment: Payment, asked: bool) -> Answer:
        if payment.state == State.SETTLED:
            return await self._perform(sale, payment)
        # Held and committed as settling: if we die from here on, the lease ends and the next request finds out.
        match await self._settle(presented, payment, asked):
            case Settled(transaction):
                receipt = seller.receipt(presented.tender, transaction)
                return await self._perform(sale, payment, transaction=transaction, receipt=receipt)
            case Refused(code):
                await self._conclude(payment, State.REFUSED, code=code)
                raise await self._seller.challenge(await self._offer(sale), code, f"Refused: {REFUSALS[code]}.")
            case Unsent():
                await self._conclude(payment, State.RESERVED, asked=False)
                raise FacilitatorUnavailable(headers={"Retry-After": str(limits.payment_retry_seconds)})
            case Unknown(code, transaction):
                log.warning("a settlement's outcome is unknown", payment=payment.id, code=code, transaction=transaction)
                await self._conclude(payment, State.UNKNOWN, code=code, transaction=transaction)
                raise _pending()

    async def _settle(self, presented: Presented, payment: Payment, asked: bool) -> Verdict:
        if asked and (seen := await self._look(presented, payment)) is not None:
            return seen
        answer = await self._seller.settle(presented, payment.requirements)
        match judge(answer, network=payment.network, first=not asked):
            case Unknown() as unknown if asked:
                return await self._look(presented, payment) or unknown
            case Refused() as refused:
                # A facilitator that tries twice by itself may refuse what its first try has settled.
                seen = await self._look(presented, payment)
                return seen if isinstance(seen, Settled) else refused
            case verdict:
                return verdict

    async def _look(self, presented: Presented, payment: Payment) -> Settled | Refused | None:
        """What the chain says of a payment that was sent before; None while it does not tell, or nobody can look."""
        if self._chain is None or payment.from_block is None:
            return None
        try:
            sighting = await self._chain.sight(presented.tender, payment.from_block)
        except ChainSilent:
            return None
        return judge_sighting(sighting, valid_before=payment.valid_before)

    async def _perform(self, sale: Sale, payment: Payment, **settlement: str) -> Answer:
        """Book the payment and perform what it pays for, in one transaction.

        Dying before it commits leaves the payment as it was when we took it: settled on the chain, not performed here.
        """
        try:
            async with self._transaction() as db:
                now = await self._clock.now(db)
                held = await store.held(db, payment)
                if held is None:
                    raise _pending()
                await self._book(db, held, now, settlement)
                return await self._sold(db, sale, held, now)
        except Problem as problem:
            await self._keep_settled(payment, settlement, problem)
            raise
        except Exception:
            await self._keep_settled(payment, settlement, None)
            raise

    async def _book(self, db: AsyncSession, payment: Payment, now: datetime, settlement: Mapping[str, str]) -> None:
        if payment.state == State.SETTLED:
            return
        await store.move(db, payment, State.SETTLED, settled_at=now, code=None, **settlement)
        await record(db, _settled(payment, now))

    async def _sold(self, db: AsyncSession, sale: Sale, payment: Payment, now: datetime) -> Answer:
        assert payment.receipt is not None, f"{payment.id} is settled without a receipt"
        headers = {"PAYMENT-RESPONSE": payment.receipt, "Cache-Control": "private"}
        answer = await sale.perform(db, headers)
        kept = {"answer_status": answer.status, "answer_headers": dict(answer.headers), "answer_body": answer.body}
        await store.move(db, payment, State.DONE, due_at=None, done_at=now, **kept)
        return answer

    async def _keep_settled(self, payment: Payment, settlement: Mapping[str, str], problem: Problem | None) -> None:
        """What was paid for could not be performed: the payment stays good for this very request."""
        async with self._transaction() as db:
            held = await store.held(db, payment)
            if held is None:
                return
            await self._book(db, held, await self._clock.now(db), settlement)
            held.due_at = None
            db.add(held)
            if problem is not None and held.receipt is not None:
                problem.headers["PAYMENT-RESPONSE"] = held.receipt

    async def _conclude(self, payment: Payment, state: State, **changes: str | bool | None) -> None:
        async with self._transaction() as db:
            held = await store.held(db, payment)
            if held is not None:
                await store.move(db, held, state, due_at=None, **changes)


async def _rehearse(db: AsyncSession, sale: Sale) -> Answer:
    """Perform and take it back, so that what would be refused is refused before it is paid for."""
    async with db.begin_nested() as savepoint:
        answer = await sale.perform(db, {})
        await savepoint.rollback()
    return answer


def _fingerprint(sale: Sale, presented: Presented) -> str:
    incoming = sale.incoming
    return fingerprint(
        method=incoming.method,
        path=incoming.path,
        query=incoming.query,
        body=incoming.body,
        account=sale.caller.id,
        tender=presented.tender,
    )


def _kept(payment: Payment) -> Answer:
    assert payment.answer_status is not None
    assert payment.answer_body is not None
    return Answer(payment.answer_status, payment.answer_body, payment.answer_headers or {})


def _settled(payment: Payment, now: datetime) -> Happened:
    data = {
        "operation": payment.operation,
        "amount": prices.usd(payment.amount),
        "network": payment.network,
        "transaction": payment.transaction,
    }
    return Happened(kind="payment.settled", subject=payment.id, agent_id=payment.agent_id, at=now, data=data)


def _pending() -> PaymentPending:
    return PaymentPending(headers={"Retry-After": str(limits.payment_retry_seconds)})
