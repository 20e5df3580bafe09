"""The options that describe a schedule, for every command that takes them."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import typer

ScheduleId = Annotated[str, typer.Argument(help="sch_…, or the id that you chose.")]


def _option(panel: str, help: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel, **more)


_WHEN = "When"
_BOUNDS = "Within which bounds"
_RUNS = "When a run is still under way at the next slot"
_OUTAGE = "After an outage of the relay"
_FAILURE = "When nobody answers"
_SENT = "What is sent, and where"
_SAFETY = "Which version"


@dataclass(frozen=True)
class When:
    """What names the slots."""

    cron: Annotated[
        list[str] | None,
        _option(
            _WHEN,
            "Cron: five fields, or six with seconds first, or a macro: '0 9 * * 1-5', @hourly. May be repeated.",
            metavar="TEXT",
        ),
    ] = None
    every: Annotated[
        list[str] | None,
        _option(
            _WHEN, "A fixed interval: 90s, 15m, 2h, 1d, or ISO 8601 such as PT1H30M. May be repeated.", metavar="SPAN"
        ),
    ] = None
    at: Annotated[
        list[str] | None,
        _option(_WHEN, "Once, at an instant such as 2027-01-01T09:00:00Z. May be repeated.", metavar="INSTANT"),
    ] = None
    in_: Annotated[
        list[str] | None,
        _option(
            _WHEN, "Once, so long from now: 30s, 15m, 2h, 1d, or ISO 8601. May be repeated.", "--in", metavar="SPAN"
        ),
    ] = None
    timezone: Annotated[
        str | None, _option(_WHEN, "IANA zone of --cron; default: UTC.", "--timezone", "--tz", "-z", metavar="ZONE")
    ] = None
    dst: Annotated[
        Literal["debian", "skip_gap"] | None,
        _option(
            _WHEN,
            "What --cron does with a time that the clock leaps over: fire right after (debian, the default), or not.",
        ),
    ] = None
    anchor: Annotated[
        str | None,
        _option(
            _WHEN, "The instant that --every counts from; default: 1970, so 15m means quarter hours.", metavar="INSTANT"
        ),
    ] = None
    exclude: Annotated[
        list[str] | None,
        _option(
            _WHEN,
            "Not then: cron text in the same zone, such as '* * 24-26 12 *', or a spec as JSON. May be repeated.",
            metavar="TEXT",
        ),
    ] = None
    spec: Annotated[str | None, _option(_WHEN, "Instead of all these: the spec as JSON, or @file.", metavar="JSON")] = (
        None
    )


@dataclass(frozen=True)
class Terms:
    """Everything else about a schedule. None: not said."""

    endpoint: Annotated[
        str | None,
        _option(
            _SENT,
            "The endpoint to ring, ep_…; of a new schedule by default yours, if you have exactly one.",
            metavar="ID",
        ),
    ] = None
    payload: Annotated[
        str | None, _option(_SENT, "JSON to send along; @file reads it from a file.", metavar="JSON")
    ] = None
    name: Annotated[str | None, _option(_SENT, "A name for people.", metavar="TEXT")] = None
    starts_at: Annotated[str | None, _option(_BOUNDS, "No slot before this instant counts.", metavar="INSTANT")] = None
    ends_at: Annotated[str | None, _option(_BOUNDS, "No slot after this instant counts.", metavar="INSTANT")] = None
    max_fires: Annotated[
        int | None, _option(_BOUNDS, "Completed once so many of its own slots have fired.", metavar="N")
    ] = None
    jitter: Annotated[
        str | None,
        _option(_BOUNDS, "Fire up to so much later, by a share that each slot determines: 30s.", metavar="SPAN"),
    ] = None
    overlap: Annotated[
        Literal["allow", "skip", "buffer_one", "buffer_all"] | None,
        _option(_RUNS, "Fire all the same (allow, the default), skip the slot, keep one, or keep them in order."),
    ] = None
    buffer_max: Annotated[int | None, _option(_RUNS, "How many buffer_all keeps; default: 100.", metavar="N")] = None
    completion: Annotated[
        Literal["delivery", "report"] | None,
        _option(_RUNS, "A run ends with its delivery (the default), or when you report that it is done."),
    ] = None
    completion_timeout: Annotated[
        str | None, _option(_RUNS, "How long a report is waited for; default: 1d.", metavar="SPAN")
    ] = None
    misfire: Annotated[
        Literal["skip", "latest", "all"] | None,
        _option(_OUTAGE, "Of the slots that were missed: skip them, fire the latest (the default), or all."),
    ] = None
    catch_up_max: Annotated[int | None, _option(_OUTAGE, "How many misfire all fires; default: 100.", metavar="N")] = (
        None
    )
    catch_up_window: Annotated[
        str | None, _option(_OUTAGE, "Skip slots that were missed by more than this, such as 2h.", metavar="SPAN")
    ] = None
    pause_after: Annotated[
        int | None,
        _option(_FAILURE, "Pause once so many deliveries in a row were given up; default: never.", metavar="N"),
    ] = None
    notify_endpoint: Annotated[
        str | None,
        _option(_FAILURE, "The endpoint that hears of such a pause; default: the schedule's own.", metavar="ID"),
    ] = None


@dataclass(frozen=True)
class Chosen:
    """Under which id."""

    id: Annotated[
        str | None,
        _option(
            _SAFETY,
            "An id of your own. What it stands for is replaced; the same once more changes nothing.",
            metavar="ID",
        ),
    ] = None
    create_only: Annotated[bool, _option(_SAFETY, "With --id: replace nothing.", "--create-only")] = False


@dataclass(frozen=True)
class Version:
    """Which version is meant."""

    if_version: Annotated[
        int | None, _option(_SAFETY, "Only while the schedule has this version; `show` tells it.", metavar="N")
    ] = None
