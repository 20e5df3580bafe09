"""The relay as a seller: the one file that speaks to the x402 SDK. Imported only where something has a price.

The SDK gives the codecs, the terms and their comparison. What it does with a settlement's answer is not used: it reads
whatever is not a success as "pay again", and a caller who believes that pays twice.
"""

import asyncio
import re
from dataclasses import dataclass
from typing import Any, cast

import httpx
from x402 import x402ResourceServer
from x402.http import FacilitatorConfig, HTTPFacilitatorClient
from x402.http.utils import (
    decode_payment_signature_header,
    encode_payment_required_header,
    encode_payment_response_header,
)
from x402.mechanisms.evm.default_assets import get_default_asset  # pyright: ignore[reportMissingTypeStubs]
from x402.mechanisms.evm.exact import register_exact_evm_server  # pyright: ignore[reportMissingTypeStubs]
from x402.schemas import PaymentPayload, PaymentRequirements, ResourceConfig, ResourceInfo, SettleResponse

from app.kit import limits, telemetry
from app.kit.clock import Clock
from app.kit.operator_http import blocking_operator_client
from app.payments import prices
from app.payments.settlements import Answered, Silent, Tender
from tocsin.problems import FacilitatorUnavailable, MalformedPayment, PaymentRequired

log = telemetry.logger(__name__)

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_NONCE = re.compile(r"0x[0-9a-fA-F]{64}")
_NETWORK = re.compile(r"[-a-z0-9]{3,8}:[-_a-zA-Z0-9]{1,32}")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,77}")
_NEVER = 2**62
_SIGNATURE = re.compile(r"0x(?:[0-9a-fA-F]{2}){1,4096}")


@dataclass(frozen=True)
class Terms:
    """Who is paid, where, and who settles."""

    pay_to: str
    network: str
    facilitator: str
    settle_seconds: float = limits.settle_seconds


@dataclass(frozen=True)
class Presented:
    """A payment that came in: what identifies it, and the SDK's own form of it."""

    tender: Tender
    payload: PaymentPayload


@dataclass(frozen=True)
class Offer:
    """What one call costs, in the SDK's form, and what is being sold."""

    requirements: PaymentRequirements
    resource: ResourceInfo


class Seller:
    """Makes offers, reads payments, and has them settled by the facilitator of its terms."""

    def __init__(self, terms: Terms, clock: Clock, http: httpx.AsyncClient) -> None:
        self._terms = checked(terms)
        self._clock = clock
        self._http = http
        self._facilitator = _Facilitator(terms, http)
        self._server = x402ResourceServer(self._facilitator)
        register_exact_evm_server(self._server, terms.network)
        self._starting = asyncio.Lock()
        self._ready = False
        self._asked_at = float("-inf")

    async def offer(self, amount: int, url: str, description: str) -> Offer:
        """The terms for one call. Raises FacilitatorUnavailable until the facilitator has said what it settles."""
        await self._start()
        config = ResourceConfig(
            scheme="exact",
            pay_to=self._terms.pay_to,
            price=prices.price(amount),
            network=self._terms.network,
            max_timeout_seconds=limits.payment_validity_seconds,
            extra={"paymentFlow": "upfront"},
        )
        requirements = self._server.build_payment_requirements(config)[0]
        assert requirements.amount == str(amount), f"{requirements.amount} is not {amount}"
        return Offer(requirements, ResourceInfo(url=url, description=description, mime_type="application/json"))

    async def challenge(self, offer: Offer, error: str, detail: str) -> PaymentRequired:
        """The refusal that says how to pay: in its header for x402 clients, and in its document for everybody."""
        required = await self._server.create_payment_required_response([offer.requirements], offer.resource, error)
        members = required.model_dump(by_alias=True, exclude_none=True)
        headers = {"PAYMENT-REQUIRED": encode_payment_required_header(required)}
        return PaymentRequired(detail, headers=headers, **members)

    def matches(self, offer: Offer, presented: Presented) -> bool:
        """Whether the payment is one that was asked for: its terms as offered, and its authorization to those terms."""
        wanted, tender = offer.requirements, presented.tender
        return (
            self._server.find_matching_requirements([wanted], presented.payload) is not None
            and tender.pay_to == wanted.pay_to.lower()
            and tender.amount == int(wanted.amount)
        )

    async def settle(self, presented: Presented, requirements: dict[str, Any]) -> Answered | Silent:
        """Ask the facilitator to move the money. Never raises: what came back is for the rules to judge."""
        body = self._facilitator.settlement(presented.payload, requirements)
        url, headers = f"{self._facilitator.url}/settle", self._facilitator.settle_headers()
        try:
            async with asyncio.timeout(self._terms.settle_seconds):
                response = await self._http.post(url, json=body, headers=headers)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
            return Silent(sent=False)
        except (httpx.HTTPError, TimeoutError):
            return Silent(sent=True)
        return Answered(response.status_code, _document(response))

    async def _start(self) -> None:
        # Asking takes the facilitator's time, so one caller asks, at most once a second, and the rest are told to wait.
        if self._ready:
            return
        async with self._starting:
            if not self._ready and self._clock.monotonic() - self._asked_at >= limits.facilitator_retry_seconds:
                self._asked_at = self._clock.monotonic()
                self._ready = await asyncio.to_thread(self._ask_what_is_supported)
        if not self._ready:
            raise FacilitatorUnavailable("The facilitator of this relay does not answer yet.")

    def _ask_what_is_supported(self) -> bool:
        try:
            self._server.initialize()
        except Exception as error:
            # The SDK raises whatever its HTTP client, JSON and schemas raise; all of it means "not yet".
            log.warning("the facilitator does not say what it settles", error=f"{type(error).__name__}: {error}"[:200])
            return False
        if self._server.get_supported_kind(2, self._terms.network, "exact") is None:
            log.warning("the facilitator does not settle here", network=self._terms.network, scheme="exact")
            return False
        return True


class _Facilitator(HTTPFacilitatorClient):
    """The SDK's client, held to one address: no redirects, no proxies, our own bounds."""

    def __init__(self, terms: Terms, http: httpx.AsyncClient) -> None:
        super().__init__(FacilitatorConfig(url=terms.facilitator, timeout=terms.settle_seconds, http_client=http))

    def _get_sync_client(self) -> httpx.Client:
        return blocking_operator_client(timeout_seconds=limits.facilitator_supported_seconds)

    def settlement(self, payload: PaymentPayload, requirements: dict[str, Any]) -> dict[str, Any]:
        """The body of a settlement request."""
        return self._build_request_body(2, payload.model_dump(by_alias=True, exclude_none=True), requirements)

    def settle_headers(self) -> dict[str, str]:
        return self._get_settle_headers()


def checked(terms: Terms) -> Terms:
    """The terms unchanged, if payments can be taken on them. Raises `BadTerms`."""
    if not _ADDRESS.fullmatch(terms.pay_to):
        raise prices.BadTerms("TOCSIN_PAYMENTS_PAY_TO must be an address: 0x and 40 hexadecimal digits")
    try:
        asset = get_default_asset(terms.network)
    except ValueError as error:
        raise prices.BadTerms(f"TOCSIN_PAYMENTS_NETWORK: no dollar token is known on {terms.network!r}") from error
    if asset["decimals"] != 6 or asset.get("asset_transfer_method"):
        raise prices.BadTerms(
            f"TOCSIN_PAYMENTS_NETWORK: the dollar token on {terms.network} cannot be paid by this relay"
        )
    if not terms.facilitator.startswith(("http://", "https://")):
        raise prices.BadTerms("TOCSIN_PAYMENTS_FACILITATOR must be an http or https URL")
    return terms


def read(header: str) -> Presented:
    """The payment in a `PAYMENT-SIGNATURE` header. Raises MalformedPayment."""
    try:
        payload = decode_payment_signature_header(header)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise MalformedPayment("PAYMENT-SIGNATURE is not the base64 of an x402 payment") from error
    if not isinstance(payload, PaymentPayload) or payload.x402_version != 2:
        raise MalformedPayment("this relay takes x402 version 2")
    return Presented(_tender(payload), payload)


def receipt(tender: Tender, transaction: str) -> str:
    """The `PAYMENT-RESPONSE` header of a payment that settled."""
    settled = SettleResponse(
        success=True,
        transaction=transaction,
        network=tender.network,
        payer=tender.payer,
        amount=str(tender.amount),
    )
    return encode_payment_response_header(settled)


def requirements_of(offer: Offer) -> dict[str, Any]:
    """The offered terms as JSON, to be kept with the payment."""
    return offer.requirements.model_dump(by_alias=True, exclude_none=True)


def _tender(payload: PaymentPayload) -> Tender:
    authorization = payload.payload.get("authorization")
    if not isinstance(authorization, dict):
        raise MalformedPayment("the payment carries no EIP-3009 authorization, the only kind taken here")
    members = cast(dict[str, Any], authorization)

    def member(name: str, shape: re.Pattern[str], of: dict[str, Any] = members) -> str:
        value = of.get(name)
        if not isinstance(value, str) or not shape.fullmatch(value):
            raise MalformedPayment(f"the payment's {name!r} is missing or malformed")
        return value

    member("signature", _SIGNATURE, payload.payload)
    if not _ADDRESS.fullmatch(payload.accepted.asset) or not _NETWORK.fullmatch(payload.accepted.network):
        raise MalformedPayment("the payment's 'accepted' names no EVM asset and network")
    return Tender(
        network=payload.accepted.network,
        asset=payload.accepted.asset.lower(),
        payer=member("from", _ADDRESS).lower(),
        nonce=member("nonce", _NONCE).lower(),
        pay_to=member("to", _ADDRESS).lower(),
        amount=int(member("value", _NUMBER)),
        valid_after=int(member("validAfter", _NUMBER)),
        # Some wallets sign the largest number there is for "never".
        valid_before=min(int(member("validBefore", _NUMBER)), _NEVER),
    )


def _document(response: httpx.Response) -> dict[str, Any] | None:
    try:
        document = response.json()
    except (ValueError, RecursionError):
        return None
    return cast(dict[str, Any], document) if isinstance(document, dict) else None
