"""What processes cost: seconds of CPU, those of their children among them."""

from collections.abc import Iterable, Mapping
from contextlib import suppress

import psutil

__all__ = ["cpu_seconds", "spent"]


def cpu_seconds(pid: int) -> float:
    """What this process and all that it has started have used so far, the ended ones included."""
    root = psutil.Process(pid)
    ended = root.cpu_times()
    return ended.children_user + ended.children_system + sum(map(_own, [root, *root.children(recursive=True)]))


def spent(before: Mapping[str, float], now: Mapping[str, float], count: int) -> Iterable[tuple[str, float]]:
    """Milliseconds of CPU for each of `count` things, by name."""
    return [(name, (now[name] - before[name]) / count * 1000) for name in before]


def _own(process: psutil.Process) -> float:
    with suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return times.user + times.system
    return 0.0
