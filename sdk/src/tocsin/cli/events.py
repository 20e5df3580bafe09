"""What happened."""

from itertools import islice
from typing import Annotated

import typer

from tocsin.cli import show
from tocsin.cli.session import AsJson, client


def events(
    kind: Annotated[str | None, typer.Option(help="Only of this kind, such as schedule.created.")] = None,
    subject: Annotated[str | None, typer.Option(help="Only about this id.")] = None,
    after: Annotated[
        int | None, typer.Option(min=0, metavar="SEQ", help="Only what came after the event of this number.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List what happened to your things, oldest first. What a subscription was told: `tocsin subscriptions events`.

    tocsin events --after 1200
    """
    with client() as relay:
        found = islice(relay.events.list(kind, subject, after), limit)
        show.table(found, ("seq", "at", "kind", "subject", "data"), as_json, "Nothing has happened yet.")
