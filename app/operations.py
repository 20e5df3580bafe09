"""The whole table: every operation of the relay, by feature."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from app.deliveries.routes import OPERATIONS as DELIVERIES
from app.events.routes import OPERATIONS as EVENTS
from app.identity.routes import OPERATIONS as IDENTITY
from app.kit.operations import Operation
from app.messages.routes import OPERATIONS as MESSAGES
from app.payments.routes import OPERATIONS as PAYMENTS
from app.schedules.routes import OPERATIONS as SCHEDULES
from app.subscriptions.routes import OPERATIONS as SUBSCRIPTIONS
from app.watchers.routes import OPERATIONS as WATCHERS

# The name of a feature is the name of its service: that is how a handler gets its room, and only its room.
FEATURES: Mapping[str, Sequence[Operation]] = {
    "identity": IDENTITY,
    "events": EVENTS,
    "payments": PAYMENTS,
    "deliveries": DELIVERIES,
    "messages": MESSAGES,
    "schedules": SCHEDULES,
    "subscriptions": SUBSCRIPTIONS,
    "watchers": WATCHERS,
}


def priced(prices: Mapping[str, str]) -> Mapping[str, Sequence[Operation]]:
    """The table with these prices on it, as strangers are shown it."""
    return {feature: [replace(o, price=prices.get(o.name)) for o in table] for feature, table in FEATURES.items()}
