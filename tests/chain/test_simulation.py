"""A short life of everything at once: `make simulate-chain` has long ones."""

from __future__ import annotations

import pytest

from app.settings import Settings
from tests.chain import simulation
from tests.chain.simulation import emptied, simulate


@pytest.mark.parametrize("seed", [0, 4, 5])  # with one provider, with two that have to agree, and with three
async def test_what_is_told_is_what_the_chain_holds(settings: Settings, seed: int) -> None:
    url = settings.database.url
    assert url is not None
    await emptied(url)
    played = await simulate(seed, 25, settings)
    assert played.told > 0


async def test_a_seed_plays_the_same_again(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "REST_STEPS", 10)
    url = settings.database.url
    assert url is not None
    plays = []
    for _ in range(2):
        await emptied(url)
        plays.append(await simulate(3, 20, settings))
    assert plays[0] == plays[1]
