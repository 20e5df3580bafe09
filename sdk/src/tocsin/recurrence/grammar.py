"""Reading cron text. What is accepted here is what `docs/protocol/schedules.md` promises.

cronsim turns the fields into sets. Everything it would read in a surprising way is refused before it sees the text, so
that each refusal can say where it is and what to write instead.
"""

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, cast

from cronsim.cronsim import CronSim, CronSimError
from cronsim.explain import explain

from tocsin.recurrence.dates import Dates
from tocsin.recurrence.errors import BadCron, NeverMatches
from tocsin.recurrence.times import TimesOfDay, times_of_day

cron_chars_max: Final = 256

MACROS: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS: Final = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_CLOCK_TIME: Final = re.compile(r"At [0-9]{2}:[0-9]{2}")
_WORD: Final = re.compile(r"[^ \t]+")
_RANGE: Final = re.compile(r"([0-9A-Z]+)(?:-([0-9A-Z]+))?")


@dataclass(frozen=True)
class _Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    names_from: int = 0

    @property
    def accepts(self) -> str:
        text = f"{self.name} takes {self.low}-{self.high}"
        return f"{text} or {self.names[0]}-{self.names[-1]}" if self.names else text


_DAY: Final = _Field("day of month", 1, 31)
_WEEKDAY: Final = _Field("day of week", 0, 7, _WEEKDAYS)
_SECOND: Final = _Field("second", 0, 59)
_FIELDS: Final = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _DAY,
    _Field("month", 1, 12, _MONTHS, names_from=1),
    _WEEKDAY,
)


@dataclass(frozen=True)
class Fields:
    """Cron text that has been read: its times of day, and which dates it matches."""

    parts: tuple[str, ...]
    times: TimesOfDay
    dates: Dates
    fixed_time: bool
    """Bound to wall-clock times, as Debian's cron sees it: neither the minute nor the hour begins with a star."""

    def as_cover(self) -> "Fields":
        """What it covers when it is excluded: all of each minute, unless it counts seconds, by the wall clock alone."""
        times = self.times if len(self.parts) == 6 else self.times.in_whole_minutes()
        return replace(self, times=times, fixed_time=False)

    def explain(self) -> str:
        return re.sub(r"\b([0-9]*?([0-9]))th\b", _ordinal, _in_english(self.parts))


def read_cron(text: str, *, pointer: str = "/cron") -> Fields:
    """Read cron text. Raises BadCron or NeverMatches."""
    words = _split(text, pointer)
    parts = tuple(part for _, part in words)
    try:
        cron = CronSim(" ".join(parts), datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise _unreadable(str(error), words, pointer) from error
    minute, hour, days, _, weekdays = parts[-5:]
    # Only what we evaluate is kept: the parser's own sets would be most of what a schedule weighs.
    dates = Dates(frozenset(cron.months), days, weekdays)
    if not dates.any():
        raise _impossible(words, pointer)
    times = times_of_day(tuple(sorted(cron.hours)), tuple(sorted(cron.minutes)), tuple(sorted(cron.seconds)))
    return Fields(parts, times, dates, fixed_time=not minute.startswith("*") and not hour.startswith("*"))


def _split(text: str, pointer: str) -> list[tuple[int, str]]:
    if len(text) > cron_chars_max:
        raise BadCron(
            f"cron text has at most {cron_chars_max} characters, this one has {len(text)}",
            pointer=pointer,
            hint="split it into several schedules",
        )
    if not text.isascii():
        odd = next(index for index, char in enumerate(text) if not char.isascii())
        raise BadCron("cron text is plain ASCII", pointer=pointer, position=odd, hint='write it like "0 9 * * 1-5"')
    expanded = _expand(text, pointer)
    parts = [(match.start(), match.group().upper()) for match in _WORD.finditer(expanded)]
    if len(parts) not in (5, 6):
        raise BadCron(
            f"expected 5 or 6 fields, found {len(parts)}",
            pointer=pointer,
            hint="write minute, hour, day of month, month, day of week, separated by spaces; seconds go before them",
        )
    for field, (start, part) in zip((_SECOND, *_FIELDS)[-len(parts) :], parts, strict=True):
        _Checker(field, pointer).check(part, start)
    return parts


def _expand(text: str, pointer: str) -> str:
    word = text.strip(" \t")
    if not word.startswith("@"):
        return text
    if word.lower() not in MACROS:
        raise BadCron(
            f"{word[:32]!r} is not a macro",
            pointer=pointer,
            position=text.index("@"),
            hint=f"one of {', '.join(MACROS)}",
        )
    return MACROS[word.lower()]


class _Checker:
    """Refuses, term by term, what one field does not accept."""

    def __init__(self, field: _Field, pointer: str) -> None:
        self.field = field
        self.pointer = pointer

    def check(self, part: str, start: int) -> None:
        terms = part.split(",")
        for term in terms:
            self._check_term(term, start)
            start += len(term) + 1
        if self.field is _WEEKDAY and "#" in part and any(term.isdigit() for term in terms):
            # SUN#1,2 reads as "the first Sunday, and every Tuesday", which nobody who writes it means.
            raise self._refuse(
                "a bare number beside # is easily misread",
                start - len(part) - 1,
                "write SUN#1,SUN#2 for the first and second Sunday, or TUE for every Tuesday",
            )

    def _check_term(self, term: str, at: int) -> None:
        if term == "":
            raise self._refuse("an empty term", at, f"{self.field.accepts}, and commas stand between terms")
        if "?" in term:
            raise self._refuse('"?" is not accepted', at, 'write "*"')
        if self.field is _DAY and self._is_day_special(term, at):
            return
        if self.field is _WEEKDAY and self._is_weekday_special(term, at):
            return
        base, slash, step = term.partition("/")
        if slash and (not step.isdigit() or int(step) == 0):
            raise self._refuse(f"{step[:16]!r} is not a step", at + len(base) + 1, "a step is a whole number from 1")
        if base != "*":
            self._check_range(base, at)

    def _check_range(self, base: str, at: int) -> None:
        match = _RANGE.fullmatch(base)
        if match is None:
            raise self._refuse(f"cannot read {base[:32]!r}", at, f"{self.field.accepts}, a-b, */n, a/n or a-b/n")
        low = self._value(match[1], at)
        if match[2] is None:
            return
        high = self._value(match[2], at + len(match[1]) + 1)
        if high < low:
            first, last = match.groups()
            raise self._refuse(
                f"the range {base} runs backwards", at, f"split it: {first}-{self.field.high},{self.field.low}-{last}"
            )

    def _value(self, text: str, at: int) -> int:
        if text in self.field.names:
            return self.field.names.index(text) + self.field.names_from
        if not text.isdigit() or not self.field.low <= int(text) <= self.field.high:
            raise self._refuse(f"{text[:16]!r} is not a {self.field.name}", at, self.field.accepts)
        return int(text)

    def _is_day_special(self, term: str, at: int) -> bool:
        if term in ("L", "LW"):
            return True
        if term.startswith("L"):
            raise self._refuse(
                f"cannot read {term[:16]!r}", at, '"L" is the last day of the month, "LW" its last weekday'
            )
        if term.endswith("W"):
            raise self._refuse(
                "the weekday nearest to a day is not accepted", at, 'only "LW", the last weekday of the month, is'
            )
        return False

    def _is_weekday_special(self, term: str, at: int) -> bool:
        if term.endswith("L"):
            if len(term) == 2 and term[0] in "01234567":
                return True
            raise self._refuse(f"cannot read {term[:16]!r}", at, 'write the last Friday of the month as "5L"')
        day, hash_, nth = term.partition("#")
        if not hash_:
            return False
        self._value(day, at)
        if nth not in ("1", "2", "3", "4", "5"):
            raise self._refuse(f"{nth[:16]!r} is not a week of the month", at + len(day) + 1, "# is followed by 1-5")
        return True

    def _refuse(self, detail: str, position: int, hint: str) -> BadCron:
        return BadCron(detail, pointer=self.pointer, position=position, hint=hint)


def _unreadable(message: str, parts: list[tuple[int, str]], pointer: str) -> BadCron:
    """cronsim refuses a day that none of the months has; anything else it refuses has been refused above."""
    if message == "Bad day-of-month":
        return _impossible(parts, pointer)
    return BadCron(message, pointer=pointer, hint='write it like "0 9 * * 1-5"')


def _impossible(parts: list[tuple[int, str]], pointer: str) -> NeverMatches:
    return NeverMatches(
        "no month that it names has such a day",
        pointer=pointer,
        position=parts[-3][0],
        hint='choose a day that its months have; "L" is the last day of each month',
    )


def _in_english(parts: tuple[str, ...]) -> str:
    whole = explain(" ".join(parts))
    if len(parts) == 5 or parts[0] == "0" or parts[1:3] == ("*", "*") or _CLOCK_TIME.match(whole):
        return whole
    # cronsim strings its phrases together; seconds and the rest read better as two.
    seconds = explain(f"{parts[0]} * * * * *").removesuffix(" of every minute")
    minutes = explain(" ".join(parts[1:]))
    joint = " of" if minutes.startswith("Every") else ","
    return f"{seconds}{joint} {minutes[0].lower()}{minutes[1:]}"


def _ordinal(match: re.Match[str]) -> str:
    number = int(cast(str, match[1]))
    if number % 100 in (11, 12, 13):
        return match[0]
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"
