"""The room of deliveries: where agents want to be rung, what is on its way there, and what became of it."""

import random
from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries import archive, lane_book, register, relay_key, spans, watching
from app.deliveries.archive import Progress
from app.deliveries.challenger import Challenger
from app.deliveries.conclusions import Conclusions
from app.deliveries.courier import Courier, lease_margin_seconds
from app.deliveries.endpoints import Endpoints
from app.deliveries.history import History, require_endpoint
from app.deliveries.notices import Notices
from app.deliveries.recoveries import Recoveries
from app.deliveries.relay_key import RelayKey
from app.deliveries.retention import Retention
from app.deliveries.secrets import Secrets
from app.deliveries.sending import Dispatched, Outgoing, Sending, Sent
from app.deliveries.standing import standing
from app.kit import limits
from app.kit.clock import Clock
from app.kit.database import Transaction
from app.kit.ids import Ids
from app.kit.outbound import Outbound
from app.kit.sealing import Keyring
from app.kit.wake import Wake
from app.settings import DeliverySettings, RetentionSettings
from tocsin.schemas.webhooks import JwkSet

__all__ = ["Deliveries", "Dispatched", "Outgoing", "Sent"]


class Deliveries:
    """Endpoints and what is on its way to them."""

    def __init__(
        self,
        *,
        transaction: Transaction,
        clock: Clock,
        ids: Ids,
        wake: Wake,
        outbound: Outbound,
        keyring: Keyring,
        settings: DeliverySettings,
        retention: RetentionSettings,
        jitter: random.Random,
    ) -> None:
        least = settings.timeout_seconds + lease_margin_seconds
        if settings.lease_seconds < least:
            raise ValueError(f"TOCSIN_DELIVERY_LEASE_SECONDS must be at least {least:g}: the timeout and a margin")
        self._transaction = transaction
        self._clock = clock
        secrets = Secrets(keyring)
        self._relay_key = RelayKey(keyring)
        self._conclusions = Conclusions()
        notices = Notices(ids)
        self._courier = Courier(
            transaction, clock, wake, outbound, self._relay_key, secrets, self._conclusions, notices, settings, jitter
        )
        self._challenger = Challenger(
            transaction, clock, ids, wake, outbound, self._relay_key, secrets, notices, settings
        )
        sending = Sending(ids, self._courier)
        self.endpoints = Endpoints(ids, outbound, secrets, self._conclusions, notices, sending)
        self.retention = Retention(transaction, clock, self._conclusions, wake, retention.days)
        self.history = History(self._conclusions, self.retention.kept)
        self.recoveries = Recoveries(transaction, clock, ids, wake, self.retention.kept)
        self.send = sending.send
        self.dispatch = sending.dispatch
        self.require_endpoint = require_endpoint
        self.deliver_next = self._courier.deliver_next
        self.verify_next = self._challenger.verify_next
        self.hurry = self._courier.hurry
        self.start = self._courier.start
        self.stop = self._courier.stop
        self.listen = self._conclusions.listen

    @property
    def in_flight(self) -> int:
        """How many requests of this process are on their way to endpoints."""
        return self._courier.in_flight

    async def look(self) -> None:
        """Show who watches what is due and held, and which endpoints are in trouble."""
        async with self._transaction() as db:
            now = await self._clock.now(db)
            watching.stands(await standing(db, now, limits.standing_counted_max), now)

    # For other features

    async def progress(self, db: AsyncSession, delivery_ids: Sequence[str]) -> Mapping[str, Progress]:
        """How far each of these deliveries has got."""
        return await archive.progress(db, delivery_ids)

    # Secrets and keys

    async def forget(self, db: AsyncSession, now: datetime) -> int:
        """Drop secrets, keys and recoveries whose time is over, and have lanes of endpoints that are no more let go.
        Returns how many."""
        secrets, keys = await register.forget_ended_secrets(db, now), await register.forget_retired_keys(db, now)
        recoveries = await spans.forget_ended(db, now - self.retention.kept)
        return secrets + keys + recoveries + await lane_book.leave_orphaned(db, now)

    async def keys(self, db: AsyncSession, now: datetime) -> JwkSet:
        """The public keys that verify `v1a` signatures, now or soon."""
        return JwkSet(keys=[relay_key.jwk(key) for key in await self._relay_key.published(db, now)])
