"""The wiring diagram: what the house is made of, and what each part is given. Reads from the ground up."""

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from app.deliveries.service import Deliveries
from app.events import Events
from app.identity.service import Identity
from app.kit import limits
from app.kit.addresses import networks
from app.kit.clock import Clock, SystemClock
from app.kit.database import Database
from app.kit.ids import Ids
from app.kit.operator_http import operator_client
from app.kit.outbound import Outbound, Resolver, own_doors
from app.kit.sealing import Keyring
from app.kit.wake import Wake
from app.messages.service import Messages
from app.payments.prices import price_list
from app.payments.service import Payments
from app.schedules.service import Schedules
from app.settings import Settings
from app.subscriptions.inboxes import Inboxes
from app.subscriptions.service import Subscriptions
from app.watchers.backfill import Backfilling
from app.watchers.chains import Chains
from app.watchers.documents import Documents
from app.watchers.heads import NewHeads
from app.watchers.media import MEDIA
from app.watchers.opening import chain_of
from app.watchers.proving import Proving
from app.watchers.service import Watchers


@dataclass(frozen=True)
class Services:
    """Everything a door needs. A feature's routes see only the service that bears their name."""

    settings: Settings
    keyring: Keyring
    database: Database
    clock: Clock
    wake: Wake
    events: Events
    identity: Identity
    payments: Payments
    outbound: Outbound
    deliveries: Deliveries
    messages: Messages
    schedules: Schedules
    subscriptions: Subscriptions
    watchers: Watchers


@asynccontextmanager
async def open_services(
    settings: Settings,
    wake: Wake,
    *,
    name: str,
    clock: Clock | None = None,
    resolver: Resolver | None = None,
    database: Database | None = None,
) -> AsyncGenerator[Services]:
    """Build the services of one process, and give back what they hold when the block ends. A database that they are
    given stays open."""
    assert settings.database.url is not None, "TOCSIN_DATABASE_URL must be set; `tocsin up` sets it"
    lent = database is not None
    database = database or Database(
        settings.database.url,
        connections=settings.database.connections,
        name=f"tocsin {name}",
        prepares=settings.database.prepared_statements,
    )
    clock, ids, keyring = clock or SystemClock(), Ids(), settings.secret.keyring
    outbound = _outbound(settings, settings.database.url, resolver)
    deliveries = Deliveries(
        transaction=database.transaction,
        clock=clock,
        ids=ids,
        wake=wake,
        outbound=outbound,
        keyring=keyring,
        settings=settings.delivery,
        retention=settings.retention,
        jitter=random.Random(),
    )
    schedules = Schedules(
        transaction=database.transaction,
        clock=clock,
        ids=ids,
        wake=wake,
        deliveries=deliveries,
        settings=settings.schedules,
    )
    deliveries.listen(schedules)
    nodes = operator_client(timeout_seconds=limits.rpc_timeout_seconds)
    chains = {name: chain_of(name, each, nodes, clock) for name, each in settings.chains.items()}
    subscriptions = Subscriptions(
        transaction=database.transaction,
        clock=clock,
        ids=ids,
        wake=wake,
        deliveries=deliveries,
        outbound=outbound,
        calls_max={name: each.calls_max for name, each in settings.chains.items()},
        retention_days=settings.retention.days,
        backfill_blocks_max=settings.watching.backfill_blocks_max,
        inboxes=Inboxes(ids, keyring, settings.api.origin, settings.watching.inbox_bytes_per_day_max),
    )
    watchers = Watchers(
        database.transaction,
        clock,
        wake,
        subscriptions,
        Backfilling(database.transaction, clock, wake, subscriptions, chains, settings.watching.backfill_blocks_max),
        NewHeads(database.transaction, clock, wake, subscriptions, settings.chains, random.Random()),
        Proving(database.transaction, clock, subscriptions, chains),
        chains,
        Chains(database.transaction, clock, subscriptions, chains),
        *(Documents(medium, database.transaction, clock, ids, subscriptions, outbound) for medium in MEDIA),
    )
    try:
        yield Services(
            settings=settings,
            keyring=keyring,
            database=database,
            clock=clock,
            wake=wake,
            events=Events(),
            identity=Identity(clock, ids, settings.identity, settings.api.accepted_authorities),
            payments=Payments(price_list(settings.prices), settings.payments),
            outbound=outbound,
            deliveries=deliveries,
            messages=Messages(deliveries),
            schedules=schedules,
            subscriptions=subscriptions,
            watchers=watchers,
        )
    finally:
        await watchers.close()
        await subscriptions.close()
        await nodes.aclose()
        await outbound.close()
        if not lent:
            await database.close()


def _outbound(settings: Settings, database_url: str, resolver: Resolver | None) -> Outbound:
    """The one way out to strangers, closed to this relay's own doors."""
    doors = own_doors(
        api=(settings.api.host, settings.api.port),
        database_url=database_url,
        valkey_url=settings.valkey.url,
        metrics_port=settings.worker.metrics_port,
    )
    return Outbound(allow=networks(settings.outbound.allow), own=doors, resolver=resolver)
