"""Firing past slots after all, and watching it."""

import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from tocsin.cli import show
from tocsin.cli.inputs import past
from tocsin.cli.schedules import words
from tocsin.cli.schedules.options import ScheduleId
from tocsin.cli.session import AsJson, client

if TYPE_CHECKING:
    from tocsin.client import Client
    from tocsin.schemas.schedules import Backfill

backfills = typer.Typer(no_args_is_help=True, help="Backfills: list, watch and cancel them.")

BackfillId = Annotated[str, typer.Argument(help="bkf_…")]

poll_seconds = 0.5


def backfill(
    id: ScheduleId,
    start: Annotated[
        str,
        typer.Option(
            "--from", help="The first instant: 2027-01-01T00:00:00Z, or 2d for two days ago.", metavar="INSTANT"
        ),
    ],
    end: Annotated[
        str | None, typer.Option("--to", help="Slots before this instant; default: now.", metavar="INSTANT")
    ] = None,
    overlap: Annotated[
        Literal["allow", "skip", "buffer_all"],
        typer.Option(help="Between these runs: all at once, only while none is under way, or in order."),
    ] = "allow",
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Watch it until every slot has its end.")] = True,
    as_json: AsJson = False,
) -> None:
    """Fire the past slots of a range after all, at a measured pace, and never ahead of those that are due.

    tocsin schedule backfill daily-report --from 2027-01-01T00:00:00Z
    tocsin schedule backfill daily-report --from 2d --to 1d --overlap buffer_all
    """
    now = datetime.now(UTC)
    first, last = past(start, "--from", now), now if end is None else past(end, "--to", now)
    with client() as relay:
        asked = relay.schedules.backfill(id, first, last, overlap)
        if wait:
            _watch(relay, id, asked, as_json)
        else:
            _show_all([asked], as_json)


@backfills.command("ls")
def list_backfills(id: ScheduleId, as_json: AsJson = False) -> None:
    """List the backfills of a schedule, the latest first."""
    with client() as relay:
        columns = ("id", "state", "start", "end", "slots", "open", "fired", "skipped", "dead")
        show.table(relay.schedules.backfills(id), columns, as_json, "No backfills.")


@backfills.command("watch")
def watch_backfill(id: ScheduleId, backfill_id: BackfillId, as_json: AsJson = False) -> None:
    """Watch a backfill until every slot has its end."""
    with client() as relay:
        _watch(relay, id, relay.schedules.get_backfill(id, backfill_id), as_json)


@backfills.command("rm", hidden=True)
@backfills.command("cancel")
def cancel_backfill(id: ScheduleId, backfill_id: BackfillId, as_json: AsJson = False) -> None:
    """Skip what of a backfill has not fired yet."""
    with client() as relay:
        _show_all([relay.schedules.cancel_backfill(id, backfill_id)], as_json)


def _watch(relay: "Client", id: str, found: "Backfill", as_json: bool) -> None:
    watch(steps(relay, id, found, time.sleep), id, found.id, show.out, as_json)


def steps(relay: "Client", id: str, found: "Backfill", pause: Callable[[float], None]) -> "Iterator[Backfill]":
    """A backfill, once more whenever it has got further, until nothing of it is open."""
    yield found
    while found.state == "running":
        pause(poll_seconds)
        before, found = found, relay.schedules.get_backfill(id, found.id)
        if found != before:
            yield found


def watch(going: "Iterable[Backfill]", id: str, backfill_id: str, console: Console, as_json: bool) -> None:
    """Show how far it gets. Ctrl-C ends the watching, not the backfill."""
    try:
        if console.is_terminal and not as_json:
            _draw(going, backfill_id, console)
        else:
            _show_all(going, as_json)
    except KeyboardInterrupt:
        show.hint(f"It goes on without you. To watch it: tocsin schedule backfills watch {id} {backfill_id}")
        show.hint(f"To end it: tocsin schedule backfills cancel {id} {backfill_id}")
        raise typer.Exit(130) from None


def _draw(going: "Iterable[Backfill]", backfill_id: str, console: Console) -> None:
    """A bar that grows, with what it has come to."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(backfill_id, told="")
        for found in going:
            done = found.slots - found.open
            bar.update(task, total=found.slots, completed=done, told=words.progress(found))


def _show_all(going: "Iterable[Backfill]", as_json: bool) -> None:
    for found in going:
        if as_json:
            show.json_line(found)
        else:
            show.out.print(f"{found.id}  {found.state}  {words.progress(found)}", markup=False)
