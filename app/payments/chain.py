"""What the chain shows of a payment whose outcome is unknown. A handful of JSON-RPC calls, no keys, no sends."""

from typing import Any, cast

import httpx

from app.payments.settlements import Sighting, Tender

# authorizationState(address,bytes32) · AuthorizationUsed(address,bytes32) · Transfer(address,address,uint256)
_AUTHORIZATION_STATE = "0xe94a0102"
_AUTHORIZATION_USED = "0x98de503528ee59b575ef0c0a2576a82497bfc029a5685b209e9ec333479b10a5"
_TRANSFER = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"


class ChainSilent(Exception):
    """The node gave no usable answer, so nothing is known."""


class Chain:
    """A node's view of one chain."""

    def __init__(self, rpc_url: str, http: httpx.AsyncClient) -> None:
        self._rpc_url = rpc_url
        self._http = http

    async def height(self) -> int:
        """The number of the newest block. Raises ChainSilent."""
        return _number(await self._call("eth_blockNumber"))

    async def sight(self, tender: Tender, from_block: int) -> Sighting:
        """What became of this authorization from `from_block` on, as of the newest block. Raises ChainSilent."""
        newest = _object(await self._call("eth_getBlockByNumber", "latest", False))
        at = str(newest.get("number"))
        asked = _AUTHORIZATION_STATE + _word(tender.payer) + _word(tender.nonce)
        state = _number(await self._call("eth_call", {"to": tender.asset, "data": asked}, at))
        searchable = bool(state) and from_block <= _number(at)
        transaction = await self._transfer(tender, hex(from_block), at) if searchable else None
        return Sighting(bool(state), transaction, _number(newest.get("timestamp")))

    async def _transfer(self, tender: Tender, from_block: str, to_block: str) -> str | None:
        """The transaction in which using this authorization moved exactly its amount to whom it is made out."""
        topics = [_AUTHORIZATION_USED, "0x" + _word(tender.payer), tender.nonce]
        question = {"address": tender.asset, "topics": topics, "fromBlock": from_block, "toBlock": to_block}
        for used in _objects(await self._call("eth_getLogs", question)):
            receipt = _object(await self._call("eth_getTransactionReceipt", used.get("transactionHash")))
            if _pays(receipt, _number(used.get("logIndex")), tender):
                return str(used.get("transactionHash")).lower()
        return None

    async def _call(self, method: str, *params: Any) -> Any:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        try:
            response = await self._http.post(self._rpc_url, json=body)
            document = _object(response.json())
        except (httpx.HTTPError, ValueError) as error:
            raise ChainSilent(method) from error
        if document.get("result") is None:
            raise ChainSilent(method)
        return document["result"]


def _pays(receipt: dict[str, Any], used_index: int, tender: Tender) -> bool:
    # The token moves the money right after it marks the authorization as used. A transfer elsewhere in the same
    # transaction may be somebody's, or another payment's.
    wanted = [_TRANSFER, "0x" + _word(tender.payer), "0x" + _word(tender.pay_to)]
    return _number(receipt.get("status")) == 1 and any(
        _number(log.get("logIndex")) == used_index + 1
        and str(log.get("address")).lower() == tender.asset.lower()
        and log.get("topics") == wanted
        and _number(log.get("data")) == tender.amount
        for log in _objects(receipt.get("logs"))
    )


def _word(value: str) -> str:
    """A hexadecimal value as one 32-byte word of call data, without prefix."""
    return value.removeprefix("0x").lower().rjust(64, "0")


def _number(value: Any) -> int:
    try:
        return int(str(value), 16)
    except ValueError as error:
        raise ChainSilent("not a number") from error


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ChainSilent("not an object")
    return cast(dict[str, Any], value)


def _objects(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        raise ChainSilent("not a list")
    return [_object(item) for item in cast(list[Any], value)]
