"""Opening the gate, if there is anything to sell. The x402 SDK costs a second and 60 MB, so it is loaded only then."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from app.kit import limits
from app.kit.clock import Clock
from app.kit.database import Transaction
from app.kit.ids import Ids
from app.kit.operations import Gate, Operation
from app.kit.operator_http import operator_client
from app.payments import prices
from app.settings import Settings

if TYPE_CHECKING:
    from app.payments.seller import Terms


def require_sellable(settings: Settings, operations: Sequence[Operation]) -> Mapping[str, int]:
    """The prices that these settings put on operations. Raises BadTerms where they cannot be sold so."""
    listed = prices.price_list(settings.prices)
    prices.require_sold(listed, {o.name for o in operations if o.signed and o.writes and not o.waits})
    if listed:
        _check_terms(settings)
    return listed


@asynccontextmanager
async def open_gate(
    settings: Settings, operations: Sequence[Operation], transaction: Transaction, clock: Clock, ids: Ids
) -> AsyncGenerator[Gate | None]:
    """The gate for these settings; None while everything is free. Raises BadTerms."""
    listed = require_sellable(settings, operations)
    if not listed:
        yield None
        return
    from app.payments.chain import Chain
    from app.payments.gate import Tollgate
    from app.payments.seller import Seller

    async with operator_client(timeout_seconds=limits.settle_seconds) as http:
        seller = Seller(_terms(settings), clock, http)
        chain = Chain(settings.payments.rpc_url, http) if settings.payments.rpc_url else None
        yield Tollgate(listed, seller, chain, transaction, clock, ids, settings.api.origin)


def _check_terms(settings: Settings) -> None:
    try:
        from app.payments.seller import checked
    except ModuleNotFoundError as error:
        raise prices.BadTerms(
            f"TOCSIN_PRICES needs {error.name}: install the relay with its extra `payments`, as tocsin-relay[payments]"
        ) from error
    checked(_terms(settings))


def _terms(settings: Settings) -> "Terms":
    from app.payments.seller import Terms

    assert settings.payments.pay_to, "settings with prices name it"
    assert settings.payments.facilitator, "settings with prices name it"
    return Terms(settings.payments.pay_to, settings.payments.network, settings.payments.facilitator)
