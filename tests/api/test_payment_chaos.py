"""Whatever facilitator and process do, a payment ends as one thing for its money, or as no thing and no money."""

import asyncio
from random import Random

import pytest
from aiohttp import web

from app.kit.database import Database
from app.settings import Settings
from tests.api.shop import DAY, PRICE, Shop, open_shop
from tests.paying import Misbehaving, Till, sign_payment

payments = 6
tries_max = 12


class Chaos:
    """A facilitator with a mood: settles or not, then answers, lies, mumbles, hangs up, or takes the relay down."""

    def __init__(self, seed: int, facilitator: Misbehaving) -> None:
        self.random = Random(seed)
        self.facilitator = facilitator
        self.asking: asyncio.Task[object] | None = None
        self.calm = False

    async def settle(self, body: object) -> web.StreamResponse:
        if self.calm:
            return web.json_response(await self.facilitator.forward(body))
        settles = self.random.random() < 0.5
        said = await self.facilitator.forward(body) if settles else {"success": False, "errorReason": "unheard_of"}
        match self.random.choice(["answers", "fails", "mumbles", "hangs up", "kills", "used"]):
            case "answers":
                return web.json_response(said)
            case "fails":
                return web.json_response(said, status=502)
            case "mumbles":
                return web.Response(text="<html>Welcome</html>")
            case "hangs up":
                raise ConnectionResetError
            case "used" if settles:
                return web.json_response({"success": False, "errorReason": "invalid_exact_evm_nonce_already_used"})
            case "kills":
                assert self.asking is not None
                self.asking.cancel()
        return web.Response(status=500)

    async def before_making(self) -> None:
        """The process may also end between settling and committing."""
        if not self.calm and self.random.random() < 0.2:
            raise asyncio.CancelledError


async def bring_to_its_end(shop: Shop, chaos: Chaos, payment: dict[str, str]) -> int:
    """Ask until there is an answer that is not 503, as a patient client does; ever later, so that leases end."""
    for attempt in range(tries_max):
        chaos.calm = attempt > tries_max // 2
        chaos.asking = asyncio.create_task(shop.ask(**payment))
        [answer] = await asyncio.gather(chaos.asking, return_exceptions=True)
        if not isinstance(answer, BaseException) and answer.status_code not in {500, 503}:
            return answer.status_code
        shop.clock.advance(**DAY)
    raise AssertionError("it never ended")


@pytest.mark.parametrize("seed", range(6))
async def test_money_and_things_agree_in_the_end(
    settings: Settings, database: Database, till: Till, facilitator: Misbehaving, seed: int
) -> None:
    chaos = Chaos(seed, facilitator)
    facilitator.settle = chaos.settle
    async with open_shop(settings, facilitator.url, till.chain.url) as shop:
        shop.workshop.before = chaos.before_making
        before = await till.balances()
        challenge = await shop.ask()
        ends = [await bring_to_its_end(shop, chaos, await sign_payment(challenge)) for _ in range(payments)]
        moved = (await till.balances())[1] - before[1]
        assert set(ends) <= {201, 402}, f"seed {seed}"
        assert await shop.made() == ends.count(201), f"seed {seed}"
        assert moved == ends.count(201) * PRICE, f"seed {seed}"
        assert (await shop.kinds()).count("payment.settled") == ends.count(201), f"seed {seed}"
