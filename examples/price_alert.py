"""An agent that sleeps until a price crosses a bound, and says so. It asks nobody for the price: the relay does.

    export TOCSIN_URL=http://127.0.0.1:8585 TOCSIN_KEY=agent.key
    tocsin keygen --out agent.key && tocsin register      # once
    python -m examples.price_alert https://api.example/eth.json data.price 3000 2900

It is woken once the price is greater than the first number, and then not before it is less than the second: a price
that trembles around 3000 wakes nobody. `data.price` is a JMESPath expression. With a number at the end it stops after
so many rings. On a public relay the agent needs an https URL; this one listens on this machine.
"""

from __future__ import annotations

import queue
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import timedelta
from typing import Any

from tocsin import Client
from tocsin.listen import Heard, Receiver, Trust
from tocsin.schemas.subscriptions import NewSubscription
from tocsin.schemas.web import HttpJson, Threshold
from tocsin.webhooks import new_secret


def main(url: str, price: str, above: str, below: str, rings_max: str = "0") -> None:
    heard: queue.Queue[Heard] = queue.Queue()
    secret = new_secret()
    with Client() as relay, Receiver(heard.put) as receiver, ExitStack() as made:
        endpoint = relay.endpoints.create(receiver.url, secret=secret)
        made.callback(relay.endpoints.delete, endpoint.id)
        receiver.trust(Trust(secret, relay.webhook_keys(), endpoint.id))
        rule = Threshold(kind="threshold", above=above, below=below)
        wanted = HttpJson(kind="http.json", url=url, jmespath=price, rule=rule, interval=timedelta(seconds=5))
        subscription = relay.subscriptions.create(NewSubscription(source=wanted, endpoint_id=endpoint.id))
        made.callback(relay.subscriptions.delete, subscription.id)
        # The first look tells nothing: it is what later ones are compared with.
        while (subscription := relay.subscriptions.get(subscription.id)).state == "starting":
            time.sleep(0.2)
        print(f"asleep while {price} of {url} stays where it is", flush=True)
        for number, crossing in enumerate(crossings(heard), 1):
            print(f"{crossing['number']} is {crossing['crossed']} {crossing['bound']}", flush=True)
            if number == int(rings_max):
                break


def crossings(heard: queue.Queue[Heard]) -> Iterator[dict[str, Any]]:
    """What the verified rings say, each once: a ring may be repeated, under the same id."""
    told = set[str]()
    while True:
        ring = heard.get().ring
        if ring is not None and ring.type == "event.matched" and ring.id not in told:
            told.add(ring.id)
            yield ring.data["payload"]


if __name__ == "__main__":
    if len(sys.argv) not in {5, 6}:
        sys.exit(__doc__)
    with suppress(KeyboardInterrupt):
        main(*sys.argv[1:])
