"""The development facilitator settles, repeats itself, and is not held up by what went wrong before."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from eth_account import Account
from x402 import PaymentRequired, PaymentRequirements, x402Client
from x402.mechanisms.evm import EthAccountSigner
from x402.mechanisms.evm.exact import register_exact_evm_client

from app.payments.facilitator import TEST_KEY
from examples.devchain import DevChain, dollar, payments_chain_id, payments_network
from tests.paying import PAY_TO, PAYER_KEY, Till, facilitator_process, fill

TERMS = PaymentRequirements(
    scheme="exact",
    network=payments_network,
    asset=dollar,
    amount="1000",
    pay_to=PAY_TO,
    max_timeout_seconds=300,
    extra={"name": "USDC", "version": "2", "paymentFlow": "upfront"},
)


@pytest.fixture
async def till() -> AsyncIterator[Till]:
    async with DevChain.start(chain_id=payments_chain_id) as chain:
        yield await fill(chain)


@pytest.fixture
async def facilitator(till: Till) -> AsyncIterator[httpx.AsyncClient]:
    with facilitator_process(till.chain.url) as url:
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as http:
            yield http


async def a_payment() -> dict[str, Any]:
    client = x402Client()
    register_exact_evm_client(client, EthAccountSigner(Account.from_key(PAYER_KEY)))
    payload = await client.create_payment_payload(PaymentRequired(accepts=[TERMS]))
    return {
        "x402Version": 2,
        "paymentPayload": payload.model_dump(by_alias=True, exclude_none=True),
        "paymentRequirements": TERMS.model_dump(by_alias=True),
    }


async def settle(facilitator: httpx.AsyncClient, payment: dict[str, Any]) -> dict[str, Any]:
    return (await facilitator.post("/settle", json=payment)).json()


async def test_it_says_what_it_settles(facilitator: httpx.AsyncClient) -> None:
    [kind] = (await facilitator.get("/supported")).json()["kinds"]
    assert (kind["x402Version"], kind["scheme"], kind["network"]) == (2, "exact", payments_network)


async def test_it_verifies_and_settles_and_repeats_itself(till: Till, facilitator: httpx.AsyncClient) -> None:
    before, payment = await till.balances(), await a_payment()
    assert (await facilitator.post("/verify", json=payment)).json()["isValid"] is True
    first = await settle(facilitator, payment)
    assert first["success"] is True
    assert await settle(facilitator, payment) == first
    assert (await till.balances())[1] - before[1] == 1_000


async def test_a_send_that_the_node_refused_holds_up_nothing(till: Till, facilitator: httpx.AsyncClient) -> None:
    purse = Account.from_key(TEST_KEY).address
    await till.chain.call("anvil_setBalance", purse, "0x0")
    assert (await settle(facilitator, await a_payment()))["success"] is False
    await till.chain.call("anvil_setBalance", purse, hex(10**18))
    assert (await settle(facilitator, await a_payment()))["success"] is True


async def test_it_goes_on_after_the_chain_went_back(till: Till, facilitator: httpx.AsyncClient) -> None:
    snapshot = await till.chain.call("evm_snapshot")
    assert (await settle(facilitator, await a_payment()))["success"] is True
    await till.chain.call("evm_revert", snapshot)
    assert (await settle(facilitator, await a_payment()))["success"] is True


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"x402Version": 1}', b'{"paymentPayload": {}}'])
async def test_what_is_no_payment_is_a_bad_request(facilitator: httpx.AsyncClient, body: bytes) -> None:
    assert (await facilitator.post("/settle", content=body)).status_code == 400
