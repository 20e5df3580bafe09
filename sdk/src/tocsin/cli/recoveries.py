"""What is sent again in bulk, and watching it."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from tocsin.cli import show
from tocsin.cli.session import AsJson, client

if TYPE_CHECKING:
    from tocsin.client import Client
    from tocsin.schemas.recoveries import Recovery

__all__ = ["Rate", "Wait", "follow", "recoveries", "steps", "watch"]

recoveries = typer.Typer(no_args_is_help=True, help="What is sent again in bulk: list, watch and cancel it.")

RecoveryId = Annotated[str, typer.Argument(help="rec_…")]
Rate = Annotated[float, typer.Option("--rate", min=0.1, max=500, help="Deliveries a second.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Watch it until all are on their way.")]

poll_seconds = 0.5


@recoveries.command("ls")
def list_recoveries(
    state: Annotated[
        Literal["running", "done", "cancelled"] | None, typer.Option(help="Only those in this state.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List your recoveries, newest first."""
    with client() as relay:
        columns = ("id", "state", "endpoint_id", "since", "until", "total", "sent", "skipped")
        show.table(relay.recoveries.list(state), columns, as_json, "No recoveries.")


@recoveries.command("show")
def show_recovery(id: RecoveryId, as_json: AsJson = False) -> None:
    """Show a recovery and how far it has got."""
    with client() as relay:
        show.record(relay.recoveries.get(id), as_json)


@recoveries.command("watch")
def watch_recovery(id: RecoveryId, as_json: AsJson = False) -> None:
    """Watch a recovery until all of it is on its way."""
    with client() as relay:
        follow(relay, relay.recoveries.get(id), as_json, wait=True)


@recoveries.command("cancel")
def cancel_recovery(id: RecoveryId, as_json: AsJson = False) -> None:
    """Send nothing more of a recovery. What is on its way stays so."""
    with client() as relay:
        follow(relay, relay.recoveries.cancel(id), as_json, wait=False)


def follow(relay: "Client", found: "Recovery", as_json: bool, *, wait: bool) -> None:
    """Show a recovery, and if one waits, how far it gets."""
    going = steps(relay, found, time.sleep) if wait else [found]
    watch(going, found.id, show.out, as_json)


def steps(relay: "Client", found: "Recovery", pause: Callable[[float], None]) -> "Iterator[Recovery]":
    """A recovery, once more whenever it has got further, until it has ended."""
    yield found
    while found.state == "running":
        pause(poll_seconds)
        before, found = found, relay.recoveries.get(found.id)
        if (found.state, found.sent, found.skipped) != (before.state, before.sent, before.skipped):
            yield found


def watch(going: "Iterable[Recovery]", id: str, console: Console, as_json: bool) -> None:
    """Show how far it gets. Ctrl-C ends the watching, not the recovery."""
    try:
        if console.is_terminal and not as_json:
            _draw(going, id, console)
        else:
            _show_all(going, as_json)
    except KeyboardInterrupt:
        show.hint(f"It goes on without you. To watch it: tocsin recoveries watch {id}")
        show.hint(f"To end it: tocsin recoveries cancel {id}")
        raise typer.Exit(130) from None


def _draw(going: "Iterable[Recovery]", id: str, console: Console) -> None:
    """A bar that grows, with what it has come to."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(id, told="")
        for found in going:
            bar.update(task, total=found.total, completed=found.sent + found.skipped, told=_progress(found))


def _show_all(going: "Iterable[Recovery]", as_json: bool) -> None:
    for found in going:
        if as_json:
            show.json_line(found)
        else:
            show.out.print(f"{found.id}  {found.state}  {_progress(found)}", markup=False)


def _progress(found: "Recovery") -> str:
    """How far a recovery has got."""
    if not found.total:
        return "there was nothing to send again"
    passed_by = f", {found.skipped} skipped" if found.skipped else ""
    return f"{found.sent} of {found.total} sent again{passed_by}"
