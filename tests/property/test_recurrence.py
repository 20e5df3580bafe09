"""Laws of recurrence, tried hardest where clocks change."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.recurrence import InvalidRecurrence, Recurrence
from tocsin.recurrence.zones import load_zone

MINUTE = timedelta(minutes=1)
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


@dataclass(frozen=True)
class Job:
    minute: Part
    hour: Part
    day: Part
    weekday: Part
    dst: str

    @property
    def text(self) -> str:
        return f"{self.minute.text} {self.hour.text} {self.day.text} * {self.weekday.text}"

    @property
    def fixed_time(self) -> bool:
        return not self.minute.starred and not self.hour.starred

    def matches(self, wall: datetime) -> bool:
        return wall.minute in self.minute.numbers and wall.hour in self.hour.numbers and self._matches_day(wall)

    def _matches_day(self, wall: datetime) -> bool:
        on_day = wall.day in self.day.numbers
        on_weekday = bool({wall.isoweekday(), wall.isoweekday() % 7} & self.weekday.numbers)
        return (on_day and on_weekday) if self.day.starred or self.weekday.starred else (on_day or on_weekday)


any_day = st.just(Part("*", frozenset(range(1, 32))))
any_weekday = st.just(Part("*", frozenset(range(8))))
jobs = st.builds(
    Job,
    minute=parts(0, 59),
    hour=parts(0, 23),
    day=any_day | any_day | parts(1, 31),
    weekday=any_weekday | any_weekday | parts(0, 7),
    dst=st.sampled_from(["debian", "skip_gap"]),
)


@lru_cache(maxsize=64)
def scan(zone: str, middle: datetime) -> tuple[tuple[datetime, datetime], ...]:
    """Every minute of eight days with the wall clock that the zone showed then."""
    clock = load_zone(zone)
    minutes = (middle - WINDOW + n * MINUTE for n in range(2 * WINDOW // MINUTE))
    return tuple((at, at.astimezone(clock).replace(tzinfo=None, fold=0)) for at in minutes)


def slots_by_scan(job: Job, zone: str, middle: datetime) -> list[datetime]:
    """The oracle: look at each minute, and at each wall time that no minute showed."""
    minutes = scan(zone, middle)
    if not job.fixed_time:
        return [at for at, wall in minutes if job.matches(wall)]
    shown: dict[datetime, datetime] = {}
    for at, wall in minutes:
        shown.setdefault(wall, at)
    slots = {at for wall, at in shown.items() if job.matches(wall)}
    if job.dst == "debian":
        for (_, wall), (at, later) in pairwise(minutes):
            skipped = (wall + n * MINUTE for n in range(1, (later - wall) // MINUTE))
            if any(job.matches(unseen) for unseen in skipped):
                slots.add(at)
    return sorted(slots)


def recurrence_of(job: Job, zone: str) -> Recurrence:
    return Recurrence.parse({"cron": job.text, "timezone": zone, "dst": job.dst})


@settings(max_examples=400, deadline=None)
@given(job=jobs, change=st.sampled_from(CHANGES), before=st.integers(0, int(timedelta(days=3).total_seconds())))
def test_the_next_times_are_those_that_a_minute_by_minute_scan_finds(
    job: Job, change: tuple[str, datetime], before: int
) -> None:
    zone, middle = change
    after, end = middle - timedelta(seconds=before), middle + timedelta(days=2)
    expected = [at for at in slots_by_scan(job, zone, middle) if after < at < end]

    found: list[datetime] = []
    recurrence, cursor = recurrence_of(job, zone), after
    # Every answer advances, so this ends; the bound is there to say so when a bug does not.
    while (slot := recurrence.next_after(cursor)) is not None and slot < end and len(found) <= len(expected):
        found.append(slot)
        cursor = slot
    assert found == expected


moments = st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2090, 1, 1), timezones=st.just(UTC))
near_changes = st.builds(
    lambda change, seconds: change[1] + timedelta(seconds=seconds),
    st.sampled_from(CHANGES),
    st.integers(-200_000, 200_000),
)
zones = st.sampled_from(sorted({zone for zone, _ in CHANGES}))
specs = st.one_of(
    st.builds(lambda job, zone: {"cron": job.text, "timezone": zone, "dst": job.dst}, jobs, zones),
    st.builds(lambda n: {"every": f"PT{n}S"}, st.integers(1, 10_000_000)),
    st.builds(lambda n, anchor: {"every": f"PT{n}M", "anchor": anchor.isoformat()}, st.integers(1, 100_000), moments),
    st.builds(lambda at: {"at": at.isoformat()}, moments),
)


@settings(max_examples=400, deadline=None)
@given(spec=specs, after=moments | near_changes)
def test_the_next_time_is_strictly_later_and_in_utc(spec: dict[str, str], after: datetime) -> None:
    slot = Recurrence.parse(spec).next_after(after)
    assert slot is None or (slot > after and slot.tzinfo is UTC)


@settings(max_examples=400, deadline=None)
@given(spec=specs, after=moments | near_changes, share=st.floats(0, 1, exclude_max=True))
def test_no_time_lies_between_a_moment_and_its_next_time(spec: dict[str, str], after: datetime, share: float) -> None:
    recurrence = Recurrence.parse(spec)
    slot = recurrence.next_after(after)
    if slot is not None:
        between = after + (slot - after) * share
        assert recurrence.next_after(min(between, slot - timedelta(microseconds=1))) == slot


@settings(max_examples=100, deadline=None)
@given(spec=specs, after=near_changes)
def test_a_preview_is_the_next_times_one_after_another(spec: dict[str, str], after: datetime) -> None:
    recurrence = Recurrence.parse(spec)
    occurrences = recurrence.preview(after, 5)
    cursor = after
    for occurrence in occurrences:
        assert occurrence.at == recurrence.next_after(cursor)
        assert occurrence.local == occurrence.at
        cursor = occurrence.at


texts = st.text(alphabet="0123456789*/,-LW#? \tMONSATJANDEC@daily.", max_size=40)


@settings(max_examples=1000, deadline=None)
@given(text=texts | st.text(max_size=300))
def test_any_text_either_reads_or_is_refused_politely(text: str) -> None:
    check_polite(lambda: Recurrence.parse({"cron": text}))
    check_polite(lambda: Recurrence.parse({"cron": "@daily", "timezone": text}))
    check_polite(lambda: Recurrence.parse({"every": text}))
    check_polite(lambda: Recurrence.parse({"at": text}))


def check_polite(read: Callable[[], Recurrence]) -> None:
    try:
        recurrence = read()
    except InvalidRecurrence:
        return
    assert recurrence.explain()
    recurrence.next_after(datetime(2026, 1, 1, tzinfo=UTC))


def test_the_scan_and_the_rule_agree_that_apia_had_no_thirtieth_of_december() -> None:
    dates = {wall.date() for _, wall in scan("Pacific/Apia", datetime(2011, 12, 30, 10, tzinfo=UTC))}
    assert date(2011, 12, 30) not in dates
