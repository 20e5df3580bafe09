"""What became of a payment: its states, and how the answers of facilitator and chain are judged.

A payment is bound to one request before anybody is asked to settle it, and from then on it is refused, which moved no
money, or settled, or unknown. What is unknown is never sold as refused: the caller would pay twice.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any


class State(StrEnum):
    """Where a payment stands. Only `done` is final: the request that it pays for has been answered."""

    RESERVED = "reserved"  # bound to its request; no facilitator has seen it
    SETTLING = "settling"  # a facilitator is being asked
    UNKNOWN = "unknown"  # it was asked, and whether money moved is not known
    SETTLED = "settled"  # paid; the request is still to be performed
    REFUSED = "refused"  # no money moved
    DONE = "done"  # paid and performed; the answer is kept


MOVES: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        State.RESERVED: frozenset({State.SETTLING}),
        State.SETTLING: frozenset({State.SETTLED, State.REFUSED, State.UNKNOWN, State.RESERVED}),
        State.UNKNOWN: frozenset({State.SETTLING, State.SETTLED, State.REFUSED}),
        State.SETTLED: frozenset({State.DONE}),
        # A refused payment may be presented again, say after the payer's account was filled.
        State.REFUSED: frozenset({State.RESERVED}),
        State.DONE: frozenset(),
    }
)


@dataclass(frozen=True)
class Tender:
    """A payment as the caller presents it: what identifies it, and what it promises."""

    network: str
    asset: str
    payer: str
    nonce: str
    pay_to: str
    amount: int
    valid_after: int
    valid_before: int


@dataclass(frozen=True)
class Settled:
    """The money moved, in this transaction."""

    transaction: str


@dataclass(frozen=True)
class Refused:
    """No money moved, and none will by what has been sent so far."""

    code: str


@dataclass(frozen=True)
class Unsent:
    """Nobody was reached, so nothing can have happened."""


@dataclass(frozen=True)
class Unknown:
    """Money may have moved. `transaction` is what the facilitator says it has broadcast."""

    code: str
    transaction: str | None = None


Verdict = Settled | Refused | Unsent | Unknown


@dataclass(frozen=True)
class Answered:
    """What a facilitator answered: its status and, where it was a JSON object, the document."""

    status: int
    document: Mapping[str, Any] | None


@dataclass(frozen=True)
class Silent:
    """No answer: the connection broke or took too long. `sent` is false when it never came about."""

    sent: bool


@dataclass(frozen=True)
class Sighting:
    """What the chain shows of an authorization at one block: whether it is spent, and since the reservation by what."""

    spent: bool
    transaction: str | None
    block_time: int


# Reasons that a facilitator gives before it broadcasts anything. Whatever is not in this table is an unknown outcome.
REFUSALS: Mapping[str, str] = MappingProxyType(
    {
        "insufficient_funds": "the payer's balance is too small",
        "invalid_exact_evm_insufficient_balance": "the payer's balance is too small",
        "invalid_exact_evm_payload_signature": "the payment's signature does not verify",
        "invalid_exact_evm_payload_recipient_mismatch": "the payment is made out to somebody else",
        "invalid_exact_evm_payload_authorization_value": "the payment is not of the amount asked for",
        "invalid_exact_evm_payload_authorization_value_mismatch": "the payment is not of the amount asked for",
        "invalid_exact_evm_payload_authorization_valid_before": "the payment has expired, or is about to",
        "invalid_exact_evm_payload_authorization_valid_after": "the payment is not valid yet",
        "invalid_exact_evm_payload_undeployed_smart_wallet": "the payer's wallet is not deployed",
        "invalid_exact_evm_nonce_already_used": "the payment's nonce has been used",
        "invalid_exact_evm_eip3009_not_supported": "the token does not take signed transfers",
        "invalid_exact_evm_token_name_mismatch": "the token's name is not the one that was signed",
        "invalid_exact_evm_token_version_mismatch": "the token's version is not the one that was signed",
        "invalid_exact_evm_transaction_simulation_failed": "the payment would fail on the chain",
        "eip6492_factory_not_allowed": "the facilitator does not deploy this kind of wallet",
        "asset_not_deployed_contract": "there is no token at the asset's address",
        "missing_eip712_domain": "the token's signing domain is missing",
        "unsupported_scheme": "the facilitator does not settle this scheme",
        "invalid_scheme": "the facilitator does not settle this scheme",
        "invalid_network": "the facilitator does not settle on this network",
        "network_mismatch": "the payment is for another network",
        "invalid_payload": "the facilitator cannot read the payment",
        "invalid_payment_requirements": "the facilitator does not accept the terms",
        "invalid_x402_version": "the facilitator does not speak this version of x402",
    }
)
NONCE_USED = "invalid_exact_evm_nonce_already_used"

_TRANSACTION = re.compile(r"0x[0-9a-fA-F]{64}")
_CODE = re.compile(r"[a-z0-9_]{1,80}")


def judge(answer: Answered | Silent, *, network: str, first: bool) -> Verdict:
    """What a facilitator's answer to a settlement means. `first`: nobody was asked to settle this payment before.

    A payment that may be on its way already is not refused by a facilitator's word: what it broadcast then may still be
    mined, and a nonce that is used now may have been used by exactly that.
    """
    if isinstance(answer, Silent):
        return Unknown("no_answer") if answer.sent or not first else Unsent()
    if answer.document is None:
        return Unknown("no_document")
    verdict = _judge_document(answer.status, answer.document, network)
    return Unknown(verdict.code) if isinstance(verdict, Refused) and not first else verdict


def _judge_document(status: int, document: Mapping[str, Any], network: str) -> Settled | Refused | Unknown:
    named = document.get("transaction")
    transaction = named.lower() if isinstance(named, str) and _TRANSACTION.fullmatch(named) else None
    if document.get("success") is True:
        credible = status == 200 and transaction is not None and document.get("network") == network
        return Settled(transaction) if credible and transaction else Unknown("not_credible", transaction)
    reason = document.get("errorReason")
    code = reason if isinstance(reason, str) and _CODE.fullmatch(reason) else "no_reason"
    if document.get("success") is False and status < 500 and code in REFUSALS and not named:
        return Refused(code)
    return Unknown(code, transaction)


def judge_sighting(sighting: Sighting, *, valid_before: int) -> Settled | Refused | None:
    """What the chain says of a payment of unknown outcome; None while it can still go either way."""
    if sighting.transaction is not None:
        return Settled(sighting.transaction)
    if sighting.spent:
        # Spent, but not by a transfer since this payment was reserved: cancelled, or an old payment presented again.
        return Refused(NONCE_USED)
    if sighting.block_time >= valid_before:
        return Refused("invalid_exact_evm_payload_authorization_valid_before")
    return None


def fingerprint(*, method: str, path: str, query: str, body: bytes, account: str, tender: Tender) -> str:
    """What a payment is bound to: a request, of one account, for exactly this authorization. Parts are length-prefixed.

    The authorization is part of it because a payer can sign two with one nonce. The other one, to an address of his
    own, would otherwise pass for this one when its outcome is looked up.
    """
    digest = hashlib.sha256()
    request = (method, path, query, hashlib.sha256(body).hexdigest(), account)
    for part in (*request, *(str(value) for value in astuple(tender))):
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(4, "big") + encoded)
    return digest.hexdigest()
