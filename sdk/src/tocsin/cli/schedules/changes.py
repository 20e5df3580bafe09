"""Making schedules, changing them, and stepping in."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tocsin.cli import show
from tocsin.cli.bundles import unbundled
from tocsin.cli.inputs import chosen_endpoint
from tocsin.cli.schedules import words
from tocsin.cli.schedules.options import Chosen, ScheduleId, Terms, Version, When
from tocsin.cli.schedules.terms import changes_of, members_of, spec_of
from tocsin.cli.schedules.views import describe
from tocsin.cli.session import AsJson, client
from tocsin.problems import NotFound, PreconditionFailed

if TYPE_CHECKING:
    from tocsin.client import Client
    from tocsin.schemas.schedules import NewSchedule, Schedule


@unbundled
def add(when: When, terms: Terms, chosen: Chosen, version: Version, as_json: AsJson = False) -> None:
    """Register a schedule. With --id it can be repeated: it then makes the schedule what you say, whatever it was.

    tocsin schedule add --every 5s
    tocsin schedule add --cron '0 9 * * 1-5' --tz Europe/Berlin --endpoint ep_… --payload @report.json
    tocsin schedule add --id daily-report --cron '0 9 * * *' --exclude '* * 24-26 12 *' --overlap skip
    """
    from tocsin.schemas.schedules import NewSchedule

    if chosen.id is None and (chosen.create_only or version.if_version is not None):
        raise typer.BadParameter("--create-only and --if-version go with --id")
    members: dict[str, Any] = {"spec": spec_of(when, datetime.now(UTC)), **members_of(terms)}
    with client() as relay:
        members["endpoint_id"] = chosen_endpoint(relay, terms.endpoint)
        _tell(_register(relay, NewSchedule(**members), chosen, version), as_json)


def _register(relay: "Client", new: "NewSchedule", chosen: Chosen, version: Version) -> "Schedule":
    if chosen.id is None:
        return relay.schedules.create(new)
    return relay.schedules.put(chosen.id, new, version.if_version, chosen.create_only)


@unbundled
def change(
    id: ScheduleId,
    when: When,
    terms: Terms,
    version: Version,
    remove: Annotated[
        list[str] | None,
        typer.Option(help="Take an option's value away again: ends-at, jitter. May be repeated.", metavar="OPTION"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change what you say, and leave the rest of a schedule as it is.

    tocsin schedule change daily-report --cron '0 8 * * 1-5' --tz Europe/Berlin
    tocsin schedule change daily-report --overlap skip --remove jitter
    """
    from tocsin.schemas.schedules import PatchSchedule

    changes = PatchSchedule(**changes_of(when, terms, remove or (), datetime.now(UTC)))
    with client() as relay:
        _tell(relay.schedules.change(id, changes, version.if_version), as_json)


@unbundled
def remove(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="sch_…, or the ids that you chose.")],
    version: Version,
) -> None:
    """Delete schedules; they do not fire again. What became of their slots stays readable by sch_….

    If one is refused, the others are deleted all the same.
    """
    if version.if_version is not None and len(ids) > 1:
        raise typer.BadParameter("--if-version is the version of one schedule; name no other")
    with client() as relay:
        are_removed = [_remove(relay, id, version) for id in ids]
    if not all(are_removed):
        raise typer.Exit(1)


def _remove(relay: "Client", id: str, version: Version) -> bool:
    try:
        relay.schedules.delete(id, version.if_version)
    except (NotFound, PreconditionFailed) as refused:  # any other would meet the next one, too
        show.refusal(refused, id)
        return False
    show.done(f"{id} is deleted")
    return True


@unbundled
def pause(
    id: ScheduleId,
    version: Version,
    reason: Annotated[str | None, typer.Option(help="Why; shown with the schedule.")] = None,
    as_json: AsJson = False,
) -> None:
    """Let no further slot fire until the schedule is resumed."""
    with client() as relay:
        found = relay.schedules.pause(id, reason, version.if_version)
    if as_json:
        show.json_line(found)
    else:
        show.done(f"{id} is {words.state(found)}")


@unbundled
def resume(id: ScheduleId, version: Version, as_json: AsJson = False) -> None:
    """Go on with the next slot that is to come. Those that passed in between stay skipped; see backfill."""
    with client() as relay:
        found = relay.schedules.resume(id, version.if_version)
    if as_json:
        show.json_line(found)
    else:
        next_one = "" if found.next_fire is None else f"; next {_told(found.next_fire)}"
        show.done(f"{id} is {found.state}{next_one}")


@unbundled
def trigger(id: ScheduleId, version: Version, as_json: AsJson = False) -> None:
    """Fire now, beside the schedule's own slots; also while it is paused."""
    with client() as relay:
        fire = relay.schedules.trigger(id, version.if_version)
    if as_json:
        show.json_line(fire)
    else:
        show.done(f"{fire.id} is {words.fate(fire)}")


@unbundled
def skip_next(id: ScheduleId, version: Version, as_json: AsJson = False) -> None:
    """Skip exactly the next slot."""
    with client() as relay:
        fire = relay.schedules.skip_next(id, version.if_version)
    if as_json:
        show.json_line(fire)
    else:
        show.done(f"{show.with_offset(fire.scheduled_at)} is skipped")


def complete(id: ScheduleId, fire_id: Annotated[str, typer.Argument(help="fir_…")], as_json: AsJson = False) -> None:
    """Report that a run is done, where the schedule waits for it: --completion report."""
    with client() as relay:
        fire = relay.schedules.complete(id, fire_id)
    if as_json:
        show.json_line(fire)
    else:
        show.done(f"{fire.id} is complete")


def _tell(schedule: "Schedule", as_json: bool) -> None:
    """What a schedule has become."""
    if as_json:
        show.json_line(schedule)
    elif schedule.next_fire is None:
        describe(schedule)
    else:
        describe(schedule, next=_told(schedule.next_fire))


def _told(at: datetime) -> str:
    return f"{show.with_offset(at)}, {words.away(at, datetime.now(UTC))}"
