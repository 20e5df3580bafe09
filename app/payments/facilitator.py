"""A facilitator for local development: verifies and settles x402 payments on a chain of this machine.

    python -m app.payments.facilitator --rpc http://127.0.0.1:8545 --port 8402

It signs with a published test key unless told otherwise, and refuses a node that is not on this machine.
"""

import argparse
import ipaddress
import socket
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import uvicorn
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from x402 import x402FacilitatorSync
from x402.mechanisms.evm import FacilitatorWeb3Signer  # pyright: ignore[reportMissingTypeStubs]
from x402.mechanisms.evm.exact import ExactEvmFacilitatorScheme, ExactEvmSchemeConfig  # pyright: ignore[reportMissingTypeStubs]
from x402.schemas import PaymentPayload, PaymentRequirements, SettleResponse, VerifyRequest, VerifyResponse

# The last of the ten accounts that anvil and hardhat fund; everybody knows it.
TEST_KEY = "0x2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6"
confirmation_timeout_seconds = 15.0
settled_remembered_max = 10_000

Answer = TypeVar("Answer", SettleResponse, VerifyResponse)


class Signer(FacilitatorWeb3Signer):
    """Sends one transaction at a time, numbered by the node.

    The SDK's signer counts by itself: a send that the node refuses leaves a gap that holds up every later settlement,
    and a chain that was started afresh leaves it counting from the wrong number.
    """

    def __init__(self, key: str, rpc: str) -> None:
        super().__init__(key, rpc, confirmation_timeout_seconds=confirmation_timeout_seconds)
        self._sending = threading.Lock()

    def _reserve_nonce(self) -> int:
        return self._w3.eth.get_transaction_count(self._account.address, "pending")

    def write_contract(self, *args: Any, **kwargs: Any) -> str:
        with self._sending:
            return super().write_contract(*args, **kwargs)

    def send_transaction(self, to: str, data: bytes) -> str:
        with self._sending:
            return super().send_transaction(to, data)


class Facilitator:
    """Verifies and settles, and repeats the answer of a payment that it settled before.

    Repeating lets a seller that lost the first answer learn the outcome by asking again.
    """

    def __init__(self, signer: Signer, network: str) -> None:
        self._settled: OrderedDict[str, SettleResponse] = OrderedDict()
        self._sdk = x402FacilitatorSync()
        # Simulating first keeps a payment that cannot succeed from costing a reverted transaction.
        self._sdk.register([network], ExactEvmFacilitatorScheme(signer, ExactEvmSchemeConfig(simulate_in_settle=True)))

    def supported(self) -> dict[str, Any]:
        return self._sdk.get_supported().model_dump(by_alias=True, exclude_none=True)

    def verify(self, payload: PaymentPayload, wanted: PaymentRequirements) -> VerifyResponse:
        return self._sdk.verify(payload, wanted)

    def settle(self, payload: PaymentPayload, wanted: PaymentRequirements) -> SettleResponse:
        payment = payload.model_dump_json() + wanted.model_dump_json()
        if (before := self._settled.get(payment)) is not None:
            return before
        answer = self._sdk.settle(payload, wanted)
        if answer.success:
            self._remember(payment, answer)
        return answer

    def _remember(self, payment: str, answer: SettleResponse) -> None:
        self._settled[payment] = answer
        if len(self._settled) > settled_remembered_max:
            self._settled.popitem(last=False)


def build(facilitator: Facilitator) -> Starlette:
    """The facilitator as a web application."""

    def supported(_: Request) -> Response:
        return JSONResponse(facilitator.supported())

    return Starlette(
        routes=[
            Route("/verify", _endpoint(facilitator.verify), methods=["POST"]),
            Route("/settle", _endpoint(facilitator.settle), methods=["POST"]),
            Route("/supported", supported, methods=["GET"]),
        ]
    )


def _endpoint(judge: Callable[[PaymentPayload, PaymentRequirements], Answer]) -> Callable[[Request], Any]:
    async def handle(request: Request) -> Response:
        try:
            asked = VerifyRequest.model_validate_json(await request.body())
        except ValidationError:
            return JSONResponse({"error": "not an x402 version 2 payment with its requirements"}, status_code=400)
        # Waits for the chain, so never on the event loop.
        answer = await run_in_threadpool(judge, asked.payment_payload, asked.payment_requirements)
        return JSONResponse(answer.model_dump(by_alias=True, exclude_none=True))

    return handle


def require_loopback(rpc: str) -> str:
    """The address unchanged, when it names this machine by number or as localhost."""
    host = urlsplit(rpc).hostname or ""
    if host != "localhost" and not _is_loopback(host):
        raise SystemExit(f"facilitator: {rpc} is not on this machine; this program is for local development only")
    return rpc


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m app.payments.facilitator", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--rpc", required=True, help="JSON-RPC address of the local chain")
    parser.add_argument("--port", type=int, default=8402, help="0: any that is free; it is printed")
    parser.add_argument("--key", default=TEST_KEY, help="private key that pays for gas (default: a published test key)")
    options = parser.parse_args()
    signer = Signer(options.key, require_loopback(options.rpc))
    network = f"eip155:{signer.get_chain_id()}"
    facilitator = Facilitator(signer, network)
    with socket.create_server(("127.0.0.1", options.port)) as listening:
        print(f"facilitator of {network} listening on http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
        uvicorn.Server(uvicorn.Config(build(facilitator), log_level="warning")).run(sockets=[listening])


if __name__ == "__main__":
    main()
