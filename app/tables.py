"""Every table, imported so that the metadata is whole: for migrations and for the test that compares both."""

from sqlmodel import SQLModel

from app.deliveries import models as deliveries
from app.events import models as events
from app.identity import models as identity
from app.kit import idempotency
from app.payments import models as payments
from app.schedules import models as schedules
from app.subscriptions import models as subscriptions
from app.watchers import models as watchers

__all__ = ["features", "metadata"]

features = (deliveries, events, idempotency, identity, payments, schedules, subscriptions, watchers)

# Importing a feature has registered its tables here.
metadata = SQLModel.metadata
