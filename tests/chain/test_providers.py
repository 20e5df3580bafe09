"""Several providers of a chain: who fails is stepped over, who lies is not believed, who lags is not waited for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text

from app.kit import limits
from app.kit.due import drain
from app.kit.telemetry import metrics
from app.kit.wake import Silence as NoBell
from app.services import open_services
from app.settings import ChainSettings, ProviderSettings, Settings
from examples.devchain import DevChain, Token
from tests.chain.conftest import NETWORK, Town, pulled, subscribe, transfers
from tests.chain.faults import FAULTS, LIES, Faulty, in_result
from tests.chain.proxy import Proxy, Raw, Silence
from tests.world import TestAgent


@pytest.fixture
async def second(chain: DevChain) -> AsyncIterator[Proxy]:
    async with Proxy.before(chain.url) as proxy:
        yield proxy


def followed(proxy: Proxy, second: Proxy, **rules: Any) -> ChainSettings:
    providers = (
        ProviderSettings(url=f"{proxy.url}?key=a-secret", label="first"),
        ProviderSettings(url=second.url, label="second"),
    )
    return ChainSettings(rpc_url=providers, poll_seconds=1, **rules)


@pytest.fixture
def settings(settings: Settings, proxy: Proxy, second: Proxy, rules: dict[str, Any]) -> Settings:
    return settings.model_copy(update={"chains": {NETWORK: followed(proxy, second, **rules)}})


@pytest.fixture
def rules() -> dict[str, Any]:
    """How the chain of a test is followed."""
    return {}


def faulty(proxy: Proxy) -> Faulty:
    return Faulty(proxy, 0, lambda name: name)


async def shown(agent: TestAgent) -> dict[str, Any]:
    answer = await agent.get("/v1/watchers")
    assert "a-secret" not in answer.text
    [watcher] = answer.json()["items"]
    return watcher


async def providers(agent: TestAgent) -> dict[str, str]:
    """The state of each provider, as agents see it."""
    return {each["name"]: each["state"] for each in (await shown(agent))["providers"]}


@pytest.mark.parametrize("fault", [*FAULTS, *LIES, "silence"])
@pytest.mark.parametrize("rules", [{"timeout_seconds": 3, "verified": "receipts-root"}])
async def test_who_fails_is_stepped_over_within_a_look(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, proxy: Proxy, fault: str
) -> None:
    subscription = await subscribe(agent, transfers(token))
    await town.turn()
    await token.transfer(chain.accounts[0], chain.accounts[1], 1)
    # More than one block, so that parents are asked for by hash.
    await chain.mine(3)
    bad = faulty(proxy)
    bad.fault = {**FAULTS, **LIES}.get(fault, lambda *_: Silence())
    bad.share = 1.0
    await town.turn()
    [told] = await pulled(agent, subscription["id"])
    assert told["type"] == "event.matched"
    watcher = await shown(agent)
    assert watcher["last_error"] is None
    # Not to know a block is the only thing that is held against nobody.
    assert (await providers(agent))["second"] == "up"
    assert (await providers(agent))["first"] == ("up" if fault == "no such block" else "backing_off")


async def test_who_is_left_alone_is_not_asked_until_its_time_has_come(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, proxy: Proxy
) -> None:
    await subscribe(agent, transfers(token))
    await town.turn()
    proxy.tamper = lambda *_: Raw(429, b"", {"retry-after": "60"})
    await town.turn()
    proxy.calls.clear()
    await chain.mine()
    await town.turn(5)
    assert proxy.calls.total() == 0
    [first, _] = (await shown(agent))["providers"]
    assert first["last_error"] == "HTTP status 429"

    proxy.tamper = lambda _, answer: answer
    town.clock.advance(seconds=60)
    await town.turn()
    assert proxy.calls.total() > 0
    assert (await providers(agent)) == {"first": "up", "second": "up"}


async def test_when_all_are_left_alone_one_is_asked_nevertheless(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, proxy: Proxy, second: Proxy
) -> None:
    subscription = await subscribe(agent, transfers(token))
    await town.turn()
    proxy.tamper = second.tamper = lambda *_: Raw(502)
    await town.turn()
    assert (await shown(agent))["last_error"] == "HTTP status 502"
    proxy.tamper = second.tamper = lambda _, answer: answer
    await token.transfer(chain.accounts[0], chain.accounts[1], 1)
    await chain.mine()
    town.clock.advance(seconds=1)
    await town.turn()
    assert len(await pulled(agent, subscription["id"])) == 1


async def test_a_provider_of_another_chain_is_never_believed(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, proxy: Proxy
) -> None:
    proxy.tamper = lambda method, answer: {**answer, "result": "0x1"} if method == "eth_chainId" else answer
    subscription = await subscribe(agent, transfers(token))
    await town.turn()
    assert (await agent.get(f"/v1/subscriptions/{subscription['id']}")).json()["state"] == "active"
    assert proxy.calls["eth_getBlockByNumber"] == 0
    assert (await providers(agent)) == {"first": "backing_off", "second": "up"}


async def test_a_provider_that_stands_still_is_asked_after_the_other(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, proxy: Proxy
) -> None:
    subscription = await subscribe(agent, transfers(token))
    await town.turn()
    stuck = faulty(proxy)
    stuck.share, stuck.lag = 1.0, 30
    await token.transfer(chain.accounts[0], chain.accounts[1], 1)
    await chain.call("evm_increaseTime", 60)
    await chain.mine(30)
    await town.turn()
    town.clock.advance(seconds=limits.provider_survey_seconds)
    await town.turn()
    assert len(await pulled(agent, subscription["id"])) == 1
    assert (await providers(agent)) == {"first": "behind", "second": "up"}


async def test_who_dates_its_blocks_in_the_future_does_not_come_before_the_others(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, second: Proxy
) -> None:
    today = int(town.clock.at.timestamp())
    await chain.call("evm_setNextBlockTimestamp", hex(today))
    await chain.mine()
    early = faulty(second)
    early.fault = in_result("eth_getBlockByNumber", lambda block: {**block, "timestamp": hex(today + 600)})
    early.share = 1.0
    await subscribe(agent, transfers(token))
    await town.turn()
    assert (await providers(agent))["first"] == "up"


async def test_who_announces_blocks_that_nobody_knows_is_not_asked_first_for_ever(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, proxy: Proxy
) -> None:
    subscription = await subscribe(agent, transfers(token))
    await town.turn()
    await token.transfer(chain.accounts[0], chain.accounts[1], 1)
    await chain.mine()

    def made_up(call: Any, answer: Any) -> Any:
        if call["params"][:1] != ["latest"]:
            return answer
        block = answer["result"]
        number = hex(int(block["number"], 16) + 1)
        return answer | {"result": block | {"hash": "0x" + "12" * 32, "parentHash": "0x" + "34" * 32, "number": number}}

    liar = faulty(proxy)
    liar.fault, liar.share = made_up, 1.0
    for _ in range(limits.chain_doubts_max + 2):
        town.clock.advance(seconds=8)
        await town.turn()
    assert len(await pulled(agent, subscription["id"])) == 1
    assert (await providers(agent)) == {"first": "backing_off", "second": "up"}


async def test_what_one_provider_says_of_a_block_is_not_held_against_another(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, proxy: Proxy
) -> None:
    subscription = await subscribe(agent, transfers(token))
    await town.turn()
    await token.transfer(chain.accounts[0], chain.accounts[1], 1)
    await chain.mine()

    def others(call: Any, answer: Any) -> Any:
        if call["method"] == "eth_getBlockReceipts":
            return answer | {"result": None}
        if call["method"].startswith("eth_getBlockBy") and answer["result"]:
            return answer | {"result": answer["result"] | {"transactions": ["0x" + "ee" * 32]}}
        return answer

    liar = faulty(proxy)
    liar.fault, liar.share = others, 1.0
    await town.turn()
    assert len(await pulled(agent, subscription["id"])) == 1
    assert (await providers(agent))["second"] == "up"


async def test_a_head_that_goes_back_on_one_provider_only_is_not_believed(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, proxy: Proxy
) -> None:
    subscription = await subscribe(agent, transfers(token))
    await town.turn()
    await token.transfer(chain.accounts[0], chain.accounts[1], 1)
    await chain.mine()
    await town.turn()
    late = faulty(proxy)
    late.share, late.lag = 1.0, 1
    await town.turn(limits.chain_doubts_max + 2)
    assert [each["type"] for each in await pulled(agent, subscription["id"])] == ["event.matched"]


async def test_a_rollback_is_believed_at_once_when_both_show_it(
    agent: TestAgent, town: Town, chain: DevChain, token: Token
) -> None:
    subscription = await subscribe(agent, transfers(token))
    await town.turn()
    await token.transfer(chain.accounts[0], chain.accounts[1], 1)
    await chain.mine()
    await town.turn()
    await chain.rollback(1)
    await town.turn()
    assert [each["type"] for each in await pulled(agent, subscription["id"])] == ["event.matched", "event.retracted"]


# Another fork.


@pytest.fixture
async def stray() -> AsyncIterator[DevChain]:
    """A node that went its own way from the first block on."""
    async with DevChain.start(mining=False, timestamp=1_700_000_000, epoch_blocks=8) as stray:
        token = await Token.deploy(stray)
        for account in stray.accounts[:3]:
            await token.mint(account, 5)
        await stray.mine(120)
        yield stray


async def test_a_fork_below_what_was_final_is_not_followed_while_another_provider_contradicts(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, proxy: Proxy, stray: DevChain
) -> None:
    subscription = await subscribe(agent, transfers(token))
    await chain.mine(40)
    await town.turn()
    await chain.mine(20)
    await town.turn()
    faulty(proxy).elsewhere = stray.url
    await token.transfer(chain.accounts[0], chain.accounts[1], 1)
    await chain.mine()
    await town.turn(3)
    watcher = await shown(agent)
    assert (watcher["state"], watcher["last_error"]) == ("active", None)
    assert (await providers(agent))["first"] == "backing_off"
    assert len(await pulled(agent, subscription["id"])) == 1


async def test_a_fork_below_what_was_final_halts_when_both_show_it(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, proxy: Proxy, second: Proxy
) -> None:
    subscription = await subscribe(agent, transfers(token))
    await town.turn()
    await token.transfer(chain.accounts[0], chain.accounts[1], 1)
    await chain.mine(30)
    await town.turn()
    await chain.reorg(20)
    await chain.mine()
    await town.turn()
    watcher = await shown(agent)
    assert watcher["state"] == "halted"
    assert "was final" in watcher["state_reason"]
    assert len(await pulled(agent, subscription["id"])) == 1

    # It stays so, and an alarm, when nobody answers.
    proxy.tamper = second.tamper = lambda *_: Raw(502)
    town.clock.advance(seconds=limits.chain_again_seconds_max)
    await town.turn()
    assert (await shown(agent))["last_error"] == "HTTP status 502"
    assert REGISTRY.get_sample_value("tocsin_chain_halted", {"chain": NETWORK}) == 1


async def test_the_alarm_is_that_of_the_chain_and_not_of_the_process_that_saw_it(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, proxy: Proxy, second: Proxy
) -> None:
    def alarm() -> float | None:
        return REGISTRY.get_sample_value("tocsin_chain_halted", {"chain": NETWORK})

    subscription = await subscribe(agent, transfers(token))
    await town.turn()
    await chain.mine(30)
    await town.turn()
    await chain.reorg(20)
    await chain.mine()
    await town.turn()
    assert ((await shown(agent))["state"], alarm()) == ("halted", 1)
    # A process that begins now has not looked yet, and nobody else may be left to say it.
    metrics.chain_halted.clear()
    proxy.calls.clear()
    async with open_services(town.services.settings, NoBell(), name="another", clock=town.clock) as services:
        await services.watchers.look_next()
        assert (alarm(), proxy.calls.total()) == (1, 0)
    # And one that saw it says no more so when it is over, though it never looks again.
    assert (await agent.call("DELETE", f"/v1/subscriptions/{subscription['id']}")).status_code == 204
    town.clock.advance(seconds=limits.chain_report_seconds)
    await town.services.watchers.look_next()
    assert alarm() == 0


@pytest.mark.parametrize("rules", [{"agreement": True}])
async def test_with_agreement_nothing_is_told_that_a_second_provider_does_not_confirm(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, proxy: Proxy, second: Proxy, stray: DevChain
) -> None:
    subscription = await subscribe(agent, transfers(token))
    await town.turn()
    late = faulty(second)
    late.share, late.lag = 1.0, 1
    await token.transfer(chain.accounts[0], chain.accounts[1], 1)
    await chain.mine()
    await town.turn()
    assert await pulled(agent, subscription["id"]) == []
    late.heal()
    await town.turn()
    assert len(await pulled(agent, subscription["id"])) == 1

    late.elsewhere = stray.url
    await token.transfer(chain.accounts[0], chain.accounts[1], 2)
    await chain.mine()
    await town.turn(3)
    assert len(await pulled(agent, subscription["id"])) == 1
    assert "no second provider confirms" in (await shown(agent))["last_error"]
    late.heal()
    town.clock.advance(seconds=60)
    await town.turn()
    assert len(await pulled(agent, subscription["id"])) == 2


async def read_the_past(town: Town) -> None:
    for _ in range(3):
        town.clock.advance(seconds=30)
        await drain(town.services.watchers.backfill_next)
        await town.turn()


async def test_the_past_is_not_read_from_a_node_of_another_chain(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, proxy: Proxy
) -> None:
    proxy.tamper = lambda method, answer: {**answer, "result": "0x1"} if method == "eth_chainId" else answer
    begun = int((await chain.head())["number"], 16) + 1
    await token.transfer(chain.accounts[0], chain.accounts[1], 1)
    await chain.mine(20)
    subscription = await subscribe(agent, transfers(token, from_block=begun))
    await town.turn()
    await read_the_past(town)
    assert len(await pulled(agent, subscription["id"])) == 1
    assert set(proxy.calls) == {"eth_chainId"}


@pytest.mark.parametrize("rules", [{"agreement": True}])
async def test_with_agreement_nothing_of_the_past_is_told_that_a_second_provider_does_not_confirm(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, second: Proxy, stray: DevChain
) -> None:
    begun = int((await chain.head())["number"], 16) + 1
    await token.transfer(chain.accounts[0], chain.accounts[1], 1)
    await chain.mine(20)
    await subscribe(agent, transfers(token))
    await town.turn()
    other = faulty(second)
    other.elsewhere = stray.url
    past = await subscribe(agent, transfers(token, from_block=begun))
    await read_the_past(town)
    assert await pulled(agent, past["id"]) == []
    shown = (await agent.get(f"/v1/subscriptions/{past['id']}")).json()
    assert "no second provider confirms" in shown["catching_up"]["last_error"]
    other.heal()
    await read_the_past(town)
    assert len(await pulled(agent, past["id"])) == 1


# What is final.


async def levels(agent: TestAgent) -> tuple[int, int | None, int | None]:
    position = (await shown(agent))["position"]
    return position["number"], position["safe"], position["finalized"]


async def test_what_is_safe_and_final_is_read_with_the_head(
    agent: TestAgent, town: Town, chain: DevChain, token: Token
) -> None:
    await subscribe(agent, transfers(token))
    await chain.mine(40)
    await town.turn()
    number, safe, finalized = await levels(agent)
    assert (number - 8, number - 16) == (safe, finalized)

    await chain.reorg(3)
    await chain.rollback(2)
    await town.turn(2)
    # What was final stays final, though the head went back.
    assert await levels(agent) == (number - 2, number - 10, finalized)


@pytest.mark.parametrize("rules", [{"finality": "depth", "finality_depth": 5}])
async def test_by_depth_no_tag_is_asked_for(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, proxy: Proxy
) -> None:
    await subscribe(agent, transfers(token))
    await town.turn()
    await chain.mine(10)
    proxy.calls.clear()
    await town.turn()
    number, safe, finalized = await levels(agent)
    assert safe == finalized == number - 5
    assert proxy.calls["eth_getBlockByNumber"] == 1 + 9  # the head, and the blocks between


@pytest.mark.parametrize("rules", [{"finality_depth": 7}])
async def test_where_nodes_know_no_tags_depth_decides(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, proxy: Proxy
) -> None:
    bad = faulty(proxy)
    bad.fault, bad.share = without_tags, 1.0
    await subscribe(agent, transfers(token))
    await town.turn()
    await chain.mine(10)
    await town.turn()
    number, safe, finalized = await levels(agent)
    assert safe == finalized == number - 7
    assert (await providers(agent))["first"] == "up"


@pytest.mark.parametrize("rules", [{"finality_depth": 7}])
async def test_where_nodes_never_name_a_final_block_it_is_said_and_then_depth_decides(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, proxy: Proxy
) -> None:
    bad = faulty(proxy)
    bad.fault, bad.share = naming_none, 1.0
    await subscribe(agent, transfers(token))
    await town.turn()
    await chain.mine(40)
    await town.turn()
    silent = await shown(agent)
    assert (silent["position"]["finalized"], silent["position"]["finalized_by"]) == (None, None)
    assert "no provider names a final block; after 1 h of that, one is final with 7 blocks" in silent["state_reason"]
    town.clock.advance(seconds=limits.final_silent_seconds_max)
    await chain.mine()
    await town.turn()
    counted = await shown(agent)
    assert counted["position"]["finalized"] == counted["position"]["number"] - 7
    assert (counted["position"]["finalized_by"], counted["state_reason"]) == ("depth", None)
    # Once it is named it is not counted again: neither here, nor by a process that has not heard it.
    bad.heal()
    await chain.mine(10)
    await town.turn()
    named = (await shown(agent))["position"]
    assert (named["finalized"], named["finalized_by"]) == (named["number"] - 16, "tags")
    bad.fault, bad.share = naming_none, 1.0
    async with open_services(town.services.settings, NoBell(), name="another", clock=town.clock) as services:
        for _ in range(3):
            town.clock.advance(seconds=limits.final_silent_seconds_max)
            await chain.mine(10)
            await drain(services.watchers.look_next)
    kept = (await shown(agent))["position"]
    assert kept["number"] == named["number"] + 30
    assert (kept["finalized"], kept["finalized_by"]) == (named["finalized"], "tags")


def naming_none(call: Any, answer: Any) -> Any:
    return answer | {"result": None} if call["params"][:1] in (["safe"], ["finalized"]) else answer


def without_tags(call: Any, answer: Any) -> Any:
    unknown = call["params"][:1] in (["safe"], ["finalized"])
    error = {"code": -32602, "message": "invalid argument 0: hex string without 0x prefix"}
    return {"id": call["id"], "error": error} if unknown else answer


async def test_levels_that_make_no_sense_say_nothing(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, proxy: Proxy
) -> None:
    await subscribe(agent, transfers(token))
    await chain.mine(40)
    senseless = faulty(proxy)
    senseless.share = 1.0

    def fault(call: Any, answer: Any) -> Any:
        later = answer["result"] | {"number": hex(10**6)} if call["params"][:1] == ["finalized"] else answer["result"]
        return answer | {"result": later}

    senseless.fault = fault
    await town.turn()
    number, safe, finalized = await levels(agent)
    assert (safe, finalized) == (None, None)
    senseless.heal()
    await town.turn()
    assert await levels(agent) == (number, number - 8, number - 16)


async def test_one_provider_without_tags_does_not_make_depth_decide(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, proxy: Proxy, second: Proxy
) -> None:
    poorer = faulty(second)
    poorer.fault, poorer.share = without_tags, 1.0
    await subscribe(agent, transfers(token))
    await chain.mine(40)
    await town.turn()
    _, _, finalized = await levels(agent)
    proxy.tamper = lambda *_: Raw(502)
    await chain.mine(40)
    await town.turn()
    assert (await providers(agent))["first"] == "backing_off"
    _, _, after = await levels(agent)
    assert after == finalized


@pytest.mark.parametrize("rules", [{"agreement": True}])
async def test_with_agreement_nothing_is_final_that_a_second_provider_does_not_call_so(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, proxy: Proxy
) -> None:
    async def hasty(call: Any) -> Any:
        tagged = call["params"][:1] in (["safe"], ["finalized"])
        return await proxy.ask({**call, "params": ["latest", False]} if tagged else call)

    proxy.node = hasty
    await subscribe(agent, transfers(token))
    await chain.mine(40)
    await town.turn()
    number, _, finalized = await levels(agent)
    assert finalized == number - 16
    await town.turn()
    assert (await levels(agent))[2] == finalized


async def test_the_final_block_is_remembered_with_its_hash(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, services: Any
) -> None:
    await subscribe(agent, transfers(token))
    await chain.mine(40)
    await town.turn()
    _, _, finalized = await levels(agent)
    block = await chain.call("eth_getBlockByNumber", hex(finalized or 0), False)
    async with services.database.transaction() as db:
        row = (await db.execute(text("select final_number, final_hash from watchers"))).one()
    assert tuple(row) == (finalized, block["hash"])
