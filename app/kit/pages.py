"""Lists are paged by an opaque cursor: the position of the last item seen, never an offset."""

import base64
from collections.abc import Callable, Sequence
from typing import TypeVar

from pydantic import BaseModel

from tocsin.problems import InvalidCursor
from tocsin.schemas.wire import Page

T = TypeVar("T", bound=BaseModel)
Row = TypeVar("Row")


def page(rows: Sequence[Row], limit: int, item: Callable[[Row], T], position: Callable[[Row], str]) -> Page[T]:
    """One page of `rows`, of which the store read one more than `limit` to learn whether there is a next page."""
    shown = rows[:limit]
    more = encode(position(shown[-1])) if len(rows) > limit else None
    return Page(items=[item(row) for row in shown], next=more)


def encode(position: str) -> str:
    """The cursor for a position."""
    return base64.urlsafe_b64encode(position.encode()).decode().rstrip("=")


def decode(cursor: str | None) -> str | None:
    """The position that a cursor names, None for the first page. Raises InvalidCursor for what we never gave out."""
    if cursor is None:
        return None
    try:
        position = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True).decode()
    except ValueError as error:  # not ASCII, not base64, or not UTF-8
        raise InvalidCursor from error
    if "\0" in position:  # which Postgres takes in no text
        raise InvalidCursor
    return position
