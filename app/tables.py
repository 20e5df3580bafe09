"""Every table, imported so that the metadata is whole: for migrations, for the test that compares both,
and for commands that write rows."""

import re
from collections.abc import MutableMapping
from typing import Any

from sqlmodel import SQLModel

from app.deliveries import models as deliveries
from app.events import models as events
from app.identity import models as identity
from app.kit import idempotency
from app.payments import models as payments
from app.schedules import models as schedules
from app.subscriptions import models as subscriptions
from app.watchers import models as watchers

__all__ = ["features", "is_described", "metadata"]

features = (deliveries, events, idempotency, identity, payments, schedules, subscriptions, watchers)

# Importing a feature has registered its tables here.
metadata = SQLModel.metadata

_PART = re.compile(r"(messages|deliveries|attempts)_([0-9]{8}|other)")


def is_described(name: str | None, kind: str, parents: MutableMapping[Any, str | None]) -> bool:
    """Whether something in the database is the models' to describe. The weeks of a table come and go with time."""
    return not (kind == "table" and name is not None and _PART.fullmatch(name))
