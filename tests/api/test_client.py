"""The client against the API itself."""

import httpx
import pytest

from app.main import assemble, routes
from app.services import Services
from tests.world import ORIGIN, OwnClock
from tocsin import AsyncClient, PrivateKey
from tocsin.problems import AlreadyRegistered, RevokedKey, UnknownKey


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
