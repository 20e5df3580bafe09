"""An agent that pays for a schedule, with the official x402 client.

    export TOCSIN_URL=https://relay.example TOCSIN_KEY=agent.key WALLET_KEY=0x...
    python -m examples.paid_schedule https://agent.example/rings "0 9 * * *"

The relay asks for a payment, the wallet signs one (it sends nothing to any chain), and the relay answers with the
schedule and a receipt. Asked again, whether because the answer was lost or because the relay was not sure yet, the
client sends the same payment: it is taken once. `WALLET_KEY` belongs into a secret store.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping

import httpx
from eth_account import Account
from x402 import x402Client
from x402.http import x402HTTPClient
from x402.mechanisms.evm import EthAccountSigner
from x402.mechanisms.evm.exact import register_exact_evm_client

from tocsin import AsyncClient
from tocsin.problems import PaymentRequired
from tocsin.schemas.schedules import NewSchedule

Pay = Callable[[PaymentRequired], Awaitable[Mapping[str, str]]]


def wallet(private_key: str) -> Pay:
    """What a client calls when something costs money: signs a payment to the terms that it is shown.

    The x402 client pays at most a dollar at a time, and only in dollar tokens that it knows, unless it is told more.
    """
    x402 = x402Client()
    register_exact_evm_client(x402, EthAccountSigner(Account.from_key(private_key)))
    http = x402HTTPClient(x402)

    async def pay(problem: PaymentRequired) -> Mapping[str, str]:
        terms = http.get_payment_required_response(httpx.Headers(problem.headers).get, None)
        return http.encode_payment_signature_header(await http.create_payment_payload(terms))

    return pay


async def main(url: str, cron: str) -> None:
    async with AsyncClient(pay=wallet(os.environ["WALLET_KEY"])) as relay:
        endpoint = await relay.endpoints.create(url)
        schedule = await relay.schedules.create(
            NewSchedule(spec={"cron": cron}, endpoint_id=endpoint.id, payload=None, name="paid")
        )
        print(f"{schedule.id} rings {url} next at {schedule.next_fire}")
        async for payment in relay.payments.list():
            print(f"{payment.id} {payment.state}: {payment.amount} USD in {payment.transaction}")
            break


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    asyncio.run(main(*sys.argv[1:3]))
