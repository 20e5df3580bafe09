"""The operations of subscriptions."""

from app.kit import limits
from app.kit.operations import Call, Operation, Stream
from app.subscriptions.service import Subscriptions
from tocsin.problems import (
    EndpointNotActive,
    ForbiddenAddress,
    InvalidCursor,
    NotFound,
    TooManyCalls,
    TooManyRequests,
    TooManySubscriptions,
    UnsupportedMediaType,
    UnverifiedWebhook,
)
from tocsin.schemas.subscriptions import (
    EventPage,
    EventsQuery,
    InboxTaken,
    NewSubscription,
    Subscription,
    SubscriptionQuery,
)
from tocsin.schemas.wire import Page


async def vet(service: Subscriptions, body: NewSubscription) -> None:
    """Look up where the relay is asked to look, before there is a transaction to hold open meanwhile."""
    await service.vet(body.source)


async def create_subscription(call: Call[Subscriptions], body: NewSubscription) -> Subscription:
    """Subscribe to a source.

    It begins where the source stands: nothing that was seen before is told.
    """
    call.ring("watchers")
    return await call.service.create(call.db, call.agent.id, body, call.now)


async def list_subscriptions(call: Call[Subscriptions], query: SubscriptionQuery) -> Page[Subscription]:
    """List your subscriptions, oldest first."""
    return await call.service.list(call.db, call.agent.id, query)


async def get_subscription(call: Call[Subscriptions], id: str) -> Subscription:
    """Show a subscription."""
    return await call.service.get(call.db, call.agent.id, id)


async def delete_subscription(call: Call[Subscriptions], id: str) -> None:
    """End a subscription.

    What is on its way already is still delivered.
    """
    await call.service.delete(call.db, call.agent.id, id, call.now)


async def list_subscription_events(call: Call[Subscriptions], id: str, query: EventsQuery) -> EventPage:
    """Read what a subscription was told, in order, and wait for more."""
    return await call.service.events(call.transaction, call.agent.id, id, query)


async def stream_subscription(call: Call[Subscriptions], id: str) -> Stream:
    """Hear a subscription as server-sent events, without asking again.

    Each event has the entry's `seq` as its `id`, its type as its `event`, and as its `data` the very text that is rung.
    `Last-Event-ID` goes on after that number. A comment comes while there is nothing else. The relay ends a stream
    after an hour at most: connect again.
    """
    last = call.incoming.headers.get("last-event-id")
    return Stream(await call.service.stream(call.transaction, call.agent.id, id, last))


async def post_to_inbox(call: Call[Subscriptions], token: str) -> InboxTaken:
    """Post a webhook to an inbox.

    For the services that its owner gave the URL to. The body may be of any type; what has to be signed, and how, is for
    its owner to say. The answer is a success only once the webhook is kept. A repetition is a success, too.
    """
    call.ring("subscriptions")
    return await call.service.receive(call.db, token, call.incoming, call.now)


OPERATIONS = (
    Operation(
        "POST",
        "/v1/subscriptions",
        create_subscription,
        status=201,
        price="$0.001",
        problems=(NotFound, EndpointNotActive, ForbiddenAddress, TooManySubscriptions, TooManyCalls),
        ask=vet,
    ),
    Operation("GET", "/v1/subscriptions", list_subscriptions),
    Operation("GET", "/v1/subscriptions/{id}", get_subscription, problems=(NotFound,)),
    Operation("DELETE", "/v1/subscriptions/{id}", delete_subscription, status=204, problems=(NotFound,)),
    Operation(
        "GET",
        "/v1/subscriptions/{id}/events",
        list_subscription_events,
        problems=(NotFound, InvalidCursor, TooManyRequests),
        waits=True,
    ),
    Operation(
        "GET",
        "/v1/subscriptions/{id}/stream",
        stream_subscription,
        problems=(NotFound, InvalidCursor, TooManyRequests),
        waits=True,
    ),
    Operation(
        "POST",
        "/v1/inbox/{token}",
        post_to_inbox,
        signed=False,
        takes="The webhook, of any type.",
        body_bytes_max=limits.inbox_body_bytes_max,
        problems=(NotFound, UnverifiedWebhook, UnsupportedMediaType, TooManyRequests),
    ),
)
