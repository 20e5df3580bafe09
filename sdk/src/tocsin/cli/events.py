"""What happened."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Annotated

import typer

from tocsin.cli import show
from tocsin.cli.inputs import past
from tocsin.cli.session import AsJson, client

if TYPE_CHECKING:
    from tocsin.client import Client
    from tocsin.schemas.events import Event

poll_seconds = 1.0

_COLUMNS = ("seq", "at", "kind", "subject", "data")


def events(
    kind: Annotated[str | None, typer.Option(help="Only of this kind, such as schedule.created.")] = None,
    subject: Annotated[str | None, typer.Option(help="Only about this id.")] = None,
    since: Annotated[
        str | None,
        typer.Option(help="Only what happened then or later: 10m, 2h, 1d or 2027-01-01T00:00:00Z.", metavar="INSTANT"),
    ] = None,
    after: Annotated[
        int | None,
        typer.Option(min=0, metavar="SEQ", help="Go on after the event of this number, the oldest first."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most; with --follow, of what has happened.")] = 50,
    following: Annotated[
        bool, typer.Option("--follow", "-f", help="In the order it happened, and then what happens, as it does.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List what happened to your things, newest first. What a subscription was told: `tocsin subscriptions events`.

    tocsin events --since 2h

    tocsin events --follow --kind fire.skipped
    """
    begins = None if since is None else past(since, "--since", datetime.now(UTC))
    if begins is not None and after is not None:
        raise typer.BadParameter("a list begins at one place: leave --since or --after out")
    with client() as relay:
        journal = Journal(relay, kind, subject)
        if following:
            _show_each(followed(journal, after, begins, limit, show.pause), as_json)
        else:
            found = journal.since(begins) if after is None else journal.after(after)
            nothing = "Nothing has happened yet." if (kind, subject, since, after) == (None,) * 4 else "Nothing."
            show.table(islice(found, limit), _COLUMNS, as_json, nothing)


@dataclass(frozen=True)
class Journal:
    """What happened, of one kind and to one thing where these are named."""

    relay: "Client"
    kind: str | None
    subject: str | None

    def after(self, seq: int) -> "Iterator[Event]":
        """What came after the event of this number, oldest first."""
        return self.relay.events.list(self.kind, self.subject, seq)

    def since(self, begins: datetime | None) -> "Iterator[Event]":
        """What happened since then, newest first: read backwards, so that no more is read than is shown."""
        newest = self.relay.events.list(self.kind, self.subject, order="newest")
        return takewhile(lambda event: begins is None or event.at >= begins, newest)

    def end(self) -> int:
        """The number of the newest event of all; 0 before the first."""
        return next((event.seq for event in self.relay.events.list(order="newest")), 0)


def followed(
    journal: Journal, after: int | None, begins: datetime | None, limit: int, pause: Callable[[float], None]
) -> "Iterator[Event]":
    """What has happened, in order and at most so many unless it is said after which, and then what happens."""
    if after is None:
        # Asked for first: what happens in between is in the list, or comes after it.
        after = journal.end()
        told = list(islice(journal.since(begins), limit))
        yield from reversed(told)
        after = max([after, *(event.seq for event in told)])
    while True:
        for event in journal.after(after):
            after = event.seq
            yield event
        pause(poll_seconds)


def _show_each(found: "Iterable[Event]", as_json: bool) -> None:
    for event in found:
        if as_json:
            show.json_line(event)
        else:
            show.line(event, _COLUMNS)
