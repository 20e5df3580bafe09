"""The operations of payments."""

from app.kit.operations import Call, Operation
from app.payments.service import Payments
from tocsin.schemas.payments import Payment, PriceList
from tocsin.schemas.wire import ListQuery, Page


async def list_prices(call: Call[Payments]) -> PriceList:
    """List what costs something.

    What is not listed is free. A priced call without payment answers 402 with the terms of x402 in `PAYMENT-REQUIRED`.
    """
    return call.service.price_list()


async def list_payments(call: Call[Payments], query: ListQuery) -> Page[Payment]:
    """List your payments, newest first."""
    return await call.service.list(call.db, call.agent.id, query)


async def get_payment(call: Call[Payments], id: str) -> Payment:
    """Show one of your payments."""
    return await call.service.get(call.db, call.agent.id, id)


OPERATIONS = (
    Operation("GET", "/v1/prices", list_prices, signed=False),
    Operation("GET", "/v1/payments", list_payments),
    Operation("GET", "/v1/payments/{id}", get_payment),
)
