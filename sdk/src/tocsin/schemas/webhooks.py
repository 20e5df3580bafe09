"""What a ring carries, by its type."""

from collections.abc import Mapping

from pydantic import BaseModel

__all__ = ["WEBHOOKS"]

WEBHOOKS: Mapping[str, type[BaseModel]] = {}
"""The shape of each ring's body, by its type."""
