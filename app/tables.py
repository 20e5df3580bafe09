"""Every table, imported so that the metadata is whole: for migrations and for the test that compares both."""

from sqlmodel import SQLModel

from app.events import models as _events
from app.identity import models as _identity
from app.kit import idempotency as _idempotency

__all__ = ["metadata"]

metadata = SQLModel.metadata
