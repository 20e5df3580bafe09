"""Endpoints that are disabled, and the owners who are told of it where they can still be rung."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries import register, store
from app.deliveries.store import Addressed, NewMessage
from app.events import Happened, record
from app.kit import limits
from app.kit.ids import Ids
from tocsin.schemas.webhooks import Disabled, EndpointDisabled

__all__ = ["Notices"]


class Notices:
    """Disables endpoints, and says so."""

    def __init__(self, ids: Ids) -> None:
        self._ids = ids

    async def disable(
        self,
        db: AsyncSession,
        endpoint_ids: Sequence[str],
        reason: str,
        now: datetime,
        *,
        urls: Sequence[str] | None = None,
        tell: bool = True,
    ) -> bool:
        """Send nothing more to these endpoints until their owners enable them; what is due for them is kept. Some of
        their owners' other endpoints are told. True: ring "deliveries" once it has committed."""
        disabled = await register.disable(db, endpoint_ids, reason, now, urls)
        await record(
            db, *(Happened("endpoint.disabled", each.id, each.agent_id, now, {"reason": reason}) for each in disabled)
        )
        return tell and await self.tell(db, disabled, reason, now)

    async def tell(self, db: AsyncSession, disabled: Sequence[register.Disabled], reason: str, now: datetime) -> bool:
        """Have some of the owners' other endpoints rung; whether there are any."""
        if not disabled:
            return False
        owners = sorted({each.agent_id for each in disabled})
        others = await register.active_of(db, owners, limits.endpoints_told_max)
        messages, addressed = list[NewMessage](), list[Addressed]()
        for each in disabled:
            data = Disabled(endpoint_id=each.id, url=each.url, reason=reason, disabled_at=now)
            body = EndpointDisabled(timestamp=now, data=data).model_dump_json()
            message = NewMessage(self._ids.new("msg"), each.agent_id, "endpoint.disabled", body)
            messages.append(message)
            addressed += [Addressed(self._ids.new("dlv"), message.id, id) for id in others.get(each.agent_id, ())]
        if not addressed:
            return False
        await store.add(db, messages, addressed, now)
        return True
