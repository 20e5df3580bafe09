"""Laws of recurrence, tried hardest where clocks change."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.cron_jobs import (
    Job,
    ahead,
    changes,
    covers,
    jobs,
    jobs_of_six_fields,
    moments,
    near_changes,
    slots_by_scan,
    zones,
)
from tocsin.recurrence import InvalidRecurrence, NeverMatches, Recurrence
from tocsin.recurrence.zones import load_zone

Change = tuple[str, datetime]
COMPARED = 150
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def first_found(recurrence: Recurrence, after: datetime, end: datetime) -> list[datetime]:
    """The first slots, as `next_after` finds them one after another."""
    found: list[datetime] = []
    while len(found) < COMPARED and (slot := recurrence.next_after(after)) is not None and slot < end:
        found.append(slot)
        after = slot
    return found


@given(job=jobs, change=changes, before=ahead)
def test_the_next_times_are_those_that_a_minute_by_minute_scan_finds(job: Job, change: Change, before: int) -> None:
    zone, middle = change
    after, end = middle - timedelta(seconds=before), middle + timedelta(days=2)
    expected = sorted(set(slots_by_scan(job, zone, middle, after, end)))
    assert first_found(Recurrence.parse(job.spec(zone)), after, end) == expected[:COMPARED]


@given(job=jobs_of_six_fields, change=changes, before=ahead, minutes=st.integers(1, 200))
def test_the_next_seconds_are_those_that_a_scan_finds(job: Job, change: Change, before: int, minutes: int) -> None:
    zone, middle = change
    after = middle - timedelta(seconds=before)
    end = after + timedelta(minutes=minutes)
    expected = sorted(set(slots_by_scan(job, zone, middle, after, end)))
    assert first_found(Recurrence.parse(job.spec(zone)), after, end) == expected[:COMPARED]


intervals = st.sampled_from([1, 7, 60, 90, 3_600, 7_001]) | st.integers(1, 200_000)


def slots_of_interval(seconds: int, after: datetime, end: datetime) -> list[datetime]:
    """The multiples of an interval since the epoch."""
    first, last = int(after.timestamp()) // seconds, int(end.timestamp()) // seconds
    slots = (datetime.fromtimestamp(n * seconds, UTC) for n in range(first, last + 1))
    return [slot for slot in slots if after < slot < end]


@given(
    united=st.lists(jobs | jobs_of_six_fields, min_size=1, max_size=3),
    interval=st.none() | intervals,
    taken=st.lists(st.tuples(covers, zones), max_size=3),
    taken_interval=st.none() | intervals,
    change=changes,
    before=ahead,
    minutes=st.integers(1, 120),
)
def test_a_union_merges_what_its_members_mean_and_an_exclude_takes_away_what_a_scan_finds_covered(
    united: list[Job],
    interval: int | None,
    taken: list[tuple[Job, str]],
    taken_interval: int | None,
    change: Change,
    before: int,
    minutes: int,
) -> None:
    zone, middle = change
    after = middle - timedelta(seconds=before)
    end = after + timedelta(minutes=minutes)
    specs = [job.spec(zone) for job in united]
    slots = {slot for job in united for slot in slots_by_scan(job, zone, middle, after, end)}
    if interval is not None:
        specs.append({"every": f"PT{interval}S"})
        slots.update(slots_of_interval(interval, after, end))
    excluded: list[dict[str, str]] = [{"cron": cover.text, "timezone": own} for cover, own in taken]
    for cover, own in taken:
        slots = {slot for slot in slots if not cover.covers(slot.astimezone(load_zone(own)))}
    if taken_interval is not None:
        excluded.append({"every": f"PT{taken_interval}S"})
        slots.difference_update(slots_of_interval(taken_interval, after, end))
    try:
        recurrence = Recurrence.parse({"union": specs} | ({"exclude": excluded} if excluded else {}))
    except NeverMatches:
        assert slots == set()
        return
    assert first_found(recurrence, after, end) == sorted(slots)[:COMPARED]


QUARTER = timedelta(milliseconds=250)
TICKS = 100
quarters = st.tuples(st.integers(1, 5), st.integers(0, 19))


@given(
    united=st.lists(quarters, min_size=1, max_size=12),
    taken=st.lists(quarters, min_size=1, max_size=12),
    after=near_changes,
    microseconds=st.integers(0, 999_999),
)
def test_intervals_between_the_seconds_unite_and_exclude_each_other_exactly(
    united: list[tuple[int, int]], taken: list[tuple[int, int]], after: datetime, microseconds: int
) -> None:
    after = after.replace(microsecond=microseconds)
    begin = (after - EPOCH) // QUARTER
    wanted, unwanted = fractions(united, begin), fractions(taken, begin)
    slots = [EPOCH + tick * QUARTER for tick in sorted(wanted - unwanted)]

    def spec(seconds: int, phase: int) -> dict[str, str]:
        return {"every": f"PT{seconds}S", "anchor": (EPOCH + phase * QUARTER).isoformat()}

    try:
        recurrence = Recurrence.parse(
            {"union": [spec(*one) for one in united], "exclude": [spec(*one) for one in taken]}
        )
    except NeverMatches:
        assert slots == []
        return
    assert first_found(recurrence, after, EPOCH + (begin + TICKS) * QUARTER) == slots


def fractions(intervals: list[tuple[int, int]], begin: int) -> set[int]:
    """The quarters of seconds that intervals mean, of those after `begin`."""
    return {
        tick
        for tick in range(begin + 1, begin + TICKS)
        if any((tick - phase) % (4 * seconds) == 0 for seconds, phase in intervals)
    }


simple_specs = st.one_of(
    st.builds(lambda job, zone: job.spec(zone), jobs | jobs_of_six_fields, zones),
    st.builds(lambda n: {"every": f"PT{n}S"}, st.integers(1, 10_000_000)),
    st.builds(lambda n, anchor: {"every": f"PT{n}M", "anchor": anchor.isoformat()}, st.integers(1, 100_000), moments),
    st.builds(lambda at: {"at": at.isoformat()}, moments | near_changes),
)
excludes = st.lists(
    st.builds(lambda job, zone: {"cron": job.text, "timezone": zone}, covers, zones)
    | simple_specs.filter(lambda spec: "cron" not in spec),
    min_size=1,
    max_size=3,
)
specs = st.one_of(
    simple_specs,
    st.lists(simple_specs, min_size=1, max_size=4),
    st.builds(lambda spec, exclude: spec | {"exclude": exclude}, simple_specs, excludes),
    st.builds(
        lambda union, exclude: {"union": union, "exclude": exclude},
        st.lists(simple_specs, min_size=1, max_size=4),
        excludes,
    ),
)


def bounded(spec: Any, starts_at: datetime | None, length: timedelta | None) -> Recurrence | None:
    """What a spec means within bounds; None when its exclude leaves nothing."""
    try:
        recurrence = Recurrence.parse(spec)
    except NeverMatches:
        return None
    ends_at = starts_at + length if starts_at is not None and length is not None else None
    return recurrence.within(starts_at, ends_at)


recurrences = st.builds(
    bounded, specs, st.none() | st.none() | near_changes, st.none() | st.timedeltas(timedelta(0), timedelta(days=400))
).filter(lambda recurrence: recurrence is not None)


@given(recurrence=recurrences, after=moments | near_changes)
def test_the_next_time_is_strictly_later_and_in_utc(recurrence: Recurrence, after: datetime) -> None:
    slot = recurrence.next_after(after)
    assert slot is None or (slot > after and slot.tzinfo is UTC)


@given(recurrence=recurrences, after=moments | near_changes, share=st.floats(0, 1, exclude_max=True))
def test_no_time_lies_between_a_moment_and_its_next_time(recurrence: Recurrence, after: datetime, share: float) -> None:
    slot = recurrence.next_after(after)
    if slot is not None:
        between = after + (slot - after) * share
        assert recurrence.next_after(min(between, slot - timedelta(microseconds=1))) == slot


@given(recurrence=recurrences, after=moments | near_changes)
def test_a_preview_is_the_next_times_one_after_another(recurrence: Recurrence, after: datetime) -> None:
    occurrences, slots = recurrence.preview(after, 5), list(islice(recurrence.slots_after(after), 5))
    begin = after if recurrence.starts_at is None else max(after, recurrence.starts_at - timedelta(microseconds=1))
    # With an `exclude` it looks for the first however far away, and for no other beyond twelve years.
    near = [slot for slot in slots if recurrence.exclusion is None or slot - begin <= 12 * timedelta(days=366)]
    assert [occurrence.at for occurrence in occurrences] == (near or slots[:1])
    assert [occurrence.local for occurrence in occurrences] == [occurrence.at for occurrence in occurrences]


@given(spec=specs, after=near_changes, starts_at=near_changes, length=st.timedeltas(timedelta(0), timedelta(days=2)))
def test_bounds_keep_the_slots_that_lie_within_them(
    spec: Any, after: datetime, starts_at: datetime, length: timedelta
) -> None:
    whole, part = bounded(spec, None, None), bounded(spec, starts_at, length)
    if whole is None or part is None:
        return
    begin = max(after, starts_at - timedelta(microseconds=1))
    expected = [slot for slot in islice(whole.slots_after(begin), 20) if slot <= starts_at + length]
    assert list(islice(part.slots_after(after), 20)) == expected


@given(recurrence=recurrences, after=moments | near_changes)
def test_everything_that_reads_explains_itself_and_is_warned_of(recurrence: Recurrence, after: datetime) -> None:
    assert recurrence.explain()
    warnings = recurrence.warnings(after)
    assert len(warnings) <= 2 + 3 * len(recurrence.rules)
    assert all(warning.sentence.endswith(".") for warning in warnings)


cron_like = st.text(alphabet="0123456789*/,-LW#? \tMONSATJANDEC@daily.", max_size=40)
texts = cron_like | st.text(max_size=300)


@given(text=texts)
def test_any_text_either_reads_or_is_refused_politely(text: str) -> None:
    check_polite(lambda: Recurrence.parse({"cron": text}))
    check_polite(lambda: Recurrence.parse({"cron": "@daily", "timezone": text}))
    check_polite(lambda: Recurrence.parse({"cron": "@daily", "exclude": [{"cron": text}]}))
    check_polite(lambda: Recurrence.parse({"every": text}))
    check_polite(lambda: Recurrence.parse([{"at": text}]))


names = st.sampled_from(["cron", "timezone", "dst", "every", "anchor", "at", "union", "exclude"]) | st.text(max_size=5)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts | simple_specs,
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(names, inner, max_size=4),
    max_leaves=40,
)


@given(value=values)
def test_any_json_either_reads_or_is_refused_politely(value: Any) -> None:
    check_polite(lambda: Recurrence.parse(value))


def check_polite(read: Callable[[], Recurrence]) -> None:
    outcome = outcome_of(read)
    if isinstance(outcome, InvalidRecurrence):
        assert outcome.hint
        assert outcome.pointer == "" or outcome.pointer.startswith("/")
        assert len(str(outcome)) < 500
    else:
        assert outcome.explain()
        outcome.next_after(datetime(2026, 1, 1, tzinfo=UTC))


def outcome_of(read: Callable[[], Recurrence]) -> Recurrence | InvalidRecurrence:
    try:
        return read()
    except InvalidRecurrence as refusal:
        return refusal
