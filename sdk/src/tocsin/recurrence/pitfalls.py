"""What is probably not meant by a spec, said before anyone waits for it in vain."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final

from tocsin.recurrence.civil import DAY, local_date, passes, to_datetime, to_instant
from tocsin.recurrence.cron import Cron
from tocsin.recurrence.intervals import EPOCH, Every
from tocsin.recurrence.rules import Rule

_HOUR: Final = timedelta(hours=1)
_ahead_days: Final = 366
_LACKED_BY: Final = {29: ("February",), 30: ("February",), 31: ("February", "April", "June", "September", "November")}
_NUMBERS: Final = {"February": 2, "April": 4, "June": 6, "September": 9, "November": 11}

Counts = Callable[[datetime], bool]
"""Whether a slot at a moment would count: within the bounds, and not excluded."""


class WarningCode(StrEnum):
    """What a warning is about. Codes are stable; sentences are for people."""

    CLOCK_CHANGE = "clock_change"
    """A change of the clock within a year moves a slot, drops it, or makes it fire twice."""
    EVERY_SECOND = "every_second"
    """It fires every second."""
    LEAP_DAY_ONLY = "leap_day_only"
    """It fires on 29 February only."""
    SHORT_MONTHS = "short_months"
    """It names a day that some of its months lack."""
    TOP_OF_THE_HOUR = "top_of_the_hour"
    """All its slots lie at the top of an hour, like everybody's."""


@dataclass(frozen=True)
class SpecWarning:
    """Something that the author of a spec should know."""

    code: WarningCode
    sentence: str


def pitfalls(rules: Sequence[Rule], after: datetime, counts: Counts) -> Iterator[SpecWarning]:
    """What to say about rules, in the year after a moment."""
    crons = [rule for rule in rules if isinstance(rule, Cron)]
    if any(map(_every_second, rules)):
        yield SpecWarning(WarningCode.EVERY_SECOND, "It fires every second.")
    if all(map(_top_of_the_hour, rules)):
        yield SpecWarning(
            WarningCode.TOP_OF_THE_HOUR,
            "All its slots lie at the top of an hour, where most schedules crowd: add jitter, or take another minute.",
        )
    for cron in crons:
        yield from _about_days(cron)
    for cron in crons:
        yield from _about_clock_changes(cron, after, counts)


def _every_second(rule: Rule) -> bool:
    match rule:
        case Cron():
            return rule.fields.dates.all() and rule.fields.times.all()
        case Every():
            return rule.interval == timedelta(seconds=1)
        case _:
            return False


def _top_of_the_hour(rule: Rule) -> bool:
    match rule:
        case Cron():
            return rule.fields.times.minutes == (0,) and rule.fields.times.seconds == (0,)
        case Every():
            return not rule.interval % _HOUR and not (rule.anchor - EPOCH) % _HOUR
        case _:
            # One instant is no crowd.
            return False


def _about_days(cron: Cron) -> Iterator[SpecWarning]:
    dates = cron.fields.dates
    if dates.leap_day_only():
        yield SpecWarning(WarningCode.LEAP_DAY_ONLY, f'"{cron.text}" fires on 29 February only.')
        return
    named = cron.fields.parts[-3].split(",")
    for day, without in reversed(_LACKED_BY.items()):
        lacking = [month for month in without if _NUMBERS[month] in dates.months]
        if lacking and str(day) in named:
            yield SpecWarning(
                WarningCode.SHORT_MONTHS,
                f'"{cron.text}" names day {day}, which {_listed(lacking)} may not have: then it does not fire. '
                '"L" is the last day of each month.',
            )
            return


def _about_clock_changes(cron: Cron, after: datetime, counts: Counts) -> Iterator[SpecWarning]:
    """The first slot that a gap takes, and the first that comes twice."""
    first = local_date(cron.zone, to_instant(after))
    days = [day for n in range(_ahead_days) if (day := first + n * DAY) in cron.fields.dates and not cron.is_even(day)]
    for about in (_about_gap, _about_repeat):
        found = (warning for day in days if (warning := about(cron, day, after, counts)) is not None)
        yield from [warning for warning in [next(found, None)] if warning is not None]


def _about_gap(cron: Cron, day: date, after: datetime, counts: Counts) -> SpecWarning | None:
    for stretch, shown in cron.walk(day):
        lost, end = cron.fields.times.first_from(shown), to_datetime(stretch.start)
        if lost is None or lost >= stretch.first or end <= after or not counts(end):
            continue
        if cron.fields.fixed_time and cron.dst == "debian":
            wall = end.astimezone(cron.zone)
            return _changed(cron, day, f"jumps over {_clock(lost)}", f"fires at {wall:%H:%M} instead")
        if cron.fields.fixed_time or _is_uneven_by(cron, stretch.first - shown):
            return _changed(cron, day, f"jumps over {_clock(lost)}", "does not fire then")
    return None


def _about_repeat(cron: Cron, day: date, after: datetime, counts: Counts) -> SpecWarning | None:
    for stretch, shown in cron.walk(day):
        tod = cron.fields.times.first_from(stretch.first)
        if tod is None or tod >= min(shown, stretch.last) or cron.fields.fixed_time:
            continue
        both = [to_datetime(instant) for instant in passes(cron.zone, day, tod)]
        if _is_uneven_by(cron, shown - stretch.first) and all(pas > after and counts(pas) for pas in both):
            return _changed(cron, day, f"shows {_clock(tod)} twice", "fires both times")
    return None


def _is_uneven_by(cron: Cron, shift: int) -> bool:
    """Whether a job that follows real time still notices: not one of every hour, when whole hours come or go."""
    return len(cron.fields.times.hours) < 24 or shift % 3_600 != 0


def _changed(cron: Cron, day: date, event: str, effect: str) -> SpecWarning:
    sentence = f'On {day} the clock in {cron.zone.key} {event}: "{cron.text}" {effect}.'
    return SpecWarning(WarningCode.CLOCK_CHANGE, sentence)


def _clock(tod: int) -> str:
    hours, minutes, seconds = tod // 3600, tod // 60 % 60, tod % 60
    return f"{hours:02}:{minutes:02}" + (f":{seconds:02}" if seconds else "")


def _listed(words: list[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last
