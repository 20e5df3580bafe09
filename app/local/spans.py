"""Spans of time as operators write them: 90s, 30m, 12h, 7d."""

import re
from datetime import timedelta

from app.local.errors import LocalError

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def span(name: str, text: str) -> timedelta:
    """What an option named so says."""
    match = re.fullmatch(r"([0-9]{1,6})([smhd])", text.strip())
    if match is None:
        raise LocalError(f"{name} is a number and a unit, such as 90s, 30m, 12h or 7d; not {text!r}")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def within(name: str, given: timedelta, least: timedelta, most: timedelta) -> timedelta:
    """This span, if it is neither too short nor too long."""
    if not least <= given <= most:
        raise LocalError(f"{name} is from {_said(least)} to {_said(most)}, not {_said(given)}")
    return given


def _said(given: timedelta) -> str:
    seconds = int(given.total_seconds())
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds and seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"
