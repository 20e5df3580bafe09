"""Looking at schedules: which there are, what they mean, what is to come and what became of it."""

from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape

from tocsin.cli import show
from tocsin.cli.bundles import unbundled
from tocsin.cli.inputs import moment, past
from tocsin.cli.schedules import words
from tocsin.cli.schedules.options import ScheduleId, When
from tocsin.cli.schedules.terms import spec_of
from tocsin.cli.session import AsJson, client

if TYPE_CHECKING:
    from tocsin.schemas.schedules import Fire, Schedule, SchedulePreview

Count = Annotated[int, typer.Option("--count", "-n", min=1, max=100, help="How many slots.")]

shown_slots = 5


def list_schedules(
    state: Annotated[
        Literal["active", "paused", "completed"] | None, typer.Option(help="Only those in this state.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List your schedules, oldest first."""
    with client() as relay:
        found = relay.schedules.list(state)
        if as_json:
            return show.json_lines(found)
        columns = ("id", "state", "next", "last", "when", "name")
        return show.rows(columns, (_listed(one) for one in found), "No schedules: tocsin schedule add --every 5s")


def show_schedule(id: ScheduleId, as_json: AsJson = False) -> None:
    """Show one schedule: what it means, the next five slots, and what became of the last five."""
    now = datetime.now(UTC)
    with client() as relay:
        found = relay.schedules.get(id)
        if as_json:
            return show.json_line(found)
        describe(found)
        if found.state != "completed":
            condition = ", if it were resumed now" if found.state == "paused" else ""
            show.out.print(f"\n[bold]Next[/bold]{condition}")
            _show_slots(relay.schedules.upcoming(id, shown_slots), now)
        show.out.print("\n[bold]Last[/bold]")
        latest = islice(relay.schedules.fires(id, until=now), shown_slots)
        columns = ("slot", "became", "late", "attempts", "because")
        return show.rows(columns, (_became(fire) for fire in latest), "It has had no slot yet.", indent=2)


def upcoming(id: ScheduleId, count: Count = shown_slots, as_json: AsJson = False) -> None:
    """Show the next slots of a schedule, with their jitter and what changes of the clock do to them."""
    with client() as relay:
        seen = relay.schedules.upcoming(id, count)
    if as_json:
        show.json_line(seen)
    else:
        _show_preview(seen, datetime.now(UTC))


def list_fires(
    id: ScheduleId,
    state: Annotated[
        Literal["planned", "buffered", "fired", "skipped", "dead"] | None,
        typer.Option(help="Only those in this state; dead: given up."),
    ] = None,
    kind: Annotated[
        Literal["auto", "manual", "backfill"] | None,
        typer.Option(help="Only its own slots (auto), those triggered by hand, or those asked for later."),
    ] = None,
    backfill: Annotated[str | None, typer.Option(help="Only those of this backfill, bkf_….")] = None,
    since: Annotated[
        str | None,
        typer.Option(help="Slots at or after an instant such as 2027-01-01T09:00:00Z, or 2h ago.", metavar="INSTANT"),
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="Slots before an instant, or so long ago.", metavar="INSTANT")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List a schedule's slots and what became of each, the latest first.

    tocsin schedule fires daily-report --state skipped --since 7d
    """
    now = datetime.now(UTC)
    first = None if since is None else past(since, "--since", now)
    end = None if until is None else past(until, "--until", now)
    with client() as relay:
        found = islice(relay.schedules.fires(id, state, kind, backfill, first, end), limit)
        if as_json:
            return show.json_lines(found)
        is_filtered = any((state, kind, backfill, since, until))
        columns = ("slot", "became", "late", "attempts", "because", "id")
        rows = ([*_became(fire), fire.id] for fire in found)
        return show.rows(columns, rows, "No such slot." if is_filtered else "It has had no slot yet.")


@unbundled
def preview(
    when: When,
    starts_at: Annotated[
        str | None, typer.Option(help="No slot before this instant counts.", metavar="INSTANT")
    ] = None,
    ends_at: Annotated[str | None, typer.Option(help="No slot after this instant counts.", metavar="INSTANT")] = None,
    after: Annotated[str | None, typer.Option(help="From this instant on; default: now.", metavar="INSTANT")] = None,
    count: Count = shown_slots,
    as_json: AsJson = False,
) -> None:
    """Say what a spec means, and when it would fire. Needs no relay and no key.

    tocsin schedule preview --cron '30 2 * * *' --tz Europe/Berlin --after 2027-03-27T00:00:00Z
    """
    from tocsin.previews import preview
    from tocsin.schemas.schedules import AskedPreview

    now = datetime.now(UTC)
    asked = AskedPreview(
        spec=spec_of(when, now),
        after=None if after is None else moment(after, "--after"),
        count=count,
        starts_at=None if starts_at is None else moment(starts_at, "--starts-at"),
        ends_at=None if ends_at is None else moment(ends_at, "--ends-at"),
    )
    seen = preview(asked, now)
    if as_json:
        show.json_line(seen)
    else:
        _show_preview(seen, now)


def describe(schedule: "Schedule", **more: str) -> None:
    """A schedule in a few lines, and what more there is to say."""
    names = "  ".join(name for name in (schedule.id, schedule.chosen_id) if name)
    show.out.print(f"[bold]{escape(names)}[/bold]")
    show.out.print(f"  {escape(words.meaning(schedule.spec))}\n")
    show.members(words.described(schedule) | more, indent="  ")


def _listed(schedule: "Schedule") -> list[str]:
    times = ["-" if at is None else show.local(at) for at in (schedule.next_fire, schedule.last_fire)]
    meaning = words.meaning(schedule.spec)
    return [schedule.chosen_id or schedule.id, schedule.state, *times, meaning, schedule.name or ""]


def _became(fire: "Fire") -> list[str]:
    attempts = str(fire.attempts) if fire.attempts else ""
    return [show.local(fire.scheduled_at), words.fate(fire), words.lateness(fire), attempts, words.cause(fire)]


def _show_preview(seen: "SchedulePreview", now: datetime) -> None:
    show.out.print(f"{escape(seen.explanation)}\n")
    _show_slots(seen, now)
    if seen.warnings:
        show.out.print()
    for warning in seen.warnings:
        show.out.print(f"[yellow]![/yellow] {escape(warning.detail)}")
    show.out.print(f"\n[dim]time zone database {escape(seen.timezone_database)}[/dim]")


def _show_slots(seen: "SchedulePreview", now: datetime) -> None:
    cells = [[words.slot(fire), words.away(fire.scheduled_at, now), words.remark(fire)] for fire in seen.fires]
    show.rows(("", "", ""), cells, "No slot is to come.", indent=2)
