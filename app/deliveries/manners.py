"""How often a stranger is asked whether it wants to be rung: the rule.

Nobody at that host has said yes to anything yet, and any number of agents may have named it.
"""

from collections import deque

__all__ = ["Manners"]


class Manners:
    """At most so many questions begin at one host within so many seconds."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._asked = dict[str, deque[float]]()

    def may_ask(self, host: str, now: float) -> bool:
        """Whether this host may be asked now, which counts if so. Time never goes back."""
        self._forget(now)
        asked = self._asked.setdefault(host, deque())
        if len(asked) >= self._most:
            return False
        asked.append(now)
        return True

    def __len__(self) -> int:
        """How many hosts are remembered: those that were asked a moment ago."""
        return len(self._asked)

    def _forget(self, now: float) -> None:
        for host, asked in list(self._asked.items()):
            while asked and asked[0] <= now - self._seconds:
                asked.popleft()
            if not asked:
                del self._asked[host]
