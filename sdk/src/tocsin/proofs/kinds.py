"""What the payload of each kind of event has to say, computed again from what was proven.

| kind                   | proof of    | computed again, beside chain, block, transaction and log                     |
|------------------------|-------------|------------------------------------------------------------------------------|
| `evm.block`            | block       |                                                                              |
| `evm.log`              | log         | with the event's signature: `event`, `decoded`, `undecoded`                  |
| `evm.transfer`         | log         | `transfer`; of `amount`: that it is `units` with its decimal point moved     |
| `evm.transfer`, native | transaction | `transfer`; that the transaction succeeded, and who sent it                  |
| `evm.contract_created` | transaction | `created`; that the transaction succeeded, and who sent it                   |
| `evm.nft_mint`         | log         | `mint`                                                                       |
| `evm.liquidity`        | log         | `liquidity`                                                                  |
| `evm.price`            | log         | of `price`: `pool`, `version`, and that `price` is the pool's, in some unit  |

`transaction` is compared with who sent it, to whom and how much, where the payload says so. Of a price, what it is
compared with (`previous`, `change_percent`, `since`), and that the log is the pool's last in the block, remain the
relay's word: both would take more than one proof.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal, InvalidOperation, localcontext
from types import MappingProxyType
from typing import Any, TypeAlias

from tocsin.abi import BadSignature, Malformed, read_event
from tocsin.proofs.documents import hexadecimal
from tocsin.proofs.errors import WrongEvent
from tocsin.proofs.meanings import (
    PRICED_V2,
    PRICED_V3,
    decoded,
    exact,
    liquidity_of,
    mint_of,
    read_log,
    scaled,
    topic_of,
    transfer_of,
)
from tocsin.proofs.proven import Proven
from tocsin.proofs.transactions import Transaction

__all__ = ["IN_PART", "NO_PROOF", "RULES", "Said", "sent"]

Said: TypeAlias = Mapping[str, Any]
"""What a payload says, or an object in it."""
Rule: TypeAlias = Callable[[Proven, Said, str | None], Said]
"""Members that a payload must have beside those of its place. Given what it says, and the signature of its event."""

NO_PROOF: Mapping[str, str] = MappingProxyType(
    {
        "evm.call": "a block does not commit to what contracts answer; ask a node of yours by eth_call at this block",
        "http.json": "nobody commits to a document; fetch its URL yourself, and compare body_sha256",
        "http.feed": "nobody commits to a feed; fetch its URL yourself, and compare body_sha256",
        "inbox": "nobody commits to what is posted; ask its sender, or compare body_sha256 with what it sent",
    }
)
"""Why events of these kinds cannot be proven, and what can be done instead."""

IN_PART: Mapping[str, Sequence[str]] = MappingProxyType(
    {"evm.transfer": ("payload.transfer.amount",), "evm.price": ("payload.price.price",)}
)
"""Of a log, what is the relay's word in part: its digits are computed again, and no log says where their point is."""

decimals_max = 36  # that a token of a filter may have
_PRECISE, _SHOWN = Context(prec=60), Context(prec=24)


@dataclass(frozen=True, slots=True)
class _Log:
    address: str
    topics: tuple[str, ...]
    data: str


def sent(proven: Proven) -> Said:
    """Who sent the transaction, to whom, and how much."""
    transaction = _transaction(proven)
    to = None if transaction.to is None else hexadecimal(transaction.to)
    return {"from": hexadecimal(transaction.sender), "to": to, "value": str(transaction.value)}


def _block(proven: Proven, said: Said, signature: str | None) -> Said:
    _needs(proven, place=0)
    return {}


def _log(proven: Proven, said: Said, signature: str | None) -> Said:
    log = _log_of(proven)
    if signature is None:
        return {}
    try:
        event = read_event(signature)
    except BadSignature as bad:
        raise ValueError(f"signature: {bad}") from bad
    if log.topics[:1] != (topic_of(event.canonical),):
        raise WrongEvent("event.payload.event", f"the log is not of {event.canonical}")
    if "event" not in said:
        # Who filters by addresses and topics is told of no event, and one log may be told in both ways.
        return {}
    try:
        return {"event": event.name, "decoded": exact(decoded(event, log))}
    except Malformed as malformed:
        return {"event": event.name, "decoded": None, "undecoded": str(malformed)}


def _transfer(proven: Proven, said: Said, signature: str | None) -> Said:
    if proven.log_index is None:
        return _paid(proven)
    log = _log_of(proven)
    values = _is("a transfer of an ERC-20 token", transfer_of(log))
    transfer = exact({"asset": log.address, "from": values["from"], "to": values["to"], "units": values["value"]})
    amount = _object(said.get("transfer")).get("amount")
    is_moved = any(amount == exact(scaled(values["value"], decimals)) for decimals in range(decimals_max + 1))
    return {"transfer": transfer | {"amount": amount if is_moved else exact(values["value"])}}


def _paid(proven: Proven) -> Said:
    transaction = _succeeded(proven)
    if not transaction.value:
        raise WrongEvent("event.kind", "the transaction paid nothing")
    to = transaction.to or _created_by(proven, transaction)
    transfer = {
        "asset": "native",
        "from": hexadecimal(transaction.sender),
        "to": None if to is None else hexadecimal(to),
        "amount": exact(scaled(transaction.value, 18)),
        "units": str(transaction.value),
    }
    return {"transaction": sent(proven), "transfer": transfer}


def _contract_created(proven: Proven, said: Said, signature: str | None) -> Said:
    transaction = _succeeded(proven)
    contract = _created_by(proven, transaction)
    if contract is None:
        raise WrongEvent("event.kind", "the transaction created no contract")
    created = {"contract": hexadecimal(contract), "creator": hexadecimal(transaction.sender)}
    return {"transaction": sent(proven), "created": created}


def _nft_mint(proven: Proven, said: Said, signature: str | None) -> Said:
    return {"mint": exact(_is("a mint of a token", mint_of(_log_of(proven))))}


def _liquidity(proven: Proven, said: Said, signature: str | None) -> Said:
    return {"liquidity": exact(_is("a change of liquidity", liquidity_of(_log_of(proven))))}


def _price(proven: Proven, said: Said, signature: str | None) -> Said:
    log = _log_of(proven)
    if reserves := read_log(PRICED_V2, log):
        ratio, version = (reserves["reserve1"], reserves["reserve0"]), "v2"
    else:
        swap = _is("a price of a pool", read_log(PRICED_V3, log))
        ratio, version = (swap["sqrtPriceX96"] ** 2, 2**192), "v3"
    price = _object(said.get("price")).get("price")
    if not all(ratio):
        raise WrongEvent("event.kind", "the pool has no price")
    prices = _prices(*ratio)
    true = price if _digits(price) in prices else f"{' or '.join(prices)}, with its point somewhere"
    return {"price": {"pool": log.address, "version": version, "price": true}}


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "evm.block": _block,
        "evm.log": _log,
        "evm.transfer": _transfer,
        "evm.contract_created": _contract_created,
        "evm.nft_mint": _nft_mint,
        "evm.liquidity": _liquidity,
        "evm.price": _price,
    }
)
"""By kind: all that can be proven."""


def _needs(proven: Proven, *, place: int) -> None:
    found = (proven.transaction_index is not None) + (proven.log_index is not None)
    if found != place:
        names = ("a block", "a transaction", "a log")
        raise WrongEvent("event.kind", f"such an event is of {names[place]}, and this is the proof of {names[found]}")


def _log_of(proven: Proven) -> _Log:
    _needs(proven, place=2)
    assert proven.address is not None
    assert proven.data is not None
    return _Log(proven.address, proven.topics, proven.data)


def _transaction(proven: Proven) -> Transaction:
    return Transaction.parse(proven.transaction_value, "transaction")


def _succeeded(proven: Proven) -> Transaction:
    _needs(proven, place=1)
    if not proven.succeeded:
        raise WrongEvent("event.kind", "the transaction's receipt does not say that it succeeded")
    return _transaction(proven)


def _created_by(proven: Proven, transaction: Transaction) -> bytes | None:
    return transaction.created(proven.receipt.deposit_nonce if proven.receipt is not None else None)


def _is(what: str, values: dict[str, Any] | None) -> dict[str, Any]:
    if values is None:
        raise WrongEvent("event.kind", f"the log is not that of {what}")
    return values


def _object(value: object) -> Said:
    return value if isinstance(value, Mapping) else {}  # pyright: ignore[reportUnknownVariableType]


def _prices(over: int, under: int) -> list[str]:
    """The digits of a price and of its inverse, as many as are told: the decimals of the tokens only move the point."""
    with localcontext(_PRECISE):
        price = Decimal(over) / Decimal(under)
        return [_digits(str(_SHOWN.plus(each))) for each in (price, 1 / price)]


def _digits(price: object) -> str:
    """Those of a number that is more than nothing, without zeros at either end; none of anything else."""
    try:
        number = Decimal(price) if isinstance(price, str) else Decimal(0)
    except InvalidOperation:
        return ""
    is_price = number.is_finite() and number > 0
    return "".join(map(str, number.as_tuple().digits)).strip("0") if is_price else ""
