"""A local receiver that shows each ring as it comes in."""

import json
import queue
import signal
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.markup import escape

from tocsin.cli import show
from tocsin.cli.session import AsJson, client
from tocsin.listen import Heard, Receiver, Trust
from tocsin.webhooks import Ring, new_secret, parse_secret


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
    keep: Annotated[bool, typer.Option("--keep", help="Leave the endpoint registered when this ends.")] = False,
    count: Annotated[int | None, typer.Option(min=1, help="End after so many rings, challenges not counted.")] = None,
    as_json: AsJson = False,
) -> None:
    """Receive rings here: answer the challenge, verify each by v1 and v1a, and show it. Ctrl-C ends it.

    Registers an endpoint for as long as it runs. The relay must be able to reach this machine, and be allowed to: a
    relay started by `tocsin up` may call loopback addresses.
    """
    heard: queue.SimpleQueue[Heard] = queue.SimpleQueue()
    with _interruptible(), client() as relay, Receiver(heard.put, host=host, port=port) as receiver:
        secret = _checked(secret or new_secret())
        keys = relay.webhook_keys()
        mine = endpoint or relay.endpoints.create(url or receiver.url, "tocsin listen", secret).id
        receiver.trust(Trust(secret, keys, mine))
        show.hint(f"Listening on {url or receiver.url} as {mine}. Ctrl-C ends it.")
        try:
            _show_all(heard, count, as_json)
        except KeyboardInterrupt:
            pass
        finally:
            if endpoint is None and not keep:
                relay.endpoints.delete(mine)
                show.hint(f"{mine} is deleted again.")


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
    for line in json.dumps(ring.data, indent=2, ensure_ascii=False).splitlines():
        show.out.print(f"  [dim]{escape(line)}[/dim]")


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
