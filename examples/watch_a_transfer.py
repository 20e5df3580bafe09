"""An agent that is rung for a token's transfers, and takes nobody's word for them.

    export TOCSIN_URL=http://127.0.0.1:8585 TOCSIN_KEY=agent.key
    tocsin keygen --out agent.key && tocsin register      # once
    python -m examples.watch_a_transfer eip155:8453 0x833589fcd6edb6e08f4c7c32d4f71b54bda02913 https://node.example

Every ring is verified by the endpoint's secret and by the relay's public key. Then the agent asks a node of its own
whether the log is where the ring says. What a reorganisation took back is taken back here, too. With a number at the
end it stops after so many rings. On a public relay the agent needs an https URL; this one listens on this machine.

`python -m examples.devchain` starts a chain to try it on, and says how a relay is told to watch it.
"""

from __future__ import annotations

import queue
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import httpx

from tocsin import Client
from tocsin.listen import Heard, Receiver, Trust
from tocsin.schemas.subscriptions import EvmLog, NewSubscription
from tocsin.webhooks import Ring, new_secret

# keccak256("Transfer(address,address,uint256)")
TRANSFER = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"


def main(chain: str, token: str, node: str, rings_max: str = "0") -> None:
    heard: queue.Queue[Heard] = queue.Queue()
    secret = new_secret()
    with Client() as relay, Receiver(heard.put) as receiver, ExitStack() as made:
        endpoint = relay.endpoints.create(receiver.url, secret=secret)
        made.callback(relay.endpoints.delete, endpoint.id)
        receiver.trust(Trust(secret, relay.webhook_keys(), endpoint.id))
        wanted = EvmLog(kind="evm.log", chain=chain, address=token, topics=[TRANSFER])
        subscription = relay.subscriptions.create(NewSubscription(source=wanted, endpoint_id=endpoint.id))
        made.callback(relay.subscriptions.delete, subscription.id)
        # Until the watcher has looked once, nobody promises that a transfer will be told.
        while (subscription := relay.subscriptions.get(subscription.id)).state == "starting":
            time.sleep(0.2)
        began = subscription.model_dump()["begins_after"]["number"]
        print(f"watching {token} on {chain} after block {began}", flush=True)
        for number, ring in enumerate(rings(heard), 1):
            print(told(ring, node), flush=True)
            if number == int(rings_max):
                break


def rings(heard: queue.Queue[Heard]) -> Iterator[Ring]:
    """The verified rings about transfers, each once. A late one does not undo what came after it."""
    latest: dict[str, int] = {}
    while True:
        ring = heard.get().ring
        if ring is None or not ring.type.startswith("event."):
            continue
        event_id, seq = ring.data["event_id"], ring.data["seq"]
        if seq > latest.get(event_id, 0):
            latest[event_id] = seq
            yield ring


def told(ring: Ring, node: str) -> str:
    """A transfer as one line, with what our own node says of it."""
    payload: dict[str, Any] = ring.data["payload"]
    log, block = payload["log"], payload["block"]
    sender, receiver = ("0x" + topic[-40:] for topic in log["topics"][1:3])
    agreed = is_there(payload, node) == (ring.type == "event.matched")
    sign = "+" if ring.type == "event.matched" else "-"
    return (
        f"{sign} {int(log['data'], 16)} from {sender} to {receiver} in block {block['number']}"
        f" [{' '.join(ring.verified)}] {'and our node agrees' if agreed else 'BUT OUR NODE DISAGREES'}"
    )


def is_there(payload: dict[str, Any], node: str) -> bool:
    """Whether our own node has this very log, in a block that is canonical to it."""
    receipt = ask(node, "eth_getTransactionReceipt", payload["transaction"]["hash"])
    if receipt is None or receipt["blockHash"] != payload["block"]["hash"]:
        return False
    log = receipt["logs"][payload["log"]["index"]]
    return all(log[name].lower() == payload["log"][name] for name in ("address", "data")) and (
        log["topics"] == payload["log"]["topics"]
    )


def ask(node: str, method: str, *params: object) -> Any:
    """One JSON-RPC call."""
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return httpx.post(node, json=body).raise_for_status().json()["result"]


if __name__ == "__main__":
    if len(sys.argv) not in {4, 5}:
        sys.exit(__doc__)
    with suppress(KeyboardInterrupt):
        main(*sys.argv[1:])
