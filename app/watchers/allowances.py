"""How many calls may be made on somebody's account: so many a second, and a good deal of them at once after a pause."""

from __future__ import annotations

__all__ = ["Allowances"]


class Allowances:
    """What was spent on each account, in one process. Times are of its monotonic clock.

    What a thing costs is known once it is done, so whoever has something left may begin, and then owes the rest.
    """

    def __init__(self, *, at_once: int, per_second: float) -> None:
        self._per_second = per_second
        self._ahead_seconds = at_once / per_second
        self._spent_until: dict[str, float] = {}

    def wait_seconds(self, account: str, now: float) -> float:
        """How long until it has something left; 0.0: it has."""
        return max(0.0, self._spent_until.get(account, now) - now - self._ahead_seconds)

    def spend(self, account: str, calls: int, now: float) -> None:
        """Charge it with these calls."""
        # Accounts come and go: those that owe nothing are as if they had never been.
        self._spent_until = {each: until for each, until in self._spent_until.items() if until > now}
        self._spent_until[account] = self._spent_until.get(account, now) + calls / self._per_second
