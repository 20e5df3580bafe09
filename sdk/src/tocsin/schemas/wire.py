"""What every shape on the wire has in common.

>>> from datetime import UTC, datetime
>>> rfc3339(datetime(2026, 11, 22, 9, tzinfo=UTC))
'2026-11-22T09:00:00.000Z'
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from math import isfinite
from typing import Annotated, Any, Final, Generic, LiteralString, NamedTuple, Self, TypeVar, cast

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    Strict,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

T = TypeVar("T")

__all__ = ["InvalidArgument", "Json", "ListQuery", "Name", "Page", "Query", "Timestamp", "Wire", "in_words", "rfc3339"]


class InvalidArgument(ValueError):
    """What was given cannot be sent, and was not. `errors` has the pointer and detail of each fault, as the relay's own
    refusals have them, and never the value itself: it may be secret, and its owner has it."""

    def __init__(self, errors: list[dict[str, str]]) -> None:
        super().__init__("; ".join(f"{each['pointer'] or 'body'}: {each['detail']}" for each in errors))
        self.errors = errors

    @classmethod
    def of(cls, error: ValidationError) -> Self:
        """The same in our own words."""
        shown = error.errors(include_url=False, include_context=False, include_input=False)
        return cls(
            [{"pointer": _pointer(each["loc"]), "detail": each["msg"].removeprefix("Value error, ")} for each in shown]
        )


def _pointer(place: tuple[int | str, ...]) -> str:
    # Brackets are in no member's name: there it is said which of several forms the value was read as.
    return "".join(f"/{part}" for part in place if "[" not in str(part))


def rfc3339(moment: datetime) -> str:
    """An aware moment as RFC 3339 in UTC with milliseconds, which are cut off and not rounded: never in the future."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def _only_text(value: Any) -> Any:
    """Numbers are no times: whether they count seconds or milliseconds is anybody's guess."""
    if isinstance(value, datetime) or (isinstance(value, str) and _RFC3339.fullmatch(value)):
        return value
    raise ValueError("a time is a string with its offset, such as 2026-11-22T09:00:00Z")


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # 0001-01-01T00:00:00+01:00 lies before the first year
        raise ValueError("this time lies outside of the years 1 to 9999 in UTC") from None


Timestamp = Annotated[
    AwareDatetime,
    Strict(False),  # what the pattern let through is text, and text is what it shall be
    BeforeValidator(_only_text, json_schema_input_type=AwareDatetime),
    AfterValidator(_in_utc),
    PlainSerializer(rfc3339, return_type=str, when_used="json"),
]
"""An instant: RFC 3339 with its offset on the way in; UTC, milliseconds and `Z` on the way out."""


def in_words(pattern: str, words: str) -> BeforeValidator:
    """Says what a text has to be, in words, to whoever wrote another: a pattern is for programs."""
    form = re.compile(pattern)

    def check(value: Any) -> Any:
        if isinstance(value, str) and not form.fullmatch(value):
            raise ValueError(words)
        return value

    return BeforeValidator(check)


Json = JsonValue
"""Any JSON value."""

Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""A name that people read: one line, no control characters."""


class Wire(BaseModel):
    """A shape on the wire: immutable, strict, closed, and free of what cannot be kept as it is: NUL in a text, which
    PostgreSQL cannot store, and numbers beyond those of JSON.

    Validate what came in with `model_validate_json`: strictness there still allows times as strings.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, ser_json_inf_nan="null", allow_inf_nan=False)

    @model_validator(mode="after")
    def _can_be_kept(self) -> Self:
        for name, value in self.__dict__.items():
            if (flaw := _flaw(value)) is not None:
                steps = (type(self).model_fields[name].alias or name, *reversed(flaw.steps))
                error = InitErrorDetails(type=PydanticCustomError("unkeepable", flaw.what), loc=steps, input=value)
                raise ValidationError.from_exception_data(type(self).__name__, [error])
        return self


class Query(Wire):
    """Query parameters: the same, but they arrive as text, so numbers are read from it."""

    model_config = ConfigDict(strict=False)


class ListQuery(Query):
    """Which page of a list."""

    limit: int = Field(default=50, ge=1, le=100, description="How many items at most.")
    cursor: str | None = Field(
        default=None, max_length=512, description="`next` of the page before; absent for the first page."
    )


class Page(Wire, Generic[T]):
    """One page of a list; the last one has no `next`."""

    items: list[T]
    next: str | None = Field(default=None, description="The cursor of the page after this one; null on the last.")


class _Flaw(NamedTuple):
    """What cannot be kept as it is, and the steps to it, from the last to the first."""

    what: LiteralString
    steps: list[int | str]

    def within(self, step: int | str) -> Self:
        self.steps.append(step)
        return self


def _flaw(value: Any) -> _Flaw | None:
    """What a plain JSON value holds that cannot be kept as it is; None: nothing. Nested shapes have seen to theirs."""
    if isinstance(value, str):
        return _Flaw(_nul, []) if "\0" in value else None
    # What is read as any JSON value is not asked for this by `allow_inf_nan`, and would be written as null.
    if isinstance(value, float):
        return None if isfinite(value) else _Flaw(_no_number, [])
    if isinstance(value, dict):
        return _flaw_of_members(cast(dict[str, Any], value))
    return _flaw_of_items(cast(Iterable[Any], value)) if isinstance(value, list | tuple) else None


def _flaw_of_members(members: dict[str, Any]) -> _Flaw | None:
    for name, value in members.items():
        if (flaw := _flaw(name) or _flaw(value)) is not None:
            return flaw.within(name)
    return None


def _flaw_of_items(items: Iterable[Any]) -> _Flaw | None:
    for place, value in enumerate(items):
        if (flaw := _flaw(value)) is not None:
            return flaw.within(place)
    return None


_nul: Final = "holds the character U+0000, which cannot be stored"
_no_number: Final = "is a number that JSON has not, or one beyond 1.8e308; write it as a string"
