"""How fast the next time of a cron text is found: ours beside cronsim and croniter, on the same texts.

Ours gives the right answer where the clock changes; the others were chosen for speed here, not for agreement. Where one
does not read a text, or gives another first answer than ours, its figure says so.
"""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo

from croniter import CroniterError, croniter
from cronsim import CronSim, CronSimError

from bench import report
from bench.stage import Stage
from tocsin.recurrence import Recurrence

zone = "Europe/Berlin"
after = datetime(2026, 11, 22, 9, 0, 0, tzinfo=UTC)
seconds_each = 0.25
texts = (
    "* * * * *",
    "*/5 * * * *",
    "0 9 * * 1-5",
    "30 2 * * *",
    "15,45 8-18 * * MON-FRI",
    "0 0 1 */3 *",
    "0 9 L * *",
    "0 9 * * 5#2",
    "0 0 29 2 *",
)

Following = Callable[[str], Iterator[datetime]]


def ours(text: str) -> Iterator[datetime]:
    """By tocsin.recurrence."""
    recurrence, at = Recurrence.parse({"cron": text, "timezone": zone}), after
    while (following := recurrence.next_after(at)) is not None:
        yield following
        at = following


def by_cronsim(text: str) -> Iterator[datetime]:
    """By cronsim."""
    return CronSim(text, after.astimezone(ZoneInfo(zone)))


def by_croniter(text: str) -> Iterator[datetime]:
    """By croniter, told to read day of month and day of week as the others do."""
    times = croniter(text, after.astimezone(ZoneInfo(zone)), ret_type=datetime)
    while True:
        yield times.get_next(datetime)


OTHERS: dict[str, Following] = {"cronsim": by_cronsim, "croniter": by_croniter}


def report_speed(on: Stage, workers: int) -> None:
    """Print next times a second: the first of a fresh object, and one after the other of the same."""
    report.line("cron, in " + zone, "fresh object: ours, cronsim, croniter | warm: ours, cronsim, croniter")
    for text in texts:
        fresh = [_said(following, text, _fresh_per_second) for following in (ours, *OTHERS.values())]
        warm = [_said(following, text, _warm_per_second) for following in (ours, *OTHERS.values())]
        report.line(text, ", ".join(fresh) + " | " + ", ".join(warm))


def _said(following: Following, text: str, per_second: Callable[[Following, str], float]) -> str:
    try:
        different = next(following(text)) != next(ours(text))
        return f"{per_second(following, text):,.0f}/s{' (another answer)' if different else ''}"
    except (CronSimError, CroniterError):
        return "not read"


def _fresh_per_second(following: Following, text: str) -> float:
    return _per_second(lambda: following(text), 1)


def _warm_per_second(following: Following, text: str) -> float:
    def warmed() -> Iterator[datetime]:
        times = following(text)
        next(times)
        return times

    return _per_second(warmed, 50)


def _per_second(prepared: Callable[[], Iterator[datetime]], each: int) -> float:
    """How many a second, asked for so many at a time. Preparation counts where one is asked for."""
    done, passed, begun = 0, 0.0, time.perf_counter()
    while time.perf_counter() - begun < seconds_each:
        started = time.perf_counter()
        times = prepared()
        started = started if each == 1 else time.perf_counter()
        done += sum(1 for _ in islice(times, each))
        passed += time.perf_counter() - started
    return done / passed
