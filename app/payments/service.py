"""The verbs of payments that cost nothing: what there is to pay, and what was paid."""

from collections.abc import Mapping

from sqlalchemy.ext.asyncio import AsyncSession

from app.kit import pages
from app.kit.ids import is_id
from app.kit.operations import require
from app.payments import prices, store
from app.payments.models import Payment as PaymentRow
from app.settings import PaymentsSettings
from tocsin.problems import InvalidCursor
from tocsin.schemas.payments import Payment, PricedOperation, PriceList
from tocsin.schemas.wire import ListQuery, Page


class Payments:
    """Reading the price list and an agent's payments."""

    def __init__(self, prices: Mapping[str, int], settings: PaymentsSettings) -> None:
        self._prices = prices
        self._settings = settings

    def price_list(self) -> PriceList:
        """What costs something here."""
        if not self._prices:
            return PriceList(items=[])
        items = [PricedOperation(operation=name, price=prices.price(amount)) for name, amount in self._prices.items()]
        return PriceList(items=items, network=self._settings.network, pay_to=self._settings.pay_to)

    async def list(self, db: AsyncSession, agent_id: str, query: ListQuery) -> Page[Payment]:
        """One page of the agent's payments, newest first."""
        before = pages.decode(query.cursor)
        if before is not None and not is_id(before):
            raise InvalidCursor
        rows = await store.of_agent(db, agent_id, before, query.limit + 1)
        return pages.page(rows, query.limit, _shown, lambda row: row.id)

    async def get(self, db: AsyncSession, agent_id: str, payment_id: str) -> Payment:
        """One payment of the agent's."""
        return _shown(require(await store.get(db, agent_id, payment_id) if is_id(payment_id) else None, "payment"))


def _shown(row: PaymentRow) -> Payment:
    members = row.model_dump(include=set(Payment.model_fields) - {"amount"})
    return Payment(amount=prices.usd(row.amount), **members)
