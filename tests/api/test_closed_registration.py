"""An operator may name the keys that can register; everybody else is told whom to ask."""

import httpx
import pytest

from app.settings import IdentitySettings, Settings
from tests.world import OwnClock, TestAgent
from tocsin.keys import PrivateKey

INVITED = PrivateKey.generate()


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """A relay that lets one key register."""
    closed = IdentitySettings(registration="allowlist", allowlist=(INVITED.public.keyid,))
    return settings.model_copy(update={"identity": closed})


async def test_a_key_on_the_list_registers(http: httpx.AsyncClient, clock: OwnClock) -> None:
    assert (await TestAgent(http, clock, INVITED).register()).status_code == 201


async def test_any_other_key_is_refused_and_stays_unknown(http: httpx.AsyncClient, clock: OwnClock) -> None:
    stranger = TestAgent(http, clock)
    answer = await stranger.register()
    assert (answer.status_code, answer.json()["type"]) == (403, "/problems/registration-closed")
    assert (await stranger.get("/v1/agents/me")).json()["type"] == "/problems/unknown-key"
