"""What commands read from their options."""

import json
import re
import sys
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tocsin.client import Client

_SHORT = re.compile(r"([0-9]{1,9})([smhd])")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_SPAN_MAX = timedelta(days=999_999)
_ISO = {"s": "PT{}S", "m": "PT{}M", "h": "PT{}H", "d": "P{}D"}
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

EndpointOption = Annotated[
    str | None, typer.Option(help="The endpoint to ring, ep_…; default: yours, if you have exactly one.")
]

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether you mean it.")]


def require_yes(yes: bool, loss: str) -> None:
    """Have what cannot be undone said twice: by an answer at a terminal, and by `--yes` where nobody can be asked."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter(f"{loss}. If you mean it, add --yes")
    typer.confirm(f"{loss}. Go on?", abort=True, err=True)


def chosen_endpoint(relay: "Client", named: str | None, otherwise: str = "") -> str:
    """The endpoint that was named, or the only one there is."""
    if named is not None:
        return named
    found = list(islice(relay.endpoints.list(), 2))
    if len(found) == 1:
        return found[0].id
    reason = (
        "you have several: tocsin endpoints ls" if found else "you have none: tocsin listen, or tocsin endpoints add"
    )
    raise typer.BadParameter(f"name the endpoint to ring; {reason}{otherwise}", param_hint="--endpoint")


def json_value(text: str, option: str) -> Any:
    """JSON as it was typed, or from the file that `@` names."""
    try:
        return json.loads(Path(text[1:]).read_bytes() if text.startswith("@") else text)
    except ValueError as error:
        raise typer.BadParameter(f"not JSON: {error}", param_hint=option) from None
    except OSError as error:
        raise typer.BadParameter(f"{text[1:]} cannot be read: {error.strerror}", param_hint=option) from None


def moment(text: str, option: str, otherwise: str = "") -> datetime:
    """An instant with its offset."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise typer.BadParameter(f"write 2027-01-01T09:00:00Z{otherwise}, not {text!r}", param_hint=option)
    return at


def past(text: str, option: str, now: datetime) -> datetime:
    """An instant with its offset, the beginning of a day in UTC, or so long ago as `2h` says."""
    if _SHORT.fullmatch(text) or text.startswith("P"):
        return _ago(now, span(text, option), option)
    at = f"{text}T00:00:00Z" if _DAY.fullmatch(text) else text
    return moment(at, option, ", 2027-01-01 for its beginning in UTC, or 2h for two hours ago")


def _ago(now: datetime, length: timedelta, option: str) -> datetime:
    try:
        return now - length
    except OverflowError:
        raise typer.BadParameter("that is before the first year", param_hint=option) from None


def duration(text: str) -> str:
    """`90s` as PT90S; what looks otherwise is passed on for the relay to read."""
    short = _SHORT.fullmatch(text)
    return _ISO[short[2]].format(short[1]) if short else text


def span(text: str, option: str, most: timedelta = _SPAN_MAX) -> timedelta:
    """`15m` or `PT15M` as a length of time, which `most` bounds."""
    length = _length(text, option)
    if length > most:
        bound = f"{most.days}d" if most.days else f"{most.seconds}s"
        raise typer.BadParameter(f"{text} is too long: {bound} at most", param_hint=option)
    return length


def _length(text: str, option: str) -> timedelta:
    from tocsin.recurrence import BadInterval
    from tocsin.recurrence.intervals import read_interval

    if short := _SHORT.fullmatch(text):
        return timedelta(**{_UNITS[short[2]]: int(short[1])})
    try:
        return read_interval(text)
    except BadInterval:
        raise typer.BadParameter(
            f"write 30s, 15m, 2h, 1d or ISO 8601 such as PT1H30M, not {text!r}", param_hint=option
        ) from None
