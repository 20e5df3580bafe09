"""When you are rung."""

from datetime import UTC, datetime
from itertools import islice
from typing import Annotated

import typer
from rich.markup import escape

from tocsin.cli import show
from tocsin.cli.inputs import EndpointOption, chosen_endpoint, duration, json_value, moment, span
from tocsin.cli.session import AsJson, client

schedules = typer.Typer(no_args_is_help=True, help="When you are rung: add, ls, show, fires, preview, rm.")

Cron = Annotated[str | None, typer.Option(help="Five cron fields or a macro, such as '0 9 * * 1-5' or @hourly.")]
Every = Annotated[str | None, typer.Option(help="A fixed interval: 90s, 15m, 2h, 1d, or ISO 8601 such as PT90S.")]
At = Annotated[str | None, typer.Option(help="Once, at an instant such as 2027-01-01T09:00:00Z.")]
In = Annotated[str | None, typer.Option("--in", help="Once, so long from now: 30s, 15m, 2h, 1d.")]
Zone = Annotated[str | None, typer.Option("--timezone", "--tz", "-z", help="IANA zone of --cron; default: UTC.")]
Dst = Annotated[str | None, typer.Option(help="What --cron does when clocks change: debian (default) or skip_gap.")]
Anchor = Annotated[
    str | None, typer.Option(help="The instant that --every counts from; default: 1970, so 15m means quarter hours.")
]
ScheduleId = Annotated[str, typer.Argument(help="sch_…")]


@schedules.command("add")
def add_schedule(
    cron: Cron = None,
    every: Every = None,
    at: At = None,
    in_: In = None,
    timezone: Zone = None,
    dst: Dst = None,
    anchor: Anchor = None,
    endpoint: EndpointOption = None,
    payload: Annotated[str | None, typer.Option(help="JSON to send along; @file reads it from a file.")] = None,
    name: Annotated[str | None, typer.Option(help="For people.")] = None,
    as_json: AsJson = False,
) -> None:
    """Register a schedule: one of --cron, --every, --at and --in.

    tocsin schedule add --every 5s
    tocsin schedule add --cron '0 9 * * 1-5' -z Europe/Berlin --payload '{"task": "report"}'
    """
    from tocsin.schemas.schedules import NewSchedule

    spec = spec_of(cron, every, at, in_, timezone, dst, anchor, datetime.now(UTC))
    with client() as relay:
        new = NewSchedule(
            spec=spec, endpoint_id=chosen_endpoint(relay, endpoint), payload=json_value(payload), name=name
        )
        show.record(relay.schedules.create(new), as_json)


@schedules.command("ls")
def list_schedules(as_json: AsJson = False) -> None:
    """List your schedules."""
    with client() as relay:
        columns = ("id", "state", "spec", "next_fire", "runs", "name")
        show.table(relay.schedules.list(), columns, as_json, "No schedules: tocsin schedule add --every 5s")


@schedules.command("show")
def show_schedule(id: ScheduleId, as_json: AsJson = False) -> None:
    """Show one schedule."""
    with client() as relay:
        show.record(relay.schedules.get(id), as_json)


@schedules.command("fires")
def list_fires(
    id: ScheduleId,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List a schedule's slots and what became of each, the latest first."""
    with client() as relay:
        columns = ("scheduled_at", "state", "run", "lateness_ms", "reason")
        show.table(islice(relay.schedules.fires(id), limit), columns, as_json, "It has had no slot yet.")


@schedules.command("preview")
def preview(
    cron: Cron = None,
    every: Every = None,
    at: At = None,
    in_: In = None,
    timezone: Zone = None,
    dst: Dst = None,
    anchor: Anchor = None,
    after: Annotated[str | None, typer.Option(help="From this instant on; default: now.")] = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=100, help="How many slots.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Say what a spec means, and when it would fire. Registers nothing."""
    from tocsin.schemas.schedules import AskedPreview

    spec = spec_of(cron, every, at, in_, timezone, dst, anchor, datetime.now(UTC))
    with client() as relay:
        seen = relay.schedules.preview(AskedPreview(spec=spec, after=moment(after, "--after"), count=count))
    if as_json:
        show.json_line(seen)
        return
    show.out.print(escape(seen.explanation))
    for fire in seen.fires:
        remark = f"  [yellow]{fire.shift.replace('_', ' ')}[/yellow]" if fire.shift else ""
        show.out.print(f"  {escape(fire.local)}{remark}")


@schedules.command("rm")
def remove_schedule(id: ScheduleId) -> None:
    """Delete a schedule; it does not fire again."""
    with client() as relay:
        relay.schedules.delete(id)
    show.done(f"{id} is deleted")


def spec_of(
    cron: str | None,
    every: str | None,
    at: str | None,
    in_: str | None,
    timezone: str | None,
    dst: str | None,
    anchor: str | None,
    now: datetime,
) -> dict[str, str]:
    """The spec that these options mean. Whether it can ever fire is the relay's to judge."""
    if sum(given is not None for given in (cron, every, at, in_)) != 1:
        raise typer.BadParameter("give one of --cron, --every, --at and --in")
    if cron is None and (timezone is not None or dst is not None):
        raise typer.BadParameter("--tz and --dst go with --cron; anything else is the same in every zone")
    if every is None and anchor is not None:
        raise typer.BadParameter("--anchor goes with --every")
    if cron is not None:
        spec = {"cron": cron, "timezone": timezone, "dst": dst}
    elif every is not None:
        spec = {"every": duration(every), "anchor": anchor}
    else:
        spec = {"at": at if in_ is None else (now + span(in_, "--in")).isoformat(timespec="milliseconds")}
    return {name: value for name, value in spec.items() if value is not None}
