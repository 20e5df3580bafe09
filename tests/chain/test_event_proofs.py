"""Proofs that a relay gives of what it told: of a real chain, from whichever provider has the block."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from app.kit import limits
from app.kit.due import drain
from app.kit.wake import Silence as NoBell
from app.services import open_services
from app.settings import ChainSettings, ProviderSettings, Settings
from app.watchers import store
from examples.devchain import DevChain, Token
from tests.chain.conftest import NETWORK, Town, pulled, subscribe, transfers
from tests.chain.proxy import Proxy, Raw
from tests.chain.test_second_node import ganache
from tests.conftest import NewAgent
from tests.world import OwnClock, TestAgent
from tocsin import proofs
from tocsin.problems import BlockGone, TooManyRequests

final = 20


async def told(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, *values: int, **terms: Any
) -> list[dict[str, Any]]:
    """What a subscription is told of these transfers, which are in one block."""
    subscription = await subscribe(agent, transfers(token, **terms))
    await town.turn()
    for value in values or (1,):
        await token.transfer(chain.accounts[0], chain.accounts[1], value)
    await chain.mine()
    await town.turn()
    return [each["data"] for each in await pulled(agent, subscription["id"])]


async def proof_of(agent: TestAgent, event: dict[str, Any]) -> httpx.Response:
    return await agent.get(f"/v1/events/{event['event_id']}/proof")


def verified(answer: httpx.Response, event: dict[str, Any]) -> proofs.Proven:
    assert answer.status_code == 200, answer.text
    return proofs.verify(
        answer.json()["proof"],
        trusted_chain=NETWORK,
        trusted_block_hash=event["payload"]["block"]["hash"],
        event=event,
    )


def refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].removeprefix("/problems/")


async def test_an_event_that_was_told_has_a_proof(agent: TestAgent, town: Town, chain: DevChain, token: Token) -> None:
    events = await told(agent, town, chain, token, 5, 6, 7)
    head = await chain.head()
    for event in events:
        answer = await proof_of(agent, event)
        proven = verified(answer, event)
        assert proven.block_hash == head["hash"]
        assert set(proven.unchecked) == {"payload.verified", "payload.replaced_by", "payload.transaction.verified"}
        assert answer.json()["retracted"] is False
        assert answer.json()["event"] == {name: event[name] for name in ("event_id", "kind", "observed_at", "payload")}
        # What the relay says of it is checked in the same way.
        verified(answer, answer.json()["event"])


async def test_events_of_one_block_cost_one_reading_of_it(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, proxy: Proxy
) -> None:
    events = await told(agent, town, chain, token, 5, 6, 7)
    proxy.calls.clear()
    answers = await asyncio.gather(*(proof_of(agent, event) for event in events))
    answers += [await proof_of(agent, events[0])]
    assert {answer.status_code for answer in answers} == {200}
    assert dict(proxy.calls) == {"eth_getBlockByHash": 1, "eth_getBlockReceipts": 1}


async def test_no_more_is_kept_of_blocks_than_there_is_room_for(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "proof_blocks_kept_bytes_max", 0)
    [event] = await told(agent, town, chain, token)
    for _ in range(2):
        verified(await proof_of(agent, event), event)
    assert proxy.calls["eth_getBlockByHash"] == 2


async def test_an_agent_has_so_many_proofs_made_at_a_time(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "proofs_per_agent_at_once", 1)
    [event] = await told(agent, town, chain, token)
    answers = await asyncio.gather(proof_of(agent, event), proof_of(agent, event))
    assert sorted(answer.status_code for answer in answers) == [200, 429]
    assert next(answer for answer in answers if answer.status_code == 429).headers["retry-after"] == "1"
    verified(await proof_of(agent, event), event)


async def test_while_too_many_blocks_are_asked_for_others_wait(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "proof_waiting_max", 0)
    [event] = await told(agent, town, chain, token)
    assert refused(await proof_of(agent, event)) == (429, "too-many-requests")


@pytest.mark.parametrize("whose", ["chain", "agent"])
async def test_what_proofs_cost_upstream_is_bounded_over_time(
    agent: TestAgent,
    town: Town,
    chain: DevChain,
    token: Token,
    proxy: Proxy,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    whose: str,
) -> None:
    of = {"chain": "proof_calls", "agent": "proof_calls_per_agent"}[whose]
    monkeypatch.setattr(limits, f"{of}_at_once_max", 1)
    monkeypatch.setattr(limits, f"{of}_per_second", 0.1)
    first, second = [(await told(agent, town, chain, token))[0] for _ in range(2)]
    async with open_services(settings, NoBell(), name="another", clock=town.clock) as services:
        ask = services.watchers.proof
        assert (await ask(agent.id, first["event_id"])).event.event_id == first["event_id"]
        proxy.calls.clear()
        with pytest.raises(TooManyRequests) as refusal:
            await ask(agent.id, second["event_id"])
        assert refusal.value.retry_after_seconds == 10
        assert proxy.calls["eth_getBlockByHash"] == 0
        # What was read costs nothing.
        assert (await ask(agent.id, first["event_id"])).event.event_id == first["event_id"]
        town.clock.advance(seconds=10)
        assert (await ask(agent.id, second["event_id"])).event.event_id == second["event_id"]


async def test_what_was_not_told_to_an_agent_it_gets_no_proof_of(
    agent: TestAgent, new_agent: NewAgent, town: Town, chain: DevChain, token: Token
) -> None:
    other = await new_agent()
    later = await subscribe(other, {"source": transfers(token)["source"] | {"finality": "confirmations:2"}})
    [event] = await told(agent, town, chain, token)
    # Seen for the other, too, and not yet told.
    assert refused(await proof_of(other, event)) == (404, "not-found")
    await chain.mine(2)
    await town.turn()
    verified(await proof_of(other, event), event)
    assert (await other.call("DELETE", f"/v1/subscriptions/{later['id']}")).status_code == 204
    assert refused(await proof_of(other, event)) == (404, "not-found")
    joined_later = await new_agent()
    await subscribe(joined_later, transfers(token))
    assert refused(await proof_of(joined_later, event)) == (404, "not-found")
    assert refused(await agent.get("/v1/events/evt_nothing/proof")) == (404, "not-found")


async def test_of_an_event_that_several_subscriptions_were_told_each_has_its_own_telling(
    agent: TestAgent, new_agent: NewAgent, town: Town, chain: DevChain, token: Token
) -> None:
    signature = "Transfer(address indexed from, address indexed to, uint256 value)"
    other_names = signature.replace("value", "wad")
    source: dict[str, Any] = {"kind": "evm.log", "chain": NETWORK, "address": token.address, "finality": "latest"}
    plain, decoded, otherwise = [
        (await subscribe(agent, {"source": source | named}))["id"]
        for named in ({}, {"event": signature}, {"event": other_names})
    ]
    await town.turn()
    await token.transfer(chain.accounts[0], chain.accounts[1], 5)
    await chain.mine()
    await town.turn()
    [event] = [each["data"] for each in await pulled(agent, plain)]
    path = f"/v1/events/{event['event_id']}/proof"
    expected: dict[str, dict[str, str] | None] = {plain: None, decoded: {"value": "5"}, otherwise: {"wad": "5"}}
    for subscription, values in expected.items():
        answer = await agent.get(f"{path}?subscription_id={subscription}")
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert found["subscription_id"] == subscription
        assert found["also_told_to"] == [each for each in (plain, decoded, otherwise) if each != subscription]
        [as_told] = [each["data"] for each in await pulled(agent, subscription)]
        assert found["event"]["payload"] == as_told["payload"]
        told = found["event"]["payload"].get("decoded")
        assert (told or {}).items() >= (values or {}).items()
        proofs.verify(
            found["proof"],
            trusted_chain=NETWORK,
            trusted_block_hash=event["payload"]["block"]["hash"],
            event=found["event"],
            signature=other_names if subscription == otherwise else signature,
        )
    # The oldest, whichever told last.
    assert (await agent.get(path)).json()["subscription_id"] == plain
    stranger = await new_agent()
    for asking, subscription in ((agent, "sub_nothing"), (stranger, plain)):
        answer = await asking.get(f"{path}?subscription_id={subscription}")
        assert refused(answer) == (404, "not-found")


async def test_events_of_a_batch_have_proofs_of_their_own(
    agent: TestAgent, town: Town, chain: DevChain, token: Token
) -> None:
    [batch] = await told(agent, town, chain, token, 5, 6, batch="block")
    for event in batch["items"]:
        verified(await proof_of(agent, event), event)


async def test_events_of_the_past_have_proofs(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "backfill_depth_blocks", 2)
    begun = int((await chain.head())["number"], 16) + 1
    await token.transfer(chain.accounts[0], chain.accounts[1], 9)
    await chain.mine(final)
    subscription = await subscribe(agent, transfers(token, from_block=begun, batch="block"))
    for _ in range(3):
        await town.turn()
        town.clock.advance(seconds=limits.backfill_wait_seconds)
        await drain(town.services.watchers.backfill_next)
    await town.turn()
    [entry] = await pulled(agent, subscription["id"])
    [event] = entry["data"]["items"]
    assert int(event["payload"]["log"]["data"], 16) == 9
    verified(await proof_of(agent, event), event)


async def test_what_a_reorganisation_took_is_said_to_be_gone(
    agent: TestAgent, town: Town, chain: DevChain, token: Token
) -> None:
    [event] = await told(agent, town, chain, token)
    await chain.reorg(1)
    await town.turn()
    # This node forgets what it takes back.
    answer = await proof_of(agent, event)
    assert refused(answer) == (410, "block-gone")
    assert answer.json()["retracted"] is True
    assert answer.json()["hash"] == event["payload"]["block"]["hash"]


async def test_what_was_taken_back_is_proven_as_long_as_a_provider_has_it(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, proxy: Proxy
) -> None:
    [event] = await told(agent, town, chain, token)
    block_hash = event["payload"]["block"]["hash"]
    kept = {
        "eth_getBlockByHash": await chain.call("eth_getBlockByHash", block_hash, True),
        "eth_getBlockReceipts": await chain.call("eth_getBlockReceipts", block_hash),
    }
    replacement = await chain.reorg(1)
    await town.turn()

    async def remembering(call: Any) -> Any:
        if call["method"] in kept and call["params"][0] == block_hash:
            return {"jsonrpc": "2.0", "id": call["id"], "result": kept[call["method"]]}
        return await proxy.ask(call)

    proxy.node = remembering
    answer = await proof_of(agent, event)
    assert answer.json()["retracted"] is True
    assert answer.json()["event"]["payload"]["replaced_by"] == replacement["hash"]
    assert "payload.replaced_by" in verified(answer, answer.json()["event"]).unchecked


class TestWithGanache:
    """A node that has no receipts of whole blocks, and of blocks that it took back nothing."""

    @pytest.fixture
    async def chain(self) -> AsyncIterator[DevChain]:
        with ganache() as url:
            async with DevChain.connect(url) as chain:
                yield chain

    @pytest.fixture
    def settings(self, settings: Settings, proxy: Proxy) -> Settings:
        followed = ChainSettings.model_validate({"rpc_url": proxy.url, "finality": "depth", "finality_depth": 20})
        return settings.model_copy(update={"chains": {NETWORK: followed}})

    async def test_a_proof_shows_more_than_could_be_checked_when_it_was_told(
        self, agent: TestAgent, town: Town, chain: DevChain, token: Token, proxy: Proxy
    ) -> None:
        snapshot = await chain.call("evm_snapshot")
        [event] = await told(agent, town, chain, token)
        assert event["payload"]["verified"] == "bloom"
        verified(await proof_of(agent, event), event)
        assert proxy.calls["eth_getTransactionReceipt"] == 1
        await chain.call("evm_revert", snapshot)
        await chain.mine(3)
        await town.turn(limits.chain_doubts_max + 2)
        async with open_services(town.services.settings, NoBell(), name="another", clock=town.clock) as services:
            with pytest.raises(BlockGone, match="reorganisation"):
                await services.watchers.proof(agent.id, event["event_id"])


async def test_a_provider_without_receipts_of_blocks_is_asked_for_each(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, proxy: Proxy
) -> None:
    events = await told(agent, town, chain, token, 5, 6, 7)
    proxy.tamper = without("eth_getBlockReceipts")
    verified(await proof_of(agent, events[1]), events[1])
    assert proxy.calls["eth_getTransactionReceipt"] == 3


async def test_without_receipts_there_is_no_proof(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, proxy: Proxy
) -> None:
    [event] = await told(agent, town, chain, token)
    proxy.tamper = without("eth_getBlockReceipts", "eth_getTransactionReceipt")
    answer = await proof_of(agent, event)
    assert refused(answer) == (409, "not-provable")
    assert "receipts" in answer.json()["detail"]


async def test_a_block_with_too_many_receipts_is_not_asked_for_one_by_one(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "proof_receipts_max", 1)
    events = await told(agent, town, chain, token, 5, 6)
    proxy.tamper = without("eth_getBlockReceipts")
    assert refused(await proof_of(agent, events[0])) == (409, "not-provable")
    assert proxy.calls["eth_getTransactionReceipt"] == 0


async def test_while_no_provider_answers_it_is_said_when_to_ask_again(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, proxy: Proxy
) -> None:
    [event] = await told(agent, town, chain, token)
    proxy.tamper = lambda *_: Raw(502, b"<html>bad gateway</html>")
    answer = await proof_of(agent, event)
    assert refused(answer) == (503, "provider-unavailable")
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert proxy.url not in answer.text
    proxy.tamper = lambda _, given: given
    town.clock.advance(seconds=60)
    verified(await proof_of(agent, event), event)


async def test_a_provider_that_alters_something_proves_nothing(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, proxy: Proxy
) -> None:
    events = await told(agent, town, chain, token, 5, 6)
    for lie in (less_logs, another_header, another_block):
        proxy.tamper = lie
        answer = await proof_of(agent, events[0])
        assert refused(answer) == (409, "not-provable"), lie.__name__
        town.clock.advance(seconds=limits.provider_again_seconds_max)
    proxy.tamper = lambda _, given: given
    verified(await proof_of(agent, events[0]), events[0])


class TestWithTwoProviders:
    @pytest.fixture
    async def second(self, chain: DevChain) -> AsyncIterator[Proxy]:
        async with Proxy.before(chain.url) as proxy:
            yield proxy

    @pytest.fixture
    def settings(self, settings: Settings, proxy: Proxy, second: Proxy) -> Settings:
        providers = tuple(
            ProviderSettings(url=each.url, label=label) for each, label in ((proxy, "first"), (second, "second"))
        )
        chains = {NETWORK: ChainSettings(rpc_url=providers, poll_seconds=1)}
        return settings.model_copy(update={"chains": chains})

    @pytest.mark.parametrize("fault", ["away", "forgetful", "lying", "unable"])
    async def test_the_next_one_is_asked(
        self, agent: TestAgent, town: Town, chain: DevChain, token: Token, proxy: Proxy, fault: str
    ) -> None:
        [event] = await told(agent, town, chain, token)
        proxy.tamper = {
            "away": lambda *_: Raw(502),
            "forgetful": lambda _, given: given | {"result": None},
            "lying": less_logs,
            "unable": without("eth_getBlockReceipts", "eth_getTransactionReceipt"),
        }[fault]
        verified(await proof_of(agent, event), event)


async def test_an_event_that_the_block_contradicts_is_not_covered_up(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, proxy: Proxy
) -> None:
    """Told as a lying provider answered, before anything was demanded of its answers."""
    subscription = await subscribe(agent, transfers(token))
    await town.turn()
    await token.transfer(chain.accounts[0], chain.accounts[1], 5)
    await chain.mine()
    proxy.tamper = more_money
    await town.turn()
    proxy.tamper = lambda _, given: given
    [event] = [each["data"] for each in await pulled(agent, subscription["id"])]
    assert event["payload"]["verified"] == "bloom"
    answer = await proof_of(agent, event)
    assert refused(answer) == (409, "not-provable")
    assert "log.data" in answer.json()["detail"]


async def test_a_restart_does_not_lower_what_a_chain_is_held_to(
    agent: TestAgent,
    town: Town,
    chain: DevChain,
    token: Token,
    proxy: Proxy,
    settings: Settings,
    clock: OwnClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "chain_blocks_until_demanded", 3)
    subscription = await subscribe(agent, transfers(token))
    await town.turn()
    for value in (1, 2, 3):
        await token.transfer(chain.accounts[0], chain.accounts[1], value)
        await chain.mine()
        await town.turn()
    # Another process, which has seen nothing, and a node that can suddenly do less.
    proxy.tamper = without("eth_getBlockReceipts")
    async with open_services(settings, NoBell(), name="restarted", clock=clock) as services:
        restarted = Town(services, clock, town.receiver)
        await token.transfer(chain.accounts[0], chain.accounts[1], 4)
        await chain.mine()
        await restarted.turn(2)
        labels = [each["data"]["payload"]["verified"] for each in await pulled(agent, subscription["id"])]
        assert labels == ["receipts-root"] * 3
        [watcher] = (await agent.get("/v1/watchers")).json()["items"]
        assert "held to 'receipts-root'" in watcher["last_error"]
        # Neither by catching up with the past.
        begun = int((await chain.head())["number"], 16) - 1
        past = await subscribe(agent, transfers(token, from_block=begun))
        await chain.mine(final)
        await drain(services.watchers.backfill_next)
        assert await pulled(agent, past["id"]) == []
        proxy.tamper = lambda _, given: given
        clock.advance(seconds=limits.provider_again_seconds_max)
        await restarted.turn(2)
        labels = [each["data"]["payload"]["verified"] for each in await pulled(agent, subscription["id"])]
        assert labels == ["receipts-root"] * 4


async def test_half_of_what_has_to_be_shown_is_not_shown_anew_after_a_restart(
    agent: TestAgent,
    town: Town,
    chain: DevChain,
    token: Token,
    settings: Settings,
    clock: OwnClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "chain_blocks_until_demanded", 4)
    await subscribe(agent, transfers(token))
    await town.turn()
    demanded: list[str] = []
    for value in range(4):
        async with open_services(settings, NoBell(), name=f"process {value}", clock=clock) as services:
            await token.transfer(chain.accounts[0], chain.accounts[1], value)
            await chain.mine()
            await Town(services, clock, town.receiver).turn()
            async with services.database.transaction() as db:
                learned = await store.learned(db, NETWORK)
            assert learned is not None
            demanded.append(learned.demanded)
    assert demanded == ["rpc", "rpc", "rpc", "receipts-root"]


# --- what providers do


def without(*methods: str) -> Any:
    """A node that has no such methods."""

    def tamper(method: str, answer: Any) -> Any:
        missing = {"error": {"code": -32601, "message": "method not found"}}
        return {"jsonrpc": "2.0", "id": answer["id"], **missing} if method in methods else answer

    return tamper


def less_logs(method: str, answer: Any) -> Any:
    if method == "eth_getBlockReceipts":
        answer["result"][0]["logs"] = []
    return answer


def more_money(method: str, answer: Any) -> Any:
    if method == "eth_getBlockReceipts":
        answer["result"][0]["logs"][0]["data"] = "0x" + "f" * 64
    return answer


def another_header(method: str, answer: Any) -> Any:
    if method == "eth_getBlockByHash":
        answer["result"]["timestamp"] = "0x1"
    return answer


def another_block(method: str, answer: Any) -> Any:
    if method == "eth_getBlockByHash":
        answer["result"]["hash"] = "0x" + "11" * 32
    return answer
