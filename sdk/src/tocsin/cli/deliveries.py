"""What is under way to you."""

from itertools import islice
from typing import Annotated, Literal

import typer

from tocsin.cli import show
from tocsin.cli.session import AsJson, client

deliveries = typer.Typer(no_args_is_help=True, help="What is under way to you.")

DeliveryId = Annotated[str, typer.Argument(help="dlv_…")]


@deliveries.command("ls")
def list_deliveries(
    state: Annotated[
        Literal["pending", "delivered", "failed", "cancelled"] | None, typer.Option(help="Only those in this state.")
    ] = None,
    endpoint: Annotated[str | None, typer.Option(help="Only those to this endpoint.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List deliveries, newest first."""
    with client() as relay:
        found = islice(relay.deliveries.list(state, endpoint), limit)
        columns = ("id", "type", "state", "attempts", "last_status", "last_error", "created_at")
        show.table(found, columns, as_json, "No deliveries.")


@deliveries.command("show")
def show_delivery(id: DeliveryId, as_json: AsJson = False) -> None:
    """Show a delivery with its message and attempts."""
    with client() as relay:
        show.record(relay.deliveries.get(id), as_json)


@deliveries.command("redeliver")
def redeliver(id: DeliveryId, as_json: AsJson = False) -> None:
    """Attempt a delivery again, with the same webhook-id."""
    with client() as relay:
        show.record(relay.deliveries.redeliver(id), as_json)
