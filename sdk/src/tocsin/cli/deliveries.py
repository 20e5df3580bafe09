"""What is under way to you, has arrived, or has not."""

from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tocsin.cli import show
from tocsin.cli.inputs import Yes, past, require_yes
from tocsin.cli.recoveries import Rate, Wait, follow
from tocsin.cli.session import AsJson, client

if TYPE_CHECKING:
    from tocsin.schemas.deliveries import Attempt, Delivery, DeliveryDetail

deliveries = typer.Typer(no_args_is_help=True, help="What is under way to you, has arrived, or has not.")

DeliveryId = Annotated[str, typer.Argument(help="dlv_…")]
Since = Annotated[
    str | None,
    typer.Option(help="What was sent then or later: 2027-01-01T00:00:00Z, 2027-01-01, or 1d.", metavar="INSTANT"),
]
Until = Annotated[str | None, typer.Option(help="What was sent before then; default: now.", metavar="INSTANT")]
OfType = Annotated[str | None, typer.Option("--type", help="Only messages of this type.")]

_PHASES = ("lookup_ms", "connect_ms", "tls_ms", "wait_ms", "read_ms")


@deliveries.command("ls")
def list_deliveries(
    state: Annotated[
        list[str] | None,
        typer.Option(help="Only those that are pending, delivered, failed or cancelled; may be given again."),
    ] = None,
    undelivered: Annotated[
        bool, typer.Option("--undelivered", help="Only what has not arrived: pending, failed or cancelled.")
    ] = False,
    endpoint: Annotated[str | None, typer.Option(help="Only those to this endpoint.")] = None,
    type: OfType = None,
    subject: Annotated[str | None, typer.Option(help="Only what is about this, such as a fire.")] = None,
    message: Annotated[str | None, typer.Option(help="Only those of this message.")] = None,
    order_key: Annotated[str | None, typer.Option(help="Only those with this order key.")] = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List deliveries, newest first: what came of the last attempt, when the next is, and what holds or ended it.

    tocsin deliveries ls --undelivered --since 1d
    """
    now = datetime.now(UTC)
    with client() as relay:
        found = relay.deliveries.list(
            ",".join(state) if state else None,
            endpoint,
            undelivered=undelivered,
            type=type,
            subject=subject,
            message=message,
            order_key=order_key,
            since=instant(since, "--since", now),
            until=instant(until, "--until", now),
        )
        _list(islice(found, limit), as_json)


@deliveries.command("show")
def show_delivery(id: DeliveryId, as_json: AsJson = False) -> None:
    """Show a delivery with its message and attempts."""
    with client() as relay:
        _show(relay.deliveries.get(id), as_json)


@deliveries.command("redeliver")
def redeliver(id: DeliveryId, as_json: AsJson = False) -> None:
    """Attempt a delivery again, with the same webhook-id."""
    with client() as relay:
        show.record(relay.deliveries.redeliver(id), as_json)


@deliveries.command("cancel")
def cancel(id: DeliveryId, as_json: AsJson = False) -> None:
    """Let a delivery that is on its way end here."""
    with client() as relay:
        show.record(relay.deliveries.cancel(id), as_json)


@deliveries.command("expunge")
def expunge(id: DeliveryId, yes: Yes = False, as_json: AsJson = False) -> None:
    """Remove the payload of a delivery's message for good, for all deliveries of that message.

    This cannot be undone: nobody can send it again, and what is still on its way is cancelled. Asks first.
    """
    require_yes(yes, f"What {id} carries will be gone for good, for every delivery of its message")
    with client() as relay:
        _show(relay.deliveries.expunge(id), as_json)


@deliveries.command("redrive")
def redrive(
    endpoint: Annotated[str | None, typer.Option(help="Only those to this endpoint; default: all of yours.")] = None,
    type: OfType = None,
    since: Since = None,
    until: Until = None,
    rate: Rate = 50,
    wait: Wait = True,
    as_json: AsJson = False,
) -> None:
    """Send again what has failed for good, at a measured pace and with the same webhook-ids."""
    now = datetime.now(UTC)
    with client() as relay:
        begun = relay.deliveries.redrive(
            endpoint, type, instant(since, "--since", now), instant(until, "--until", now), rate
        )
        follow(relay, begun, as_json, wait=wait)


def instant(text: str | None, option: str, now: datetime) -> datetime | None:
    """An instant that was typed, or how long ago it was."""
    return None if text is None else past(text, option, now)


def _list(found: "Iterable[Delivery]", as_json: bool) -> None:
    if as_json:
        return show.json_lines(found)
    columns = ("id", "endpoint_id", "type", "state", "attempts", "last", "created_at", "next", "why")
    return show.rows(columns, map(_row, found), "No deliveries.")


def _row(one: "Delivery") -> list[str]:
    waits = "waits for its endpoint" if one.waits_for == "endpoint" else "waits for an earlier one"
    return [
        *(one.id, one.endpoint_id, one.type, one.state, str(one.attempts)),
        _or_dash(one.last_error or one.last_status),
        show.local(one.created_at),
        show.local(one.next_attempt_at) if one.next_attempt_at else "-",
        show.typed(one.reason or (waits if one.waits_for else "-")),
    ]


def _show(found: "DeliveryDetail", as_json: bool) -> None:
    if as_json:
        return show.json_line(found)
    show.members(found.model_dump(mode="json", exclude_none=True, exclude={"history"}))
    show.out.print()
    columns = ("attempt", "at", "status", "error", "took", "of which", "next", "answer")
    show.rows(columns, [_cells(attempt) for attempt in found.history], "No attempt is on record.")
    return None


def _cells(attempt: "Attempt") -> list[str]:
    phases = (f"{name.removesuffix('_ms')} {getattr(attempt, name)}" for name in _PHASES if _is_known(attempt, name))
    return [
        str(attempt.number),
        show.local(attempt.started_at),
        _or_dash(attempt.status),
        _or_dash(attempt.error),
        f"{attempt.duration_ms} ms",
        ", ".join(phases) or "-",
        show.local(attempt.next_attempt_at) if attempt.next_attempt_at else "-",
        (attempt.response_excerpt or "-").splitlines()[0][:60],
    ]


def _is_known(attempt: "Attempt", name: str) -> bool:
    return getattr(attempt, name) is not None


def _or_dash(value: Any) -> str:
    return "-" if value is None else str(value)
