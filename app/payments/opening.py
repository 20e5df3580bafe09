"""Opening the gate, if there is anything to sell."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import httpx

from app.kit import limits
from app.kit.clock import Clock
from app.kit.database import Transaction
from app.kit.ids import Ids
from app.kit.operations import Gate, Operation
from app.payments import prices
from app.settings import Settings


@asynccontextmanager
async def open_gate(
    settings: Settings, operations: Sequence[Operation], transaction: Transaction, clock: Clock, ids: Ids
) -> AsyncGenerator[Gate | None]:
    """The gate for these settings; None while everything is free. Raises BadPrice and BadTerms for what cannot work."""
    priced = prices.price_list(settings.prices)
    prices.require_sold(priced, {o.name for o in operations if o.signed and o.writes and not o.waits})
    if not priced:
        yield None
        return
    # Only now: the x402 SDK behind these costs a second and 60 MB.
    from app.payments.chain import Chain
    from app.payments.gate import Tollgate
    from app.payments.seller import Seller, Terms

    terms = settings.payments
    assert terms.pay_to, "settings with prices name it"
    assert terms.facilitator, "settings with prices name it"
    async with httpx.AsyncClient(trust_env=False, timeout=limits.settle_seconds) as http:
        seller = Seller(Terms(terms.pay_to, terms.network, terms.facilitator), clock, http)
        chain = Chain(terms.rpc_url, http) if terms.rpc_url else None
        yield Tollgate(priced, seller, chain, transaction, clock, ids, settings.api.origin)
