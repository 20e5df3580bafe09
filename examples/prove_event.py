"""Check an event that a relay told you, with one hash from a node of your own.

    export TOCSIN_URL=http://127.0.0.1:8585 TOCSIN_KEY=agent.key
    python -m examples.prove_event evt_… https://node.example

The relay is asked what it told, and for the proof. Everything that it told is then computed again from the hash of the
block that the node has at that height: whoever made the proof, and whatever is wrong with it, nothing else is believed.
`tocsin verify event` does the same by hand. The key is that of the agent which was told. Where only the package
`tocsin` is installed it takes `tocsin[proofs]`.
"""

from __future__ import annotations

import sys
from typing import Any

import httpx

from tocsin import Client
from tocsin.proofs import ProofError, verify


def main(event_id: str, node: str) -> None:
    with Client() as relay:
        found = relay.events.proof(event_id)
    told = found.proof
    if told.event_id != event_id:
        sys.exit(f"not so: this is the proof of another event, {told.event_id}")
    try:
        proven = verify(
            told,
            trusted_chain=told.chain,
            trusted_block_hash=canonical(node, told.chain, told.block.number),
            event=found.event,
        )
    except ProofError as error:
        sys.exit(f"not so: {error}")
    print(f"{found.event.kind} in block {proven.block_number}, transaction {proven.transaction_hash}")
    print("only said:", ", ".join(proven.unchecked))


def canonical(node: str, chain: str, number: int) -> str:
    """The hash of the block that our own node, which must be one of this chain, has at this height."""
    if f"eip155:{int(ask(node, 'eth_chainId'), 16)}" != chain:
        sys.exit(f"undecided: the node is of another chain than {chain}")
    block = ask(node, "eth_getBlockByNumber", hex(number), False)
    return block["hash"] if block else sys.exit(f"undecided: the node has no block {number} yet")


def ask(node: str, method: str, *params: object) -> Any:
    """What our own node answers."""
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return httpx.post(node, json=body).raise_for_status().json()["result"]


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
