"""Two agents: a shop that publishes what becomes of its orders, and a bookkeeper that wants to hear of the large ones.

    export TOCSIN_URL=http://127.0.0.1:8585
    python -m examples.shop

The bookkeeper's endpoint says what it takes, and from whom. The shop names the bookkeeper, not its endpoint: where that
is, and what it wants to hear, is none of the shop's concern.
"""

from queue import Queue

from tocsin import Client, PrivateKey, webhooks
from tocsin.listen import Heard, Receiver, Trust
from tocsin.schemas.messages import NewMessage

ORDERS = [
    NewMessage(type="order.paid", data={"order": "o-1", "amount": 40}, order_key="o-1"),
    NewMessage(type="order.paid", data={"order": "o-2", "amount": 250}, order_key="o-2"),
    NewMessage(type="order.shipped", data={"order": "o-2", "amount": 250}, order_key="o-2"),
    NewMessage(type="order.refunded", data={"order": "o-2", "amount": 250}, order_key="o-2"),
]


def main() -> None:
    heard: Queue[Heard] = Queue()
    with (
        Client(key=PrivateKey.generate()) as shop,
        Client(key=PrivateKey.generate()) as books,
        Receiver(heard.put) as door,
    ):
        seller = shop.agents.register(shop.key, name="shop")
        bookkeeper = books.agents.register(books.key, name="bookkeeper")
        secret = webhooks.new_secret()
        door.trust(Trust(secret=secret))
        books.endpoints.create(
            door.url,
            secret=secret,
            types=["order.paid", "order.refunded"],
            filter={"amount": {"$gte": 100}},
            senders=[seller.id],
        )
        published = shop.messages.publish_all([order.model_copy(update={"to": [bookkeeper.id]}) for order in ORDERS])
        print(*(f"{message.type} to {len(message.deliveries)}" for message in published.messages), sep=", ")
        for _ in range(sum(len(message.deliveries) for message in published.messages)):
            print(_next_booking(heard))
        books.agents.revoke("the books are closed")


def _next_booking(heard: Queue[Heard]) -> str:
    """The next ring that is one; the endpoint is also asked whether it wants to be rung, which it has answered."""
    while True:
        ring = heard.get(timeout=30).ring
        if ring is not None and ring.challenge is None:
            return f"{ring.type}: {ring.data['order']}, {ring.data['amount']}"


if __name__ == "__main__":
    main()
