"""The client against the API itself."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from app.kit.due import drain
from app.main import assemble, routes
from app.services import Services
from tests.world import ORIGIN, OwnClock
from tocsin import AsyncClient, PrivateKey, PublicKey
from tocsin.client import Retries
from tocsin.previews import preview
from tocsin.problems import (
    AlreadyRegistered,
    BadRecurrence,
    EndpointNotActive,
    ForbiddenAddress,
    NotFound,
    PreconditionFailed,
    RevokedKey,
    UnknownKey,
)
from tocsin.schemas.endpoints import PatchEndpoint
from tocsin.schemas.schedules import AskedPreview, NewSchedule, PatchSchedule
from tocsin.schemas.subscriptions import HttpJson, NewSubscription
from tocsin.webhooks import new_secret

QUICK = Retries(pause_seconds=0.001)


@pytest.fixture
def transport(services: Services) -> httpx.ASGITransport:
    return httpx.ASGITransport(assemble(routes(services)), raise_app_exceptions=False)


def client_of(key: PrivateKey, transport: httpx.ASGITransport, clock: OwnClock) -> AsyncClient:
    return AsyncClient(ORIGIN, key, transport=transport, clock=clock.wall)


async def test_an_agents_life(transport: httpx.ASGITransport, clock: OwnClock) -> None:
    old, new = PrivateKey.generate(), PrivateKey.generate()
    client, renewed = client_of(old, transport, clock), client_of(new, transport, clock)
    with pytest.raises(UnknownKey):
        await client.agents.me()
    me = await client.agents.register(old, name="night watch")
    assert (await client.agents.me()) == me
    assert me.name == "night watch"
    with pytest.raises(AlreadyRegistered):
        await client.agents.register(old)
    assert (await client.agents.rotate(me, new)).keyid == new.public.keyid
    with pytest.raises(RevokedKey):
        await client.agents.me()
    assert (await renewed.agents.me()).id == me.id
    assert (await renewed.agents.revoke("done")).revoked_at == clock.at
    with pytest.raises(RevokedKey):
        await renewed.agents.me()


async def test_an_agent_reads_what_happened(transport: httpx.ASGITransport, clock: OwnClock) -> None:
    client = client_of(PrivateKey.generate(), transport, clock)
    me = await client.agents.register(client.key)
    assert [event.kind async for event in client.events.list()] == ["agent.registered"]
    assert [event.subject async for event in client.events.list(subject=me.id)] == [me.id]
    assert [event async for event in client.events.list(kind="schedule.fired")] == []


class LosesAnswers(httpx.AsyncBaseTransport):
    """A network that carries each request, and loses the first answer to every write."""

    def __init__(self, carrier: httpx.AsyncBaseTransport) -> None:
        self.carrier = carrier
        self.lost: set[str] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self.carrier.handle_async_request(request)
        key = request.headers.get("idempotency-key")
        if key is not None and key not in self.lost:
            self.lost.add(key)
            raise httpx.ReadError("the connection was cut")
        return answer


async def test_a_write_whose_answer_was_lost_happens_once(transport: httpx.ASGITransport, clock: OwnClock) -> None:
    client = client_of(PrivateKey.generate(), transport, clock)
    await client.agents.register(client.key)
    cut = AsyncClient(ORIGIN, client.key, transport=LosesAnswers(transport), clock=clock.wall, retries=QUICK)
    created = await cut.endpoints.create("http://127.0.0.1:9009/")
    assert [endpoint.id async for endpoint in client.endpoints.list()] == [created.id]
    assert created.secret.startswith("whsec_")


async def test_an_endpoints_life(transport: httpx.ASGITransport, clock: OwnClock) -> None:
    client = client_of(PrivateKey.generate(), transport, clock)
    await client.agents.register(client.key)
    secret = new_secret()
    created = await client.endpoints.create("http://127.0.0.1:9009/", "mine", secret)
    assert (created.secret, created.description) == (secret, "mine")
    changed = await client.endpoints.change(created.id, PatchEndpoint(description=None))
    assert (changed.description, changed.url) == (None, created.url)
    assert (await client.endpoints.verify(created.id)).state == "pending"
    with pytest.raises(EndpointNotActive):
        await client.endpoints.test(created.id)
    with pytest.raises(ForbiddenAddress) as refused:
        await client.endpoints.create("http://10.0.0.1/")
    assert refused.value.errors[0]["pointer"] == "/url"
    await client.endpoints.delete(created.id)
    with pytest.raises(NotFound):
        await client.endpoints.get(created.id)
    assert [delivery async for delivery in client.deliveries.list()] == []


async def test_the_relays_webhook_keys_are_public_keys(transport: httpx.ASGITransport, clock: OwnClock) -> None:
    keys = await client_of(PrivateKey.generate(), transport, clock).webhook_keys()
    assert [PublicKey.parse(jwk).keyid for jwk in keys["keys"]]


async def test_prices_are_public_and_everything_is_free_by_default(
    transport: httpx.ASGITransport, clock: OwnClock
) -> None:
    client = client_of(PrivateKey.generate(), transport, clock)
    assert (await client.payments.prices()).items == []


async def test_a_schedules_life(transport: httpx.ASGITransport, clock: OwnClock) -> None:
    client = client_of(PrivateKey.generate(), transport, clock)
    await client.agents.register(client.key)
    endpoint = await client.endpoints.create("http://127.0.0.1:9009/")
    weekly = {"cron": "0 9 * * 1", "timezone": "Europe/Berlin"}
    payload = {"nothing": None, "list": [None, 1]}
    created = await client.schedules.create(NewSchedule(spec=weekly, endpoint_id=endpoint.id, payload=payload))
    assert (created.spec, created.payload) == (weekly, payload)
    assert [schedule.id async for schedule in client.schedules.list(state="active")] == [created.id]
    assert [fire async for fire in client.schedules.fires(created.id)] == []
    seen = await client.schedules.preview(AskedPreview(spec=weekly, after=clock.at, count=2))
    assert [fire.scheduled_at.hour for fire in seen.fires] == [8, 8]
    with pytest.raises(BadRecurrence) as refused:
        await client.schedules.create(NewSchedule(spec={"cron": "61 * * * *"}, endpoint_id=endpoint.id))
    assert refused.value.errors[0]["pointer"] == "/spec/cron"
    await client.schedules.delete(created.id)
    assert [schedule async for schedule in client.schedules.list(state="active")] == []


async def scheduling(transport: httpx.ASGITransport, clock: OwnClock, **terms: Any) -> tuple[AsyncClient, NewSchedule]:
    """A client of a new agent, and a schedule for it to put."""
    client = client_of(PrivateKey.generate(), transport, clock)
    await client.agents.register(client.key)
    endpoint = await client.endpoints.create("http://127.0.0.1:9009/")
    return client, NewSchedule(spec={"every": "PT1H"}, endpoint_id=endpoint.id, **terms)


async def test_a_schedule_is_put_under_a_chosen_id(transport: httpx.ASGITransport, clock: OwnClock) -> None:
    client, new = await scheduling(transport, clock)
    created = await client.schedules.put("hourly-report", new, create_only=True)
    assert (created.chosen_id, created.version) == ("hourly-report", 1)
    assert await client.schedules.put("hourly-report", new) == created
    other = new.model_copy(update={"name": "other"})
    assert (await client.schedules.put("hourly-report", other, if_version=1)).version == 2
    for ask in (
        lambda: client.schedules.put("hourly-report", new, if_version=1),
        lambda: client.schedules.put("hourly-report", new, create_only=True),
        lambda: client.schedules.change("hourly-report", PatchSchedule(name=None), if_version=1),
    ):
        with pytest.raises(PreconditionFailed) as raised:
            await ask()
        assert raised.value.version == 2
    changed = await client.schedules.change("hourly-report", PatchSchedule(name=None), if_version=2)
    assert (changed.name, changed.version) == (None, 3)
    assert await client.schedules.get(created.id) == changed


async def test_a_put_whose_answer_was_lost_is_no_conflict(transport: httpx.ASGITransport, clock: OwnClock) -> None:
    client, new = await scheduling(transport, clock)
    await client.schedules.put("hourly", new)
    cut = AsyncClient(ORIGIN, client.key, transport=LosesAnswers(transport), clock=clock.wall, retries=QUICK)
    other = new.model_copy(update={"name": "other"})
    assert (await cut.schedules.put("hourly", other, if_version=1)).version == 2
    assert (await cut.schedules.put("daily", new, create_only=True)).version == 1


async def test_a_schedule_is_stepped_into(transport: httpx.ASGITransport, clock: OwnClock) -> None:
    client, new = await scheduling(transport, clock, jitter="PT1M")
    await client.schedules.put("hourly", new)
    assert (await client.schedules.pause("hourly", "holidays")).pause_reason == "holidays"
    assert (await client.schedules.resume("hourly")).state == "active"
    first, second = (await client.schedules.upcoming("hourly", 2)).fires
    assert first.fire_at
    assert first.scheduled_at <= first.fire_at < first.scheduled_at + timedelta(minutes=1)
    skipped = await client.schedules.skip_next("hourly")
    assert (skipped.scheduled_at, skipped.state, skipped.reason) == (first.scheduled_at, "skipped", "owner")
    assert (await client.schedules.upcoming("hourly", 1)).fires == [second]
    triggered = await client.schedules.trigger("hourly")
    assert (triggered.kind, triggered.scheduled_at) == ("manual", clock.at)
    assert [fire async for fire in client.schedules.fires("hourly", kind="manual")] == [triggered]
    assert [fire async for fire in client.schedules.fires("hourly", since=first.scheduled_at)] == [skipped]
    assert [fire async for fire in client.schedules.fires("hourly", until=clock.at)] == []


async def test_a_run_is_reported_as_done(transport: httpx.ASGITransport, clock: OwnClock, services: Services) -> None:
    client, new = await scheduling(transport, clock, overlap="skip", completion="report")
    await client.schedules.put("hourly", new)
    triggered = await client.schedules.trigger("hourly")
    await drain(services.schedules.take_over_next)
    await drain(services.schedules.fire_next)
    completed = await client.schedules.complete("hourly", triggered.id)
    assert (completed.id, completed.completed_at) == (triggered.id, clock.at)
    assert await client.schedules.complete("hourly", triggered.id) == completed


async def test_a_backfill_is_asked_for_watched_and_cancelled(transport: httpx.ASGITransport, clock: OwnClock) -> None:
    client, new = await scheduling(transport, clock)
    await client.schedules.put("hourly", new)
    begun = await client.schedules.backfill("hourly", clock.at - timedelta(hours=3), clock.at, "buffer_all")
    assert (begun.slots, begun.open, begun.state, begun.overlap) == (3, 3, "running", "buffer_all")
    assert await client.schedules.get_backfill("hourly", begun.id) == begun
    assert [backfill async for backfill in client.schedules.backfills("hourly")] == [begun]
    fires = [fire async for fire in client.schedules.fires("hourly", backfill=begun.id)]
    assert [fire.scheduled_at.hour for fire in fires] == [8, 7, 6]
    cancelled = await client.schedules.cancel_backfill("hourly", begun.id)
    assert (cancelled.state, cancelled.open, cancelled.skipped) == ("cancelled", 0, 3)


async def test_a_preview_is_the_same_with_a_relay_and_without(transport: httpx.ASGITransport, clock: OwnClock) -> None:
    client, _ = await scheduling(transport, clock)
    spec = {"cron": "30 2 * * *", "timezone": "Europe/Berlin"}
    bounds = {"starts_at": datetime(2027, 3, 27, tzinfo=UTC), "ends_at": datetime(2027, 3, 29, tzinfo=UTC)}
    asked = AskedPreview.model_validate({"spec": spec, "count": 9, **bounds})
    seen = await client.schedules.preview(asked)
    assert [fire.shift for fire in seen.fires] == [None, "moved"]
    assert seen == preview(asked, clock.at)


async def test_a_subscriptions_life(transport: httpx.ASGITransport, clock: OwnClock) -> None:
    client = client_of(PrivateKey.generate(), transport, clock)
    await client.agents.register(client.key)
    price = HttpJson(kind="http.json", url="http://127.0.0.1:9009/price", interval=timedelta(seconds=5), pointer="/usd")
    created = await client.subscriptions.create(NewSubscription(source=price, description="price"))
    assert created.source == price
    assert [subscription.id async for subscription in client.subscriptions.list()] == [created.id]
    assert [watcher.target async for watcher in client.subscriptions.watchers()] == [price.url]
    page = await client.subscriptions.events(created.id)
    assert page.items == []
    assert (await client.subscriptions.events(created.id, after=page.next)).items == []
    await client.subscriptions.delete(created.id)
    with pytest.raises(NotFound):
        await client.subscriptions.get(created.id)
