"""What happened: an append-only, ordered journal, written in the transaction of each change."""

from app.events.service import Events
from app.events.store import Happened, record

__all__ = ["Events", "Happened", "record"]
