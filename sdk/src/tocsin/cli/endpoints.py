"""Where you are rung."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, cast

import typer

from tocsin.cli import show
from tocsin.cli.inputs import json_value, past
from tocsin.cli.recoveries import Rate, Wait, follow
from tocsin.cli.session import AsJson, client

if TYPE_CHECKING:
    from tocsin.schemas.recoveries import RecoverableState

endpoints = typer.Typer(no_args_is_help=True, help="Where you are rung.")

EndpointId = Annotated[str, typer.Argument(help="ep_…")]


@endpoints.command("add")
def add_endpoint(
    url: Annotated[str, typer.Argument(help="https URL that the relay posts to.")],
    description: Annotated[str | None, typer.Option(help="For people.")] = None,
    secret: Annotated[
        str | None, typer.Option(help="Your own whsec_ secret; one is made for you if you give none.")
    ] = None,
    type: Annotated[
        list[str] | None, typer.Option(help="Published messages that it takes: order.paid, order.*; several times.")
    ] = None,
    filter: Annotated[str | None, typer.Option(help="What their data must be, as JSON or @FILE.")] = None,
    sender: Annotated[
        list[str] | None, typer.Option(help="An agent besides yourself that may publish to it; several times.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Register an endpoint. Prints its webhook secret, which the relay shows only this once."""
    wanted = None if filter is None else json_value(filter, "--filter")
    with client() as relay:
        created = relay.endpoints.create(
            url, description, secret, types=type or None, filter=wanted, senders=sender or None
        )
        show.record(created, as_json)


@endpoints.command("ls")
def list_endpoints(as_json: AsJson = False) -> None:
    """List your endpoints."""
    with client() as relay:
        found = relay.endpoints.list()
        show.table(found, ("id", "state", "url", "description"), as_json, "No endpoints: tocsin endpoints add URL")


@endpoints.command("show")
def show_endpoint(id: EndpointId, as_json: AsJson = False) -> None:
    """Show one endpoint."""
    with client() as relay:
        show.record(relay.endpoints.get(id), as_json)


@endpoints.command("verify")
def verify_endpoint(id: EndpointId, as_json: AsJson = False) -> None:
    """Have the verification challenge sent again, now."""
    with client() as relay:
        show.record(relay.endpoints.verify(id), as_json)


@endpoints.command("pause")
def pause_endpoint(id: EndpointId, as_json: AsJson = False) -> None:
    """Have nothing sent to an endpoint until you resume it; what is sent meanwhile is kept."""
    with client() as relay:
        show.record(relay.endpoints.pause(id), as_json)


@endpoints.command("resume")
def resume_endpoint(id: EndpointId, as_json: AsJson = False) -> None:
    """Take a paused endpoint up again, with what has been kept for it."""
    with client() as relay:
        show.record(relay.endpoints.resume(id), as_json)


@endpoints.command("enable")
def enable_endpoint(id: EndpointId, as_json: AsJson = False) -> None:
    """Take a disabled endpoint up again; it is challenged first."""
    with client() as relay:
        show.record(relay.endpoints.enable(id), as_json)


@endpoints.command("test")
def ring_endpoint(id: EndpointId, as_json: AsJson = False) -> None:
    """Ring an endpoint once, as a test."""
    with client() as relay:
        show.record(relay.endpoints.test(id), as_json)


@endpoints.command("stats")
def show_stats(id: EndpointId, as_json: AsJson = False) -> None:
    """Show how an endpoint does: what became of what was sent to it, what waits, and since when it fails."""
    with client() as relay:
        show.record(relay.endpoints.stats(id), as_json)


@endpoints.command("recover")
def recover_endpoint(
    id: EndpointId,
    since: Annotated[
        str, typer.Option(help="What was sent then or later: 2027-01-01T00:00:00Z, or 2h.", metavar="INSTANT")
    ],
    until: Annotated[
        str | None, typer.Option(help="What was sent before then; default: now.", metavar="INSTANT")
    ] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(help="What is failed, cancelled or delivered; may be given again. Default: failed and cancelled."),
    ] = None,
    type: Annotated[str | None, typer.Option("--type", help="Only messages of this type.")] = None,
    rate: Rate = 50,
    wait: Wait = True,
    as_json: AsJson = False,
) -> None:
    """Send again what was sent to an endpoint and did not arrive, at a measured pace and with the same webhook-ids.

    tocsin endpoints recover ep_… --since 2h
    """
    now = datetime.now(UTC)
    end = None if until is None else past(until, "--until", now)
    states = cast("list[RecoverableState]", state or ["failed", "cancelled"])  # what is none of these is refused
    with client() as relay:
        begun = relay.endpoints.recover(id, past(since, "--since", now), end, states, type, rate)
        follow(relay, begun, as_json, wait=wait)


@endpoints.command("rm")
def remove_endpoint(id: EndpointId) -> None:
    """Delete an endpoint; what is still under way to it is cancelled."""
    with client() as relay:
        relay.endpoints.delete(id)
    show.done(f"{id} is deleted")
