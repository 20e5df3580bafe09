"""Random cron jobs, and what they mean by looking at every minute of a wall clock: the slow way to be right."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import NamedTuple

from hypothesis import strategies as st

from tocsin.recurrence.zones import load_zone

MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
WINDOW = timedelta(days=4)

# Zones and moments with every kind of change: an hour, half an hour, at a quarter to, two hours, across midnight, a
# whole day, twice a year around Ramadan, and none at all.
CHANGES = [
    ("Europe/Berlin", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    ("Europe/Berlin", datetime(2026, 10, 25, 1, tzinfo=UTC)),
    ("America/New_York", datetime(2027, 3, 14, 7, tzinfo=UTC)),
    ("America/New_York", datetime(2027, 11, 7, 6, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC)),
    ("Pacific/Chatham", datetime(2026, 9, 26, 14, tzinfo=UTC)),
    ("Pacific/Chatham", datetime(2028, 4, 1, 14, tzinfo=UTC)),
    ("Antarctica/Troll", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    ("Antarctica/Troll", datetime(2026, 10, 25, 1, tzinfo=UTC)),
    ("Pacific/Apia", datetime(2011, 12, 30, 10, tzinfo=UTC)),
    ("Pacific/Kwajalein", datetime(1993, 8, 21, 12, tzinfo=UTC)),
    ("Africa/Casablanca", datetime(2026, 2, 15, 2, tzinfo=UTC)),
    ("Africa/Casablanca", datetime(2026, 3, 22, 2, tzinfo=UTC)),
    ("America/St_Johns", datetime(2010, 11, 7, 2, 31, tzinfo=UTC)),
    ("America/St_Johns", datetime(2010, 3, 14, 3, 31, tzinfo=UTC)),
    ("America/Havana", datetime(2026, 11, 1, 5, tzinfo=UTC)),
    ("Asia/Beirut", datetime(2026, 3, 28, 22, tzinfo=UTC)),
    ("Asia/Kathmandu", datetime(2026, 6, 1, tzinfo=UTC)),
]


@dataclass(frozen=True)
class Part:
    """One cron field, as text and as the set of numbers that it stands for."""

    text: str
    numbers: frozenset[int]

    @property
    def starred(self) -> bool:
        return self.text.startswith("*")


@dataclass(frozen=True)
class Job:
    minute: Part
    hour: Part
    day: Part
    weekday: Part
    dst: str = "debian"
    second: Part | None = None

    @property
    def text(self) -> str:
        five = f"{self.minute.text} {self.hour.text} {self.day.text} * {self.weekday.text}"
        return five if self.second is None else f"{self.second.text} {five}"

    @property
    def fixed_time(self) -> bool:
        return not self.minute.starred and not self.hour.starred

    @cached_property
    def seconds(self) -> list[int]:
        return [0] if self.second is None else sorted(self.second.numbers)

    def spec(self, zone: str) -> dict[str, str]:
        return {"cron": self.text, "timezone": zone, "dst": self.dst}

    def matches(self, wall: datetime) -> bool:
        """Whether a wall clock's minute is one of its own."""
        return self.matches_minute(wall) and self.matches_day(wall.date())

    def matches_minute(self, wall: datetime) -> bool:
        return wall.minute in self.minute.numbers and wall.hour in self.hour.numbers

    def matches_day(self, day: date) -> bool:
        on_day = day.day in self.day.numbers
        on_weekday = bool({day.isoweekday(), day.isoweekday() % 7} & self.weekday.numbers)
        return (on_day and on_weekday) if self.day.starred or self.weekday.starred else (on_day or on_weekday)

    def covers(self, wall: datetime) -> bool:
        """Whether a moment is taken away when this job is excluded."""
        return self.matches(wall) and (self.second is None or wall.second in self.second.numbers)


# --- random ones


@st.composite
def parts(draw: st.DrawFn, low: int, high: int) -> Part:
    span = range(low, high + 1)
    match draw(st.sampled_from(["star", "star step", "list", "range", "from step"])):
        case "star":
            return Part("*", frozenset(span))
        case "star step":
            step = draw(st.integers(1, 30))
            return Part(f"*/{step}", frozenset(span[::step]))
        case "list":
            numbers = draw(st.lists(st.integers(low, high), min_size=1, max_size=4))
            return Part(",".join(map(str, numbers)), frozenset(numbers))
        case "range":
            first, last = sorted(draw(st.tuples(st.integers(low, high), st.integers(low, high))))
            return Part(f"{first}-{last}", frozenset(range(first, last + 1)))
        case _:
            first, step = draw(st.integers(low, high)), draw(st.integers(1, 30))
            return Part(f"{first}/{step}", frozenset(range(first, high + 1, step)))


_any_day = st.just(Part("*", frozenset(range(1, 32))))
_any_weekday = st.just(Part("*", frozenset(range(8))))
_any_minute = st.just(Part("*", frozenset(range(60))))
jobs = st.builds(
    Job,
    minute=parts(0, 59),
    hour=parts(0, 23),
    day=_any_day | _any_day | parts(1, 31),
    weekday=_any_weekday | _any_weekday | parts(0, 7),
    dst=st.sampled_from(["debian", "skip_gap"]),
)
jobs_of_six_fields = st.builds(lambda job, second: replace(job, second=second), jobs, parts(0, 59))
# What is worth excluding: mostly whole hours or days.
covers = st.builds(
    lambda job, minute, second: replace(job, minute=minute, second=second),
    jobs,
    _any_minute | _any_minute | parts(0, 59),
    st.none() | st.none() | parts(0, 59),
)
changes = st.sampled_from(CHANGES)
zones = st.sampled_from(sorted({zone for zone, _ in CHANGES}))
moments = st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2090, 1, 1), timezones=st.just(UTC))
near_changes = st.builds(
    lambda change, seconds: change[1] + timedelta(seconds=seconds), changes, st.integers(-200_000, 200_000)
)
# How long before a change one begins to look: often hours, sometimes days.
ahead = st.integers(0, 3 * 3_600) | st.integers(0, 3 * 86_400)


# --- what they mean


class Shown(NamedTuple):
    """A minute in which a wall clock showed something; `again`, when it had shown the same before."""

    at: datetime
    wall: datetime
    again: bool


@dataclass(frozen=True)
class Scan:
    """What a wall clock showed in every minute of eight days, and what it never showed."""

    shown: Mapping[date, list[Shown]]
    unseen: list[tuple[datetime, list[datetime]]]
    """Where the clock jumped ahead: the first minute after it, and the wall-clock minutes that it jumped over."""


@lru_cache(maxsize=64)
def scan(zone: str, middle: datetime) -> Scan:
    clock = load_zone(zone)
    minutes = [middle - WINDOW + n * MINUTE for n in range(2 * WINDOW // MINUTE)]
    walls = [at.astimezone(clock).replace(tzinfo=None, fold=0) for at in minutes]
    seen: set[datetime] = set()
    shown: defaultdict[date, list[Shown]] = defaultdict(list)
    for at, wall in zip(minutes, walls, strict=True):
        shown[wall.date()].append(Shown(at, wall, wall in seen))
        seen.add(wall)
    unseen = [
        (at, [wall + n * MINUTE for n in range(1, (later - wall) // MINUTE)])
        for (wall, later), at in zip(pairwise(walls), minutes[1:], strict=True)
        if later - wall > MINUTE
    ]
    return Scan(shown, unseen)


def slots_by_scan(job: Job, zone: str, middle: datetime, after: datetime, end: datetime) -> Iterator[datetime]:
    """The slots between two moments, found by looking at each minute, and at each wall time that no minute showed.

    In no order, and some perhaps twice.
    """
    scanned = scan(zone, middle)
    for day, minutes in scanned.shown.items():
        if minutes[-1].at + MINUTE <= after or minutes[0].at >= end or not job.matches_day(day):
            continue
        for at, wall, again in minutes:
            if job.matches_minute(wall) and not (again and job.fixed_time):
                yield from (slot for second in job.seconds if after < (slot := at + second * SECOND) < end)
    if job.fixed_time and job.dst == "debian":
        yield from (at for at, walls in scanned.unseen if after < at < end and any(map(job.matches, walls)))
