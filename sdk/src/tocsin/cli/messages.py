"""What you have to say."""

from itertools import islice
from typing import Annotated

import typer

from tocsin.cli import show
from tocsin.cli.inputs import json_value
from tocsin.cli.session import AsJson, client

messages = typer.Typer(no_args_is_help=True, help="What you have to say.")


@messages.command("publish")
def publish(
    type: Annotated[str, typer.Argument(help="A type of your own, such as order.paid.")],
    data: Annotated[str, typer.Argument(help="JSON, or @FILE.")] = "null",
    to: Annotated[
        list[str] | None, typer.Option(help="An endpoint or an agent; several times for several. Default: your own.")
    ] = None,
    order_key: Annotated[
        str | None, typer.Option(help="An endpoint gets messages of one key one after the other.")
    ] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(help="Publish it once, however often you say so with this key; for a day.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Publish a message to the endpoints that take it.

    tocsin messages publish order.paid '{"order": "o-1042"}' --idempotency-key o-1042
    """
    said = json_value(data, "DATA")
    with client() as relay:
        published = relay.messages.publish(type, said, to or None, order_key, idempotency_key=idempotency_key)
    if as_json:
        return show.json_line(published)
    show.members(published.model_dump(mode="json", exclude={"deliveries"}))
    show.out.print()
    show.table(published.deliveries, ("id", "endpoint_id"), empty="No endpoint takes it: tocsin endpoints ls")
    return None


@messages.command("ls")
def list_messages(
    type: Annotated[str | None, typer.Option(help="Only those of this type.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List what you have published, newest first."""
    with client() as relay:
        found = islice(relay.messages.list(type), limit)
        show.table(found, ("id", "type", "order_key", "created_at"), as_json, "No messages: tocsin messages publish")


@messages.command("show")
def show_message(id: Annotated[str, typer.Argument(help="msg_…")], as_json: AsJson = False) -> None:
    """Show a message, and how many of its deliveries are in which state."""
    with client() as relay:
        show.record(relay.messages.get(id), as_json)
