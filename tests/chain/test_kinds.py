"""Each kind of event is seen on a real chain, and taken back with its block."""

from __future__ import annotations

from typing import Any

import pytest

from app.kit import limits
from examples.devchain import DevChain, Token
from tests.chain.conftest import NETWORK, Town, pulled, subscribe
from tests.chain.parrot import COLLECTION, MEMORY, POOL, remembered, spoken, words
from tests.chain.proxy import Proxy, Silence
from tests.world import TestAgent
from tocsin import proofs
from tocsin.abi import Event
from tocsin.proofs import meanings
from tocsin.proofs.meanings import topic_of
from tocsin.schemas import watchers
from tocsin.schemas.wire import Wire

PAYLOADS: dict[str, type[Wire]] = {
    "evm.block": watchers.BlockSeen,
    "evm.log": watchers.LogSeen,
    "evm.transfer": watchers.TransferSeen,
    "evm.contract_created": watchers.ContractCreated,
    "evm.nft_mint": watchers.NftMinted,
    "evm.liquidity": watchers.LiquidityChanged,
    "evm.price": watchers.PriceChanged,
    "evm.call": watchers.CallChanged,
}


def topic(event: Event) -> str:
    return topic_of(event.canonical)


def priced(price: int) -> dict[str, Any]:
    """A pool that says it holds so many of token 1 for each of token 0."""
    return spoken(POOL, [topic(meanings.PRICED_V2)], words(10**18, price * 10**18))


async def told(agent: TestAgent, subscription: dict[str, Any]) -> list[dict[str, Any]]:
    """The payloads that a subscription was told, each of the shape of its kind."""
    events = await pulled(agent, subscription["id"])
    for event in events:
        shape = PAYLOADS[event["data"]["kind"]]
        assert shape.model_validate(event["data"]["payload"]).model_dump(mode="json", exclude_unset=True)
    return [event["data"]["payload"] | {"type": event["type"]} for event in events]


async def unproven(agent: TestAgent, subscription: dict[str, Any], signature: str | None = None) -> set[str] | None:
    """What the proofs of what was told leave open, beside the relay's own labels; None where there are none."""
    left = set[str]()
    for event in await pulled(agent, subscription["id"]):
        answer = await agent.get(f"/v1/events/{event['data']['event_id']}/proof")
        if answer.status_code != 200:
            assert (answer.status_code, answer.json()["type"]) == (409, "/problems/not-provable"), answer.text
            return None
        trusted = event["data"]["payload"]["block"]["hash"]
        proven = proofs.verify(
            answer.json()["proof"],
            trusted_chain=NETWORK,
            trusted_block_hash=trusted,
            event=event["data"],
            signature=signature,
        )
        left |= set(proven.unchecked)
    return left - {"payload.verified", "payload.replaced_by", "payload.transaction.verified"}


async def watch(agent: TestAgent, kind: str, **members: Any) -> dict[str, Any]:
    return await subscribe(agent, {"source": {"kind": kind, "chain": NETWORK, **members}})


@pytest.mark.usefixtures("contracts")
async def test_each_kind_is_told_proven_and_taken_back(
    agent: TestAgent, town: Town, chain: DevChain, token: Token
) -> None:
    alice, bob, carol = chain.accounts[:3]
    event = "Transfer(address indexed from, address indexed to, uint256 value)"
    wanted = {
        "block": await watch(agent, "evm.block", every=1),
        "log": await watch(
            agent, "evm.log", address=token.address, event=event, where="decoded.value > 5 && transaction.from != '0x'"
        ),
        "transfer": await watch(agent, "evm.transfer", asset=token.address, decimals=6, min="0.00001", either=bob),
        "native": await watch(agent, "evm.transfer", asset="native", min="1.5", to=[bob]),
        "created": await watch(agent, "evm.contract_created", creator=carol),
        "mint": await watch(agent, "evm.nft_mint", collection=COLLECTION),
        "liquidity": await watch(agent, "evm.liquidity", pool=POOL, change="added"),
        "call": await watch(agent, "evm.call", address=MEMORY, function="get() returns (uint256)"),
    }
    await town.turn()
    await token.transfer(alice, bob, 5)
    await token.transfer(alice, bob, 10)
    await chain.send({"from": alice, "to": bob, "value": hex(10**18)})
    await chain.send({"from": alice, "to": bob, "value": hex(2 * 10**18)})
    made = await chain.send({"from": carol, "data": "0x60006000f3"})
    nobody = "0x0"
    await chain.send({"from": alice} | spoken(COLLECTION, [topic(meanings.MINTED), nobody, bob, "0x7"]))
    await chain.send({"from": alice} | spoken(COLLECTION, [topic(meanings.MINTED), alice, bob, "0x7"]))
    await chain.send(
        {"from": alice} | spoken(COLLECTION, [topic(meanings.MINTED_MULTI), alice, nobody, bob], words(8, 3))
    )
    await chain.send({"from": alice} | spoken(POOL, [topic(meanings.ADDED_V2), alice], words(1, 2)))
    await chain.send({"from": alice} | spoken(POOL, [topic(meanings.REMOVED_V2), alice, bob], words(1, 2)))
    await chain.send({"from": alice} | spoken(POOL, [topic(meanings.ADDED_V3), alice, "0x1", "0x2"], words(1, 2, 3)))
    await chain.send({"from": alice} | remembered(MEMORY, 2**200))
    block = await chain.mine()
    await town.turn()

    [seen] = await told(agent, wanted["block"])
    assert seen["block"]["hash"] == block["hash"]
    [logged] = await told(agent, wanted["log"])
    assert logged["decoded"] == {"from": alice.lower(), "to": bob.lower(), "value": "10"}
    assert logged["transaction"]["from"] == alice.lower()
    [transfer] = await told(agent, wanted["transfer"])
    assert (transfer["transfer"]["amount"], transfer["transfer"]["units"]) == ("0.00001", "10")
    [native] = await told(agent, wanted["native"])
    assert (native["transfer"]["asset"], native["transfer"]["amount"]) == ("native", "2")
    assert native["transaction"]["value"] == str(2 * 10**18)
    [created] = await told(agent, wanted["created"])
    receipt = await chain.receipt(made)
    assert receipt is not None
    assert created["created"] == {"contract": receipt["contractAddress"].lower(), "creator": carol.lower()}
    mints = [each["mint"] for each in await told(agent, wanted["mint"])]
    assert [(mint["standard"], mint["ids"], mint["amounts"]) for mint in mints] == [
        ("erc721", ["7"], ["1"]),
        ("erc1155", ["8"], ["3"]),
    ]
    # The last has the first topic of an addition to a pool, and data of something else.
    [added] = await told(agent, wanted["liquidity"])
    assert (added["liquidity"]["version"], added["liquidity"]["amount1"]) == ("v2", "2")
    [answer] = await told(agent, wanted["call"])
    assert (answer["previous"]["reverted"], answer["current"]["decoded"]) == (True, {"value0": str(2**200)})

    left = {"call": None, "transfer": {"payload.transfer.amount"}}
    for name, subscription in wanted.items():
        signature = event if name == "log" else None
        assert await unproven(agent, subscription, signature) == left.get(name, set[str]()), name

    await chain.reorg(1)
    await chain.mine()
    await town.turn()
    for name, subscription in wanted.items():
        types = [each["type"] for each in await told(agent, subscription)]
        matched = 2 if name == "mint" else 1
        after = 2 if name == "block" else 0
        assert types == ["event.matched"] * matched + ["event.retracted"] * matched + ["event.matched"] * after, name


@pytest.mark.usefixtures("contracts")
async def test_a_price_is_measured_on_the_chain_that_stands(agent: TestAgent, town: Town, chain: DevChain) -> None:
    crossing = await watch(agent, "evm.price", pool=POOL, when={"rule": "crosses", "level": "150"})
    moving = await watch(agent, "evm.price", pool=POOL, when={"rule": "moves", "percent": "15", "window": "PT1H"})
    await town.turn()
    sender = {"from": chain.accounts[0]}
    for price in (100, 140, 200):
        # Within a block, only the last price counts.
        await chain.send(sender | priced(1))
        await chain.send(sender | priced(price))
        await chain.mine()
        await town.turn()
    told_only = {"payload.price.price", "payload.price.previous", "payload.price.change_percent", "payload.since"}
    assert await unproven(agent, crossing) == await unproven(agent, moving) == told_only
    await chain.reorg(1, [(sender | priced(145), 0)])
    await chain.mine()
    await town.turn()
    await chain.send(sender | priced(160))
    await chain.mine()
    await town.turn()

    def shown(payloads: list[dict[str, Any]]) -> list[tuple[str, str, str, str]]:
        said = [(each["type"], each["price"]) for each in payloads]
        return [(type[6:], price["previous"], price["price"], price["change_percent"]) for type, price in said]

    assert shown(await told(agent, crossing)) == [
        ("matched", "140", "200", "42.857143"),
        ("retracted", "140", "200", "42.857143"),
        ("matched", "145", "160", "10.344828"),
    ]
    # Told once it moved, it is measured from there: 160 is not 15 % from 140.
    assert shown(await told(agent, moving)) == [
        ("matched", "100", "140", "40"),
        ("matched", "140", "200", "42.857143"),
        ("retracted", "140", "200", "42.857143"),
    ]


@pytest.mark.usefixtures("contracts")
async def test_calls_and_transactions_are_asked_for_once_a_block_however_many_want_them(
    agent: TestAgent, town: Town, chain: DevChain, proxy: Proxy
) -> None:
    asked = {"address": MEMORY, "function": "get() returns (uint256)"}
    first = await watch(agent, "evm.call", **asked)
    second = await watch(agent, "evm.call", **asked, where="current.decoded.value0 > 1")
    third = await watch(agent, "evm.call", address=MEMORY.upper().replace("0X", "0x"), data="0x6d4ce63c")
    await watch(agent, "evm.transfer", asset="native", min="1")
    await watch(agent, "evm.transfer", asset="native", min="2")
    await town.turn()
    proxy.calls.clear()
    for number in (1, 2, 2):
        await chain.send({"from": chain.accounts[0]} | remembered(MEMORY, number))
        await chain.mine()
        await town.turn()
    # One more at the first block, to know what was answered before it.
    assert proxy.calls["eth_call"] == 4
    assert proxy.calls["eth_getBlockByHash"] == proxy.calls["eth_getBlockReceipts"] == 3
    assert len(await told(agent, first)) == 2
    [twice] = await told(agent, second)
    assert twice["current"]["decoded"] == {"value0": "2"}
    assert [each["current"]["data"] for each in await told(agent, third)] == [words(1), words(2)]


@pytest.mark.usefixtures("contracts")
async def test_who_wants_transactions_is_told_from_the_first_block_on(
    agent: TestAgent, town: Town, chain: DevChain, token: Token
) -> None:
    await watch(agent, "evm.log", address=token.address)
    await town.turn()
    block = await chain.head()
    wanted = await watch(agent, "evm.transfer", asset="native")
    assert wanted["begins_after"]["hash"] == block["hash"]
    await chain.send({"from": chain.accounts[0], "to": chain.accounts[1], "value": "0x1"})
    await chain.mine()
    await town.turn()
    [transfer] = await told(agent, wanted)
    assert transfer["transfer"]["amount"] == "0.000000000000000001"


@pytest.mark.usefixtures("contracts")
async def test_a_call_that_is_not_answered_holds_up_nothing_else(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "call_timeout_seconds", 0.2)
    monkeypatch.setattr(limits, "calls_seconds_max", 0.5)
    remembering = await watch(agent, "evm.call", address=MEMORY, function="get() returns (uint256)")
    blocks = await watch(agent, "evm.block", every=1)
    await town.turn()
    proxy.tamper = lambda method, answer: Silence() if method == "eth_call" else answer
    await chain.send({"from": chain.accounts[0]} | remembered(MEMORY, 1))
    await chain.mine(3)
    await town.turn()
    assert len(await told(agent, blocks)) == 3
    proxy.tamper = lambda _, answer: answer
    await chain.send({"from": chain.accounts[0]} | remembered(MEMORY, 2))
    await chain.mine()
    await chain.send({"from": chain.accounts[0]} | remembered(MEMORY, 3))
    await chain.mine()
    await town.turn(2)
    assert [each["current"]["decoded"]["value0"] for each in await told(agent, remembering)] == ["2", "3"]


async def test_receipts_that_are_asked_for_one_by_one_are_asked_for_together(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, proxy: Proxy
) -> None:
    refused = {"error": {"code": -32601, "message": "no such method"}}
    proxy.tamper = lambda method, answer: (
        {"id": answer["id"], **refused} if method == "eth_getBlockReceipts" else answer
    )
    paid = await watch(agent, "evm.transfer", asset="native")
    await town.turn()
    for _ in range(20):
        await chain.send({"from": chain.accounts[0], "to": chain.accounts[1], "value": "0x1"})
    await chain.mine()
    before = proxy.requests
    await town.turn()
    assert len(await told(agent, paid)) == 20
    assert proxy.requests - before < 10
