"""When a run has ended: what its delivery came to, and what the agent answered."""

from typing import Any, Literal

import orjson

__all__ = ["Ending", "ending", "give_ups", "reports_completion"]

answer_bytes_max = 1024

Ending = Literal["ended", "reported", "awaited"]
"""Ended with its delivery; reported as done in the answer; or delivered, and a report is awaited."""


def ending(completion: str, delivery_state: str, answer: bytes) -> Ending:
    """What the conclusion of its delivery means for a run that others wait for."""
    if completion != "report" or delivery_state != "delivered":
        return "ended"
    return "reported" if reports_completion(answer) else "awaited"


def give_ups(before: int, state: str, delivery_state: str) -> int:
    """How many deliveries of a schedule in a row were given up, once this one has concluded for a fire in a state."""
    if delivery_state == "delivered":
        return 0
    # One that is sent again, in vain, was counted the first time.
    return before + 1 if delivery_state == "failed" and state == "fired" else before


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
