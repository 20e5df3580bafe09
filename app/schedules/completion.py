"""When a run has ended: what its delivery came to, and what the agent answered."""

from typing import Any, Literal

import orjson

__all__ = ["Ending", "ending", "reports_completion"]

answer_bytes_max = 1024

Ending = Literal["ended", "reported", "awaited"]
"""Ended with its delivery; reported as done in the answer; or delivered, and a report is awaited."""


def ending(completion: str, delivery_state: str, answer: bytes) -> Ending:
    """What the conclusion of its delivery means for a run that others wait for."""
    if completion != "report" or delivery_state != "delivered":
        return "ended"
    return "reported" if reports_completion(answer) else "awaited"


def reports_completion(answer: bytes) -> bool:
    """Whether the answer to a ring, a JSON object within its first KiB, says `"completed": true`.

    The bytes are a stranger's: orjson reads them without recursion to speak of, and a KiB has an end.
    """
    if len(answer) > answer_bytes_max:
        return False
    try:
        told: Any = orjson.loads(answer)
    except orjson.JSONDecodeError:
        return False
    return isinstance(told, dict) and told.get("completed") is True  # pyright: ignore[reportUnknownMemberType]
