"""Where you are rung."""

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from tocsin.cli import show
from tocsin.cli.inputs import Yes, json_value, past, require_yes, span
from tocsin.cli.recoveries import Rate as RecoveryRate
from tocsin.cli.recoveries import Wait, follow
from tocsin.cli.session import AsJson, client

if TYPE_CHECKING:
    from tocsin.schemas.recoveries import RecoverableState

endpoints = typer.Typer(no_args_is_help=True, help="Where you are rung.")

_OVERLAP_SECONDS_MAX = 7 * 86_400
_RETRY_MAX = timedelta(days=1)
_TIMEOUT_MAX = timedelta(seconds=30)

EndpointId = Annotated[str, typer.Argument(help="ep_…")]


Description = Annotated[str | None, typer.Option(help="For people.")]
Types = Annotated[
    list[str] | None,
    typer.Option("--type", help="Published messages that it takes: order.paid, order.*; several times."),
]
Filter = Annotated[str | None, typer.Option("--filter", help="What their data must be, as JSON or @FILE.")]
Senders = Annotated[
    list[str] | None,
    typer.Option("--sender", help="An agent besides yourself that may publish to it; several times."),
]
Headers = Annotated[
    list[str] | None, typer.Option("--header", help="Sent along with every ring, as 'Name: value'; several times.")
]
MaxInFlight = Annotated[int | None, typer.Option(min=1, max=100, help="Rings at a time, at most.")]
Rate = Annotated[float | None, typer.Option("--rate", min=0.01, max=1000, help="Rings a second, at most.")]
Retries = Annotated[
    list[str] | None,
    typer.Option(
        "--retry", metavar="SPAN", help="The wait before the second attempt, then the third: 5s; several times."
    ),
]
Timeout = Annotated[str | None, typer.Option("--timeout", metavar="SPAN", help="How long it may take to answer: 5s.")]
Removed = Annotated[
    list[str] | None,
    typer.Option(metavar="OPTION", help="Take an option's value away again: filter, rate. May be repeated."),
]


@endpoints.command("add")
def add_endpoint(
    url: Annotated[str, typer.Argument(help="https URL that the relay posts to.")],
    description: Description = None,
    secret: Annotated[
        str | None, typer.Option(help="Your own whsec_ secret; one is made for you if you give none.")
    ] = None,
    types: Types = None,
    filter: Filter = None,
    senders: Senders = None,
    headers: Headers = None,
    max_in_flight: MaxInFlight = None,
    rate: Rate = None,
    retries: Retries = None,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Register an endpoint. Prints its webhook secret, which the relay shows only this once."""
    said = _said(description, types, filter, senders, headers, max_in_flight, rate, retries, timeout)
    with client() as relay:
        show.record(relay.endpoints.create(url, secret=secret, **said), as_json)


@endpoints.command("change")
def change_endpoint(
    id: EndpointId,
    url: Annotated[str | None, typer.Option(help="Another URL, which has to be verified again.")] = None,
    description: Description = None,
    types: Types = None,
    filter: Filter = None,
    senders: Senders = None,
    headers: Headers = None,
    max_in_flight: MaxInFlight = None,
    rate: Rate = None,
    retries: Retries = None,
    timeout: Timeout = None,
    remove: Removed = None,
    as_json: AsJson = False,
) -> None:
    """Change what you say, and leave the rest of an endpoint as it is.

    tocsin endpoints change ep_… --type 'order.*' --rate 20 --remove filter
    """
    from tocsin.schemas.endpoints import PatchEndpoint

    said = _said(description, types, filter, senders, headers, max_in_flight, rate, retries, timeout)
    if url is not None:
        said["url"] = url
    for option in remove or ():
        if option.removeprefix("--") not in _MEMBERS:
            raise typer.BadParameter(f"one of {', '.join(_MEMBERS)}, not {option!r}", param_hint="--remove")
        said[_MEMBERS[option.removeprefix("--")]] = None
    if not said:
        raise typer.BadParameter("say what to change: tocsin endpoints change --help")
    with client() as relay:
        show.record(relay.endpoints.change(id, PatchEndpoint(**said)), as_json)


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


@endpoints.command("rotate-secret")
def rotate_endpoint_secret(
    id: EndpointId,
    overlap: Annotated[str, typer.Option(help="How long the secret before signs, too: 1d, 12h, 30m, or 0.")] = "1d",
    secret: Annotated[str | None, typer.Option(help="Your own new whsec_ secret.")] = None,
    as_json: AsJson = False,
) -> None:
    """Give an endpoint a new webhook secret. Prints it, which the relay does only this once."""
    seconds = _seconds(overlap)
    with client() as relay:
        show.record(relay.endpoints.rotate_secret(id, secret, seconds), as_json)


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
        str,
        typer.Option(help="What was sent then or later: 2027-01-01T00:00:00Z, 2027-01-01, or 2h.", metavar="INSTANT"),
    ],
    until: Annotated[
        str | None, typer.Option(help="What was sent before then; default: now.", metavar="INSTANT")
    ] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(help="What is failed, cancelled or delivered; may be given again. Default: failed and cancelled."),
    ] = None,
    type: Annotated[str | None, typer.Option("--type", help="Only messages of this type.")] = None,
    rate: RecoveryRate = 50,
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
def remove_endpoint(id: EndpointId, yes: Yes = False) -> None:
    """Delete an endpoint; what is still under way to it is cancelled.

    This cannot be undone: its secret is gone, and what has not reached it cannot be sent to it again. Asks first.
    """
    require_yes(yes, f"{id} will be gone for good, and what is still under way to it cancelled")
    with client() as relay:
        relay.endpoints.delete(id)
    show.done(f"{id} is deleted")


_MEMBERS = {
    "description": "description",
    "type": "types",
    "filter": "filter",
    "sender": "senders",
    "header": "headers",
    "max-in-flight": "max_in_flight",
    "rate": "rate_per_second",
    "retry": "retry_seconds",
    "timeout": "timeout_seconds",
}
"""What the options of an endpoint are called on the wire."""


def _said(
    description: str | None,
    types: list[str] | None,
    filter: str | None,
    senders: list[str] | None,
    headers: list[str] | None,
    max_in_flight: int | None,
    rate: float | None,
    retries: list[str] | None,
    timeout: str | None,
) -> dict[str, Any]:
    """What was said of an endpoint, by its names on the wire; the rest was not mentioned."""
    said = {
        "description": description,
        "types": types or None,
        "filter": None if filter is None else json_value(filter, "--filter"),
        "senders": senders or None,
        "headers": dict(map(_header, headers or ())) or None,
        "max_in_flight": max_in_flight,
        "rate_per_second": rate,
        "retry_seconds": [int(span(text, "--retry", _RETRY_MAX).total_seconds()) for text in retries or ()] or None,
        "timeout_seconds": None if timeout is None else span(timeout, "--timeout", _TIMEOUT_MAX).total_seconds(),
    }
    return {name: value for name, value in said.items() if value is not None}


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise typer.BadParameter(f"{name.strip() or 'it'} has no value: write 'Name: value'", param_hint="--header")
    return name.strip(), value.strip()


def _seconds(text: str) -> int:
    match = re.fullmatch(r"([0-9]{1,6})([smhd]?)", text.strip())
    if match is None:
        raise typer.BadParameter("write a number and a unit, such as 1d, 12h, 30m or 0", param_hint="--overlap")
    seconds = int(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}[match[2]]
    if seconds > _OVERLAP_SECONDS_MAX:
        raise typer.BadParameter(f"7d at most, not {text}", param_hint="--overlap")
    return seconds
