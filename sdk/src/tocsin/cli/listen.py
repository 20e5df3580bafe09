"""A local receiver that shows each ring as it comes in."""

import queue
import signal
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.markup import escape

from tocsin.cli import show
from tocsin.cli.agents import ensure_key, ensure_registered
from tocsin.cli.inputs import duration
from tocsin.cli.session import AsJson, client
from tocsin.listen import Heard, Receiver, Trust
from tocsin.problems import Problem
from tocsin.webhooks import Ring, new_secret, parse_secret

if TYPE_CHECKING:
    from tocsin.client import Client

silence_seconds_max = 5


def listen(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any free one.")] = 0,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    url: Annotated[
        str | None, typer.Option("--public-url", help="How the relay reaches this, behind a tunnel or proxy.")
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="Listen for this existing endpoint instead of registering one; with --secret.")
    ] = None,
    secret: Annotated[
        str | None, typer.Option(envvar="TOCSIN_WEBHOOK_SECRET", help="The endpoint's whsec_ secret.")
    ] = None,
    every: Annotated[
        str | None, typer.Option(help="Register a schedule as well that rings here so often, such as 2s or PT2S.")
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave endpoint and schedule registered when this ends.")
    ] = False,
    subscription: Annotated[
        str | None,
        typer.Option(help="Listen to this subscription (sub_…) instead: its events in order, read and not rung."),
    ] = None,
    after: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="SEQ",
            help="With --subscription: begin after the entry of this number; default: all there is.",
        ),
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="End after so many rings, challenges not counted.")] = None,
    as_json: AsJson = False,
) -> None:
    """Receive rings here: answer the challenge, verify each by v1 and v1a, and show it. Ctrl-C ends it.

    Registers an endpoint for as long as it runs, and you as well if need be.

    The relay must be able to reach this machine, and be allowed to: one that `tocsin up` started may call loopback.
    """
    if subscription is not None:
        if url or endpoint or every or keep or port:
            raise typer.BadParameter(
                "with --subscription nothing is rung here: leave out what an endpoint is made with"
            )
        _follow(subscription, after, count, as_json)
        return
    if after is not None:
        raise typer.BadParameter("rings come as they come: --after is for --subscription", param_hint="--after")
    if endpoint is not None and secret is None:
        raise typer.BadParameter("an existing endpoint has a secret, which the relay does not show again")
    _receive(_Wanted(url, endpoint, _checked(secret or new_secret()), every, keep), host, port, count, as_json)


@dataclass(frozen=True)
class _Wanted:
    """What is to be rung here."""

    url: str | None
    endpoint: str | None
    """One that exists; None: one that is registered for this."""
    secret: str
    every: str | None
    keep: bool


def _receive(wanted: _Wanted, host: str, port: int, count: int | None, as_json: bool) -> None:
    """Show what comes in, and delete on the way out what was registered for it."""
    heard: queue.SimpleQueue[Heard] = queue.SimpleQueue()
    ensure_key()
    with (
        _interruptible(),
        client() as relay,
        Receiver(heard.put, host=host, port=port) as receiver,
        ExitStack() as leaving,
    ):
        mine = _set_up(relay, receiver, wanted, None if wanted.keep else leaving)
        # Ctrl-C is how this ends.
        with suppress(KeyboardInterrupt):
            _explain_silence(heard, relay, mine)
            _show_all(heard, count, as_json)


def _set_up(relay: "Client", receiver: Receiver, wanted: _Wanted, deleting: ExitStack | None) -> str:
    """Have the relay ring here, and know its keys. Returns the endpoint's id."""
    ensure_registered(relay)
    keys, url = relay.webhook_keys(), wanted.url or receiver.url
    mine = wanted.endpoint or _register(relay, url, wanted.secret, deleting)
    receiver.trust(Trust(wanted.secret, keys, mine))
    show.hint(f"Listening on {url} as {mine}. Ctrl-C ends it.")
    if wanted.every is not None:
        _schedule(relay, mine, wanted.every, deleting)
    return mine


def _follow(subscription_id: str, after: int | None, count: int | None, as_json: bool) -> None:
    """Show a subscription's entries in order, from where it joined its feed or later, while they hang together."""
    from tocsin.client import BrokenSequence

    with _interruptible(), client() as relay, suppress(KeyboardInterrupt):
        try:
            for number, entry in enumerate(relay.subscriptions.follow(subscription_id, after), 1):
                if as_json:
                    show.json_line({"seq": entry.seq, "type": entry.type, "data": entry.data})
                else:
                    show.out.print(f"{entry.seq}  [bold]{escape(entry.type)}[/bold]  [green]✓ follows[/green]")
                    show.members(dict(entry.data), indent="  ")
                if number == count:
                    return
        except BrokenSequence as broken:
            show.failure(f"the sequence does not hold: {broken}")
            raise typer.Exit(1) from broken


def _explain_silence(heard: "queue.SimpleQueue[Heard]", relay: "Client", endpoint_id: str) -> None:
    """Wait for the first request; if none comes, say what the relay says about the endpoint."""
    try:
        heard.put(heard.get(timeout=silence_seconds_max))
    except queue.Empty:
        found = relay.endpoints.get(endpoint_id)
        if found.state != "active":
            reason = found.state_reason or "the relay has not been able to reach it yet"
            show.hint(f"Nothing has come in: {endpoint_id} is {found.state}: {reason}")


def _register(relay: "Client", url: str, secret: str, deleting: ExitStack | None) -> str:
    """An endpoint for what comes in here, which is deleted with the rest."""
    id = relay.endpoints.create(url, "tocsin listen", secret).id
    if deleting is not None:
        deleting.callback(_delete, relay.endpoints.delete, id)
    return id


def _schedule(relay: "Client", endpoint_id: str, every: str, deleting: ExitStack | None) -> None:
    """A schedule that rings the endpoint so often, and is deleted with the rest."""
    from tocsin.schemas.schedules import NewSchedule

    new = NewSchedule(spec={"every": duration(every)}, endpoint_id=endpoint_id, name="tocsin listen")
    id = relay.schedules.create(new).id
    if deleting is not None:
        deleting.callback(_delete, relay.schedules.delete, id)


def _delete(delete: Callable[[str], None], id: str) -> None:
    from tocsin.client import ClientError

    try:
        delete(id)
        show.hint(f"{id} is deleted again.")
    except (ClientError, Problem) as error:
        show.hint(f"{id} could not be deleted: {error}")


def _show_all(heard: "queue.SimpleQueue[Heard]", count: int | None, as_json: bool) -> None:
    """Show rings until there were enough of them."""
    seen: set[str] = set()
    while count is None or len(seen) < count:
        one = heard.get()
        if as_json:
            show.json_line(_plain(one))
        elif one.ring is None:
            show.failure(f"{_clock(one.at)}  refused: {one.refusal}")
        else:
            _show(one.ring, one.at, again=one.ring.id in seen)
        if one.ring and one.ring.challenge is None:
            seen.add(one.ring.id)


def _show(ring: Ring, at: datetime, again: bool) -> None:
    proofs = " ".join(f"[green]✓ {proof}[/green]" for proof in ring.verified)
    notes = [note for note in ("again" if again else "", _lateness(ring, at)) if note]
    remark = f"  [dim]{', '.join(notes)}[/dim]" if notes else ""
    show.out.print(f"{_clock(at)}  [bold]{escape(ring.type)}[/bold]  {proofs}{remark}")
    if ring.challenge is not None:
        show.out.print("  [dim]challenge answered: this endpoint wants to be rung[/dim]")
        return
    data: Any = ring.data
    show.members(cast(dict[str, Any], data) if isinstance(data, dict) else {"data": data}, indent="  ")


def _lateness(ring: Ring, at: datetime) -> str:
    """How long after its nominal time a fire arrived."""
    data: Any = ring.data
    try:
        scheduled = datetime.fromisoformat(data["scheduled_at"])
    except (KeyError, TypeError, ValueError):
        return ""
    return f"{(at - scheduled).total_seconds() * 1000:.0f} ms after its time"


def _plain(one: Heard) -> dict[str, Any]:
    if one.ring is None:
        return {"refused": str(one.refusal)}
    ring = one.ring
    return {"id": ring.id, "type": ring.type, "verified": list(ring.verified), "data": ring.data}


def _clock(at: datetime) -> str:
    return f"[dim]{at.astimezone():%H:%M:%S}.{at.microsecond // 1000:03d}[/dim]"


def _checked(secret: str) -> str:
    try:
        parse_secret(secret)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--secret") from None
    return secret


@contextmanager
def _interruptible() -> Generator[None]:
    """Let SIGTERM end this as Ctrl-C does, so that the endpoint is deleted."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
