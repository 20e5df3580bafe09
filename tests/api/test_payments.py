"""An operation with a price is paid for once, performed once, and answered the same however often it is asked."""

import asyncio
from collections.abc import AsyncGenerator

import httpx
import pytest
from aiohttp import web
from x402.http.clients import x402_httpx_transport

from app.kit.database import Database
from app.payments import facilitator as development
from app.settings import Settings
from examples.devchain import dollar, payments_network
from tests.api.shop import DAY, PRICE, Shop, die, open_shop
from tests.paying import (
    PAY_TO,
    PAYER,
    Misbehaving,
    Till,
    decoded,
    encoded,
    payer,
    sign_payment,
)
from tests.world import ORIGIN, TestAgent
from tocsin.auth import RequestSigner


@pytest.fixture
async def shop(settings: Settings, database: Database, till: Till, facilitator: Misbehaving) -> AsyncGenerator[Shop]:
    """A shop that can look at the chain."""
    async with open_shop(settings, facilitator.url, till.chain.url) as opened:
        yield opened


@pytest.fixture
async def blind_shop(
    settings: Settings, database: Database, till: Till, facilitator: Misbehaving
) -> AsyncGenerator[Shop]:
    """A shop that has only its facilitator's word."""
    async with open_shop(settings, facilitator.url) as opened:
        yield opened


async def test_a_call_without_payment_is_told_the_terms(shop: Shop) -> None:
    answer = await shop.ask()
    assert answer.status_code == 402
    document = answer.json()
    assert document["type"] == "/problems/payment-required"
    terms = decoded(answer.headers["payment-required"])
    assert terms == {name: document[name] for name in terms}
    [accepted] = terms["accepts"]
    assert accepted["scheme"] == "exact"
    assert accepted["network"] == payments_network
    assert accepted["asset"] == dollar
    assert accepted["amount"] == str(PRICE)
    assert accepted["payTo"] == PAY_TO
    assert accepted["extra"]["paymentFlow"] == "upfront"
    assert terms["resource"]["url"] == "http://relay.test/v1/things"


async def test_a_payment_buys_an_answer_with_a_receipt(shop: Shop, till: Till) -> None:
    before = await till.balances()
    answer = await shop.ask(**await shop.pay())
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "private"
    receipt = decoded(answer.headers["payment-response"])
    assert receipt["success"] is True
    assert receipt["payer"] == PAYER.lower()
    mined = await till.chain.receipt(receipt["transaction"])
    assert mined is not None
    assert mined["status"] == "0x1"
    after = await till.balances()
    assert (after[0] - before[0], after[1] - before[1]) == (-PRICE, PRICE)


async def test_the_official_transport_pays(shop: Shop) -> None:
    class Signed(httpx.AsyncBaseTransport):
        """Signs what is sent through it: the payment transport above repeats the headers of its first try."""

        signer = RequestSigner(shop.agent.key, clock=shop.clock.wall)

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            return await shop.transport.handle_async_request(next(self.signer.auth_flow(request)))

    paying = x402_httpx_transport(payer(), Signed())
    async with httpx.AsyncClient(transport=paying, base_url=ORIGIN) as http:
        answer = await http.post("/v1/things", json={"name": "bought"})
    assert answer.status_code == 201
    assert decoded(answer.headers["payment-response"])["success"] is True


async def test_what_is_paid_for_and_the_payment_are_on_record(shop: Shop) -> None:
    answer = await shop.ask(**await shop.pay())
    [payment] = await shop.payments()
    assert payment["state"] == "done"
    assert payment["amount"] == "0.001000"
    assert payment["transaction"] == decoded(answer.headers["payment-response"])["transaction"]
    assert (await shop.agent.get(f"/v1/payments/{payment['id']}")).json() == payment
    assert await shop.kinds() == ["agent.registered", "payment.settled", "thing.made"]


async def test_payments_of_others_are_not_found(shop: Shop) -> None:
    await shop.ask(**await shop.pay())
    [payment] = await shop.payments()
    other = TestAgent(shop.http, shop.clock)
    await other.register()
    assert (await other.get("/v1/payments")).json()["items"] == []
    assert (await other.get(f"/v1/payments/{payment['id']}")).status_code == 404


async def test_the_price_list_is_public(shop: Shop) -> None:
    prices = (await shop.http.get("/v1/prices")).json()
    assert prices == {
        "items": [{"operation": "POST /v1/things", "price": "$0.001"}],
        "network": payments_network,
        "pay_to": PAY_TO,
    }


async def test_ten_times_at_once_is_once(shop: Shop, till: Till, facilitator: Misbehaving) -> None:
    before = await till.balances()
    payment = await shop.pay()
    answers = await asyncio.gather(*(shop.ask(**payment) for _ in range(10)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert len({answer.headers["payment-response"] for answer in answers}) == 1
    assert await shop.made() == 1
    assert facilitator.asked == 1
    assert (await till.balances())[1] - before[1] == PRICE


async def test_ten_times_at_once_with_one_idempotency_key_is_once(shop: Shop, facilitator: Misbehaving) -> None:
    payment = await shop.pay()
    answers = await asyncio.gather(*(shop.ask(**payment, idempotency_key='"k"') for _ in range(10)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert await shop.made() == 1
    assert facilitator.asked == 1


async def test_asking_again_returns_the_same_answer_and_receipt(shop: Shop, facilitator: Misbehaving) -> None:
    payment = await shop.pay()
    first = await shop.ask(**payment)
    again = await shop.ask(**payment)
    assert again.content == first.content
    assert again.headers["payment-response"] == first.headers["payment-response"]
    assert facilitator.asked == 1


async def test_the_idempotency_key_alone_returns_the_answer_and_its_receipt(shop: Shop) -> None:
    first = await shop.ask(**await shop.pay(), idempotency_key='"k"')
    again = await shop.ask(idempotency_key='"k"')
    assert again.status_code == 201
    assert again.content == first.content
    assert again.headers["payment-response"] == first.headers["payment-response"]


@pytest.mark.parametrize("spelling", ['"k"', "k"])
async def test_a_second_payment_for_a_key_that_is_being_paid_is_refused(
    shop: Shop, till: Till, facilitator: Misbehaving, spelling: str
) -> None:
    async def slow(body: object) -> web.StreamResponse:
        second = await shop.ask(**await sign_payment(challenge), idempotency_key=spelling)
        assert second.status_code == 409
        assert second.json()["type"] == "/problems/idempotency-conflict"
        return web.json_response(await facilitator.forward(body))

    before = await till.balances()
    challenge = await shop.ask()
    facilitator.settle = slow
    assert (await shop.ask(**await sign_payment(challenge), idempotency_key='"k"')).status_code == 201
    assert (await till.balances())[1] - before[1] == PRICE


async def test_a_payment_is_bound_to_its_request(shop: Shop, facilitator: Misbehaving) -> None:
    payment = await shop.pay("one")
    assert (await shop.ask("one", **payment)).status_code == 201
    answer = await shop.ask("another", **payment)
    assert answer.status_code == 409
    assert answer.json()["type"] == "/problems/payment-reused"
    assert await shop.made() == 1
    assert facilitator.asked == 1


async def test_a_payment_is_bound_to_its_account(shop: Shop) -> None:
    payment = await shop.pay()
    assert (await shop.ask(**payment)).status_code == 201
    thief = TestAgent(shop.http, shop.clock)
    await thief.register()
    assert (await thief.post("/v1/things", {"name": "thing"}, **payment)).status_code == 409


@pytest.mark.parametrize(("member", "value"), [("to", PAYER), ("validBefore", "9999999999"), ("value", "1")])
async def test_another_authorization_with_the_same_nonce_is_another_payment(
    shop: Shop, facilitator: Misbehaving, member: str, value: str
) -> None:
    async def lost(_: object) -> web.StreamResponse:
        return web.json_response({}, status=500)

    facilitator.settle = lost
    payment = await shop.pay()
    assert (await shop.ask(**payment)).status_code == 503
    forged = decoded(payment["PAYMENT-SIGNATURE"])
    forged["payload"]["authorization"][member] = value
    assert (await shop.ask(payment_signature=encoded(forged))).json()["type"] == "/problems/payment-reused"


async def test_what_would_be_refused_costs_nothing(shop: Shop, till: Till, facilitator: Misbehaving) -> None:
    before = await till.balances()
    payment = await shop.pay()
    answer = await shop.ask("impossible", **payment)
    assert answer.status_code == 409
    assert answer.json()["detail"] == "this thing cannot be made"
    assert facilitator.asked == 0
    assert await till.balances() == before
    # Nothing is left of it: the same payment buys something that can be made.
    assert (await shop.ask(**payment)).status_code == 201


async def test_a_body_that_is_wrong_is_not_asked_to_be_paid_for(shop: Shop) -> None:
    answer = await shop.agent.post("/v1/things", {"nme": "thing"})
    assert answer.status_code == 422


@pytest.mark.parametrize(
    "header",
    [
        "",
        "!",
        "bm90IGpzb24=",
        encoded([]),
        encoded("text"),
        encoded({"x402Version": 2}),
        encoded({"x402Version": 1, "scheme": "exact", "network": "base-sepolia", "payload": {}}),
        encoded({"x402Version": 2, "payload": {}, "accepted": {}}),
    ],
)
async def test_a_malformed_payment_is_a_bad_request(shop: Shop, header: str) -> None:
    answer = await shop.ask(payment_signature=header)
    assert answer.status_code == 400
    assert answer.json()["type"] == "/problems/malformed-payment"


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("from", "0x00"),
        ("nonce", "0x12"),
        ("nonce", None),
        ("value", "-1"),
        ("value", 1000),
        ("validBefore", "soon"),
        ("to", "\0"),
    ],
)
async def test_a_malformed_authorization_is_a_bad_request(shop: Shop, member: str, value: object) -> None:
    payment = decoded((await shop.pay())["PAYMENT-SIGNATURE"])
    payment["payload"]["authorization"][member] = value
    assert (await shop.ask(payment_signature=encoded(payment))).status_code == 400


async def test_a_payment_to_other_terms_is_asked_again(shop: Shop, facilitator: Misbehaving) -> None:
    payment = decoded((await shop.pay())["PAYMENT-SIGNATURE"])
    payment["accepted"]["amount"] = payment["payload"]["authorization"]["value"] = "1"
    answer = await shop.ask(payment_signature=encoded(payment))
    assert answer.status_code == 402
    assert answer.json()["error"] == "terms_mismatch"
    assert facilitator.asked == 0


async def test_a_forged_payment_is_refused(shop: Shop, till: Till) -> None:
    before = await till.balances()
    payment = decoded((await shop.pay())["PAYMENT-SIGNATURE"])
    payment["payload"]["authorization"]["from"] = PAY_TO
    answer = await shop.ask(payment_signature=encoded(payment))
    assert answer.status_code == 402
    assert answer.json()["error"] == "invalid_exact_evm_payload_signature"
    assert await shop.made() == 0
    assert await till.balances() == before


async def test_a_payer_without_money_is_refused_and_may_fill_up(shop: Shop, till: Till) -> None:
    poor = payer("0x" + "7" * 64)
    payment = await sign_payment(await shop.ask(), poor)
    answer = await shop.ask(**payment)
    assert answer.status_code == 402
    assert answer.json()["error"] == "invalid_exact_evm_insufficient_balance"
    assert (await shop.payments())[0]["state"] == "refused"
    address = decoded(payment["PAYMENT-SIGNATURE"])["payload"]["authorization"]["from"]
    await till.token.mint(address, PRICE)
    assert (await shop.ask(**payment)).status_code == 201


async def test_a_payment_made_elsewhere_buys_nothing(shop: Shop, till: Till, facilitator: Misbehaving) -> None:
    payment = await shop.pay()
    offered = decoded(payment["PAYMENT-SIGNATURE"])
    settlement = {"x402Version": 2, "paymentPayload": offered, "paymentRequirements": offered["accepted"]}
    assert (await facilitator.forward(settlement))["success"] is True

    # A facilitator that does not repeat itself, and one that is not heard: neither makes an old payment new.
    async def used(_: object) -> web.StreamResponse:
        return web.json_response(
            {"success": False, "errorReason": "invalid_exact_evm_nonce_already_used", "transaction": "", "network": ""}
        )

    async def lost(_: object) -> web.StreamResponse:
        return web.json_response({}, status=502)

    facilitator.settle = used
    assert (await shop.ask(**payment)).json()["error"] == "invalid_exact_evm_nonce_already_used"
    facilitator.settle = lost
    assert (await shop.ask(**payment)).status_code == 503
    assert (await shop.ask(**payment)).json()["error"] == "invalid_exact_evm_nonce_already_used"
    assert await shop.made() == 0


async def test_a_facilitator_that_is_down_is_not_the_callers_fault(
    settings: Settings, database: Database, till: Till
) -> None:
    async with open_shop(settings, "http://127.0.0.1:9", till.chain.url) as shop:
        answer = await shop.ask()
        assert answer.status_code == 503
        assert answer.json()["type"] == "/problems/facilitator-unavailable"
        assert "retry-after" in answer.headers


async def test_a_facilitator_that_comes_up_late_is_found(
    settings: Settings, database: Database, till: Till, facilitator: Misbehaving
) -> None:
    await facilitator.stop()
    async with open_shop(settings, facilitator.url, till.chain.url) as shop:
        assert (await shop.ask()).status_code == 503
        await facilitator.start()
        shop.clock.advance(seconds=1)
        assert (await shop.ask()).status_code == 402


async def test_a_facilitator_that_goes_down_leaves_the_payment_good(
    shop: Shop, till: Till, facilitator: Misbehaving
) -> None:
    payment = await shop.pay()
    await facilitator.stop()
    answer = await shop.ask(**payment)
    assert answer.status_code == 503
    assert answer.json()["type"] == "/problems/facilitator-unavailable"
    assert (await shop.payments())[0]["state"] == "reserved"
    await facilitator.start()
    assert (await shop.ask(**payment)).status_code == 201


async def test_a_payment_that_nobody_has_seen_makes_room_for_another(
    shop: Shop, till: Till, facilitator: Misbehaving
) -> None:
    before = await till.balances()
    challenge = await shop.ask()
    await facilitator.stop()
    assert (await shop.ask(**await sign_payment(challenge), idempotency_key='"k"')).status_code == 503
    await facilitator.start()
    assert (await shop.ask(**await sign_payment(challenge), idempotency_key='"k"')).status_code == 201
    assert (await till.balances())[1] - before[1] == PRICE


async def test_a_settlement_whose_answer_was_lost_is_found_on_the_chain(
    shop: Shop, till: Till, facilitator: Misbehaving
) -> None:
    async def settles_and_fails(body: object) -> web.StreamResponse:
        await facilitator.forward(body)
        return web.json_response({"secret": "internal trace"}, status=502)

    before = await till.balances()
    payment = await shop.pay()
    facilitator.settle = settles_and_fails
    answer = await shop.ask(**payment)
    assert answer.status_code == 503
    assert answer.json()["type"] == "/problems/payment-pending"
    assert int(answer.headers["retry-after"]) > 0
    assert "secret" not in answer.text
    assert await shop.made() == 0
    found = await shop.ask(**payment)
    assert found.status_code == 201
    assert decoded(found.headers["payment-response"])["success"] is True
    assert facilitator.asked == 1
    assert (await till.balances())[1] - before[1] == PRICE
    assert (await shop.kinds()).count("payment.settled") == 1


async def test_a_refusal_of_what_has_just_settled_is_not_believed(
    shop: Shop, till: Till, facilitator: Misbehaving
) -> None:
    async def settles_and_tries_again(body: object) -> web.StreamResponse:
        await facilitator.forward(body)
        return web.json_response({"success": False, "errorReason": "invalid_exact_evm_nonce_already_used"})

    before = await till.balances()
    facilitator.settle = settles_and_tries_again
    assert (await shop.ask(**await shop.pay())).status_code == 201
    assert (await till.balances())[1] - before[1] == PRICE


async def test_without_a_chain_to_look_at_a_facilitator_that_repeats_itself_is_believed(
    blind_shop: Shop, till: Till, facilitator: Misbehaving
) -> None:
    async def settles_and_hangs_up(body: object) -> web.StreamResponse:
        await facilitator.forward(body)
        raise ConnectionResetError

    before = await till.balances()
    payment = await blind_shop.pay()
    facilitator.settle = settles_and_hangs_up
    assert (await blind_shop.ask(**payment)).status_code == 503
    facilitator.settle = None
    assert (await blind_shop.ask(**payment)).status_code == 201
    assert (await till.balances())[1] - before[1] == PRICE


async def test_without_a_chain_to_look_at_a_used_nonce_stays_unknown(
    blind_shop: Shop, facilitator: Misbehaving
) -> None:
    async def lost(_: object) -> web.StreamResponse:
        return web.Response(text="<html>", status=200)

    async def used(_: object) -> web.StreamResponse:
        return web.json_response({"success": False, "errorReason": "invalid_exact_evm_nonce_already_used"})

    payment = await blind_shop.pay()
    facilitator.settle = lost
    assert (await blind_shop.ask(**payment)).status_code == 503
    facilitator.settle = used
    answer = await blind_shop.ask(**payment)
    assert answer.status_code == 503
    assert answer.json()["type"] == "/problems/payment-pending"


async def test_a_payment_that_can_no_longer_settle_is_refused_at_last(
    shop: Shop, till: Till, facilitator: Misbehaving
) -> None:
    async def lost(_: object) -> web.StreamResponse:
        return web.json_response({}, status=500)

    payment = await shop.pay()
    facilitator.settle = lost
    assert (await shop.ask(**payment)).status_code == 503
    snapshot = await till.chain.call("evm_snapshot")
    await till.chain.call("evm_increaseTime", 3600)
    await till.chain.mine()
    answer = await shop.ask(**payment)
    await till.chain.call("evm_revert", snapshot)
    assert answer.status_code == 402
    assert answer.json()["error"] == "invalid_exact_evm_payload_authorization_valid_before"


async def test_dying_while_the_facilitator_settles_loses_nothing(
    shop: Shop, till: Till, facilitator: Misbehaving
) -> None:
    settled = asyncio.Event()

    async def settles_and_says_nothing(body: object) -> web.StreamResponse:
        await facilitator.forward(body)
        settled.set()
        await asyncio.Event().wait()
        raise AssertionError

    before = await till.balances()
    payment = await shop.pay()
    facilitator.settle = settles_and_says_nothing
    asking = asyncio.create_task(shop.ask(**payment))
    await settled.wait()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert (await shop.payments())[0]["state"] == "settling"
    shop.clock.advance(**DAY)
    assert (await shop.ask(**payment)).status_code == 201
    assert await shop.made() == 1
    assert (await till.balances())[1] - before[1] == PRICE


async def test_dying_between_settling_and_performing_loses_nothing(shop: Shop, till: Till) -> None:
    async def die_when_performed() -> None:
        if shop.workshop.calls == 2:  # the first was the rehearsal
            await die()

    before = await till.balances()
    payment = await shop.pay()
    shop.workshop.before = die_when_performed
    with pytest.raises(asyncio.CancelledError):
        await shop.ask(**payment)
    assert await shop.made() == 0
    shop.clock.advance(**DAY)
    assert (await shop.ask(**payment)).status_code == 201
    assert await shop.made() == 1
    assert (await till.balances())[1] - before[1] == PRICE
    assert (await shop.kinds()).count("payment.settled") == 1


async def test_work_that_fails_after_payment_can_be_asked_for_again(
    shop: Shop, till: Till, facilitator: Misbehaving
) -> None:
    async def fail_when_performed() -> None:
        if shop.workshop.calls == 2:
            raise RuntimeError("a defect")

    before = await till.balances()
    payment = await shop.pay()
    shop.workshop.before = fail_when_performed
    answer = await shop.ask(**payment)
    assert answer.status_code == 500
    assert "defect" not in answer.text
    assert (await shop.payments())[0]["state"] == "settled"
    assert await shop.kinds() == ["agent.registered", "payment.settled"]
    again = await shop.ask(**payment)
    assert again.status_code == 201
    assert facilitator.asked == 1
    assert (await till.balances())[1] - before[1] == PRICE
    assert (await shop.kinds()).count("payment.settled") == 1


def test_the_development_facilitator_stays_on_this_machine() -> None:
    with pytest.raises(SystemExit, match="local development only"):
        development.require_loopback("https://mainnet.example/rpc")
