"""Every table, imported so that the metadata is whole: for migrations and for the test that compares both."""

from sqlmodel import SQLModel

from app.deliveries import models as deliveries
from app.events import models as events
from app.identity import models as identity
from app.kit import idempotency

__all__ = ["features", "metadata"]

features = (deliveries, events, identity, idempotency)
metadata = SQLModel.metadata
