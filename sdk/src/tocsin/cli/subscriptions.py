"""What you want to hear of."""

from typing import Annotated, Any

import typer

from tocsin.cli import show
from tocsin.cli.inputs import EndpointOption, chosen_endpoint, span
from tocsin.cli.session import AsJson, client

subscribe = typer.Typer(no_args_is_help=True, help="Subscribe to a chain, to the web, or to other services' webhooks.")
subscriptions = typer.Typer(no_args_is_help=True, help="What you are subscribed to.")

SubscriptionId = Annotated[str, typer.Argument(help="sub_…")]
Pull = Annotated[bool, typer.Option("--pull", help="Ring no endpoint; the events are kept to be read.")]
Description = Annotated[str | None, typer.Option(help="For people.")]

poll_seconds = 20


@subscribe.command("logs")
def subscribe_logs(
    chain: Annotated[str, typer.Option(help="CAIP-2 id, such as eip155:8453 for Base.")],
    address: Annotated[list[str] | None, typer.Option(help="A contract; may be repeated: any of them.")] = None,
    topic: Annotated[
        list[str] | None, typer.Option(help="Topics by position; '-' for anything, a,b for any of several.")
    ] = None,
    finality: Annotated[
        str, typer.Option(help="When an event is told: latest, safe, finalized or confirmations:n.")
    ] = "latest",
    batch: Annotated[bool, typer.Option("--batch", help="One ring for all events of a block.")] = False,
    heartbeat_blocks: Annotated[
        int | None, typer.Option(help="After so many blocks without an event, hear that.")
    ] = None,
    from_block: Annotated[int | None, typer.Option(help="Hear the past, too, from this block on.")] = None,
    endpoint: EndpointOption = None,
    pull: Pull = False,
    description: Description = None,
    as_json: AsJson = False,
) -> None:
    """Hear of logs of contracts on an EVM chain, and of their retraction when the chain reorganises.

    tocsin subscribe logs --chain eip155:8453 --address 0x8335…2913 --topic 0xddf2…b3ef
    """
    source = {"kind": "evm.log", "chain": chain, "address": address or None, "topics": _topics(topic)}
    source["finality"] = finality
    how = {"batch": "block" if batch else None, "heartbeat_blocks": heartbeat_blocks, "from_block": from_block}
    _subscribe(source, endpoint, pull, description, as_json, **how)


@subscribe.command("json")
def subscribe_json(
    url: Annotated[str, typer.Argument(help="https URL that answers GET with JSON.")],
    pointer: Annotated[str, typer.Option(help="JSON pointer to the value, such as /data/price; default: all.")] = "",
    jmespath: Annotated[str | None, typer.Option(help="JMESPath expression for the value, such as data[0].p.")] = None,
    above: Annotated[str | None, typer.Option(help="Only when it comes to be greater than this number.")] = None,
    below: Annotated[str | None, typer.Option(help="Only when it comes to be less than this number.")] = None,
    appeared: Annotated[bool, typer.Option("--appeared", help="Only of items of a list that are new.")] = False,
    key: Annotated[str | None, typer.Option(help="With --appeared: what makes an item the same, such as id.")] = None,
    every: Annotated[str, typer.Option(help="How often to look: 5s to 1d.")] = "60s",
    endpoint: EndpointOption = None,
    pull: Pull = False,
    description: Description = None,
    as_json: AsJson = False,
) -> None:
    """Hear of a value in a JSON document: whenever it changes, crosses a number, or gains an item.

    tocsin subscribe json https://api.example/price --pointer /usd --above 3000 --below 2900
    """
    source = {"kind": "http.json", "url": url, "pointer": pointer, "jmespath": jmespath}
    source |= {"interval": span(every, "--every"), "rule": _rule(above, below, appeared, key)}
    _subscribe(source, endpoint, pull, description, as_json)


@subscribe.command("feed")
def subscribe_feed(
    url: Annotated[str, typer.Argument(help="https URL of an RSS, Atom or JSON feed.")],
    every: Annotated[str, typer.Option(help="How often to look: 5s to 1d.")] = "15m",
    updates: Annotated[bool, typer.Option("--updates", help="Also of items that are rewritten.")] = False,
    endpoint: EndpointOption = None,
    pull: Pull = False,
    description: Description = None,
    as_json: AsJson = False,
) -> None:
    """Hear of new items of a feed."""
    source = {"kind": "http.feed", "url": url, "interval": span(every, "--every"), "updates": updates}
    _subscribe(source, endpoint, pull, description, as_json)


@subscribe.command("inbox")
def subscribe_inbox(
    verify: Annotated[
        str, typer.Option(help="How the sender signs: standard-webhooks, stripe, github, hmac-sha256, or none.")
    ],
    secret: Annotated[
        str | None, typer.Option(help="What the sender signs with; asked for if absent.", show_default=False)
    ] = None,
    header: Annotated[str | None, typer.Option(help="For hmac-sha256: the header of the signature.")] = None,
    encoding: Annotated[str | None, typer.Option(help="For hmac-sha256: hex or base64.")] = None,
    prefix: Annotated[str | None, typer.Option(help="For hmac-sha256: what stands before the signature.")] = None,
    endpoint: EndpointOption = None,
    pull: Pull = False,
    description: Description = None,
    as_json: AsJson = False,
) -> None:
    """Make a URL that another service can post webhooks to, and hear of each. Prints the URL.

    tocsin subscribe inbox --verify github
    """
    if verify != "none" and secret is None:
        secret = typer.prompt("Secret", hide_input=True, err=True)
    verification = {"scheme": verify, "secret": secret, "header": header, "encoding": encoding, "prefix": prefix}
    _subscribe({"kind": "inbox", "verify": verification}, endpoint, pull, description, as_json)


@subscriptions.command("ls")
def list_subscriptions(as_json: AsJson = False) -> None:
    """List your subscriptions."""
    with client() as relay:
        columns = ("id", "state", "source", "endpoint_id", "description")
        show.table(relay.subscriptions.list(), columns, as_json, "No subscriptions: tocsin subscribe --help")


@subscriptions.command("show")
def show_subscription(id: SubscriptionId, as_json: AsJson = False) -> None:
    """Show one subscription."""
    with client() as relay:
        show.record(relay.subscriptions.get(id), as_json)


@subscriptions.command("events")
def list_events(
    id: SubscriptionId,
    after: Annotated[str | None, typer.Option(help="Go on after this cursor, which the last read ended with.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more, until Ctrl-C.")] = False,
) -> None:
    """Print a subscription's events in the order of their source, as JSON, one a line."""
    with client() as relay:
        while True:
            page = relay.subscriptions.events(id, after, poll_seconds if follow else 0)
            for event in page.items:
                show.json_line(event)
            if not page.items and not follow:
                show.hint(f"Go on with --after {page.next}")
                return
            after = page.next


@subscriptions.command("rm")
def remove_subscription(id: SubscriptionId) -> None:
    """End a subscription."""
    with client() as relay:
        relay.subscriptions.delete(id)
    show.done(f"{id} has ended")


def watchers(as_json: AsJson = False) -> None:
    """List the watchers of what you are subscribed to. One watcher serves all who watch the same place."""
    with client() as relay:
        columns = ("target", "state", "subscriptions", "events", "upstream_calls", "looked_at", "last_error")
        show.table(relay.subscriptions.watchers(), columns, as_json, "No watchers.")


def _subscribe(
    source: dict[str, Any],
    endpoint: str | None,
    pull: bool,
    description: str | None,
    as_json: bool,
    **how: Any,
) -> None:
    from pydantic import TypeAdapter

    from tocsin.schemas.subscriptions import Inbox, NewSubscription, Watched

    watched = TypeAdapter[Any](Watched).validate_python(source)
    with client() as relay:
        rung = None if pull else chosen_endpoint(relay, endpoint, "; or --pull, and ring none")
        new = NewSubscription(source=watched, endpoint_id=rung, description=description, **how)
        made = relay.subscriptions.create(new)
        show.record(made, as_json)
    if isinstance(made.source, Inbox) and not as_json:
        show.hint(f"Have webhooks sent to {made.source.url}")


def _rule(above: str | None, below: str | None, appeared: bool, key: str | None) -> dict[str, Any]:
    """What of a value is told, as the wire has it."""
    if (above or below) and (appeared or key):
        raise typer.BadParameter("a value is watched for a number or for items, not for both", param_hint="--appeared")
    if key is not None and not appeared:
        raise typer.BadParameter("name a key with --appeared", param_hint="--key")
    if appeared:
        return {"kind": "appeared", "key": key}
    return {"kind": "threshold", "above": above, "below": below} if above or below else {"kind": "changed"}


def _topics(given: list[str] | None) -> list[str | list[str] | None] | None:
    """Topics as the wire has them: null for anything, a list for any of several."""
    if not given:
        return None
    return [None if text in {"-", ""} else text.split(",") if "," in text else text for text in given]
