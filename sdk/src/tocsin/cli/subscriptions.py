"""What you want to hear of."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tocsin.cli import show
from tocsin.cli.inputs import EndpointOption, chosen_endpoint, span
from tocsin.cli.session import AsJson, client

if TYPE_CHECKING:
    from tocsin.schemas.watchers import Watcher

subscribe = typer.Typer(no_args_is_help=True, help="Subscribe to a chain, to the web, or to other services' webhooks.")
subscriptions = typer.Typer(no_args_is_help=True, help="What you are subscribed to.")

SubscriptionId = Annotated[str, typer.Argument(help="sub_…")]
Pull = Annotated[bool, typer.Option("--pull", help="Ring no endpoint; the events are kept to be read.")]
Description = Annotated[str | None, typer.Option(help="For people.")]

poll_seconds = 20


def _where(example: str) -> Any:
    """The option of a condition, with one that means something for the kind."""
    return typer.Option("--where", help=f'A condition over the payload, such as "{example}".')


ChainOption = Annotated[str, typer.Option(help="CAIP-2 id, such as eip155:8453 for Base.")]
Contracts = Annotated[list[str] | None, typer.Option(help="A contract; may be repeated: any of them.")]
Accounts = Annotated[list[str] | None, typer.Option(help="An address; may be repeated: any of them.")]
FinalityOption = Annotated[str, typer.Option(help="When an event is told: latest, safe, finalized or confirmations:n.")]
Batch = Annotated[bool, typer.Option("--batch", help="One ring for all events of a block.")]
Heartbeat = Annotated[int | None, typer.Option(help="After so many blocks without an event, hear that.")]
FromBlock = Annotated[int | None, typer.Option(help="Hear the past, too, from this block on.")]


@subscribe.command("logs")
def subscribe_logs(
    chain: ChainOption,
    address: Contracts = None,
    topic: Annotated[
        list[str] | None, typer.Option(help="Topics by position; '-' for anything, a,b for any of several.")
    ] = None,
    event: Annotated[
        str | None, typer.Option(help='A signature to decode by: "Transfer(address indexed from, …)".')
    ] = None,
    where: Annotated[str | None, _where("decoded.value > 1000000")] = None,
    finality: FinalityOption = "latest",
    batch: Batch = False,
    heartbeat_blocks: Heartbeat = None,
    from_block: FromBlock = None,
    endpoint: EndpointOption = None,
    pull: Pull = False,
    description: Description = None,
    as_json: AsJson = False,
) -> None:
    """Hear of logs of contracts on an EVM chain, and of their retraction when the chain reorganises.

    tocsin subscribe logs --chain eip155:8453 --address 0x8335…2913 --topic 0xddf2…b3ef
    """
    wanted = {"address": address or None, "topics": _topics(topic), "event": event}
    source = _on(chain, "evm.log", finality, where, wanted)
    _subscribe(source, endpoint, pull, description, as_json, **_how(batch, heartbeat_blocks, from_block))


@subscribe.command("transfers")
def subscribe_transfers(
    chain: ChainOption,
    asset: Annotated[str, typer.Option(help="native, or the address of an ERC-20 token.")] = "native",
    decimals: Annotated[int, typer.Option(help="Of the token, as its contract says.")] = 18,
    sender: Annotated[list[str] | None, typer.Option("--from", help="Who pays; may be repeated.")] = None,
    to: Annotated[list[str] | None, typer.Option(help="Who is paid; may be repeated.")] = None,
    either: Annotated[list[str] | None, typer.Option(help="Who pays or is paid; may be repeated.")] = None,
    min: Annotated[str | None, typer.Option(help="The least amount, in whole tokens.")] = None,
    max: Annotated[str | None, typer.Option(help="The greatest amount, in whole tokens.")] = None,
    where: Annotated[str | None, _where("transfer.to != transfer.from")] = None,
    finality: FinalityOption = "latest",
    batch: Batch = False,
    heartbeat_blocks: Heartbeat = None,
    from_block: FromBlock = None,
    endpoint: EndpointOption = None,
    pull: Pull = False,
    description: Description = None,
    as_json: AsJson = False,
) -> None:
    """Hear of payments in the chain's own currency, or in an ERC-20 token.

    tocsin subscribe transfers --chain eip155:8453 --asset 0x8335…2913 --decimals 6 --either 0xd8dA…6045 --min 10000
    """
    wanted = {"asset": asset, "decimals": decimals, "from": sender, "to": to, "either": either, "min": min, "max": max}
    source = _on(chain, "evm.transfer", finality, where, wanted)
    _subscribe(source, endpoint, pull, description, as_json, **_how(batch, heartbeat_blocks, from_block))


@subscribe.command("blocks")
def subscribe_blocks(
    chain: ChainOption,
    every: Annotated[int, typer.Option(help="Those whose number it divides.")] = 1,
    where: Annotated[str | None, _where("block.timestamp > 1800000000")] = None,
    finality: FinalityOption = "latest",
    batch: Batch = False,
    heartbeat_blocks: Heartbeat = None,
    from_block: FromBlock = None,
    endpoint: EndpointOption = None,
    pull: Pull = False,
    description: Description = None,
    as_json: AsJson = False,
) -> None:
    """Hear of blocks."""
    source = _on(chain, "evm.block", finality, where, {"every": every})
    _subscribe(source, endpoint, pull, description, as_json, **_how(batch, heartbeat_blocks, from_block))


@subscribe.command("mints")
def subscribe_mints(
    chain: ChainOption,
    collection: Contracts = None,
    to: Accounts = None,
    where: Annotated[str | None, _where("size(mint.ids) > 1")] = None,
    finality: FinalityOption = "latest",
    batch: Batch = False,
    heartbeat_blocks: Heartbeat = None,
    from_block: FromBlock = None,
    endpoint: EndpointOption = None,
    pull: Pull = False,
    description: Description = None,
    as_json: AsJson = False,
) -> None:
    """Hear of ERC-721 and ERC-1155 tokens that come into being."""
    wanted = {"collection": collection or None, "to": to or None}
    source = _on(chain, "evm.nft_mint", finality, where, wanted)
    _subscribe(source, endpoint, pull, description, as_json, **_how(batch, heartbeat_blocks, from_block))


@subscribe.command("contracts")
def subscribe_contracts(
    chain: ChainOption,
    creator: Accounts = None,
    where: Annotated[str | None, _where("transaction.value > 0")] = None,
    finality: FinalityOption = "latest",
    batch: Batch = False,
    heartbeat_blocks: Heartbeat = None,
    endpoint: EndpointOption = None,
    pull: Pull = False,
    description: Description = None,
    as_json: AsJson = False,
) -> None:
    """Hear of contracts that transactions create."""
    source = _on(chain, "evm.contract_created", finality, where, {"creator": creator or None})
    _subscribe(source, endpoint, pull, description, as_json, **_how(batch, heartbeat_blocks))


@subscribe.command("liquidity")
def subscribe_liquidity(
    chain: ChainOption,
    pool: Annotated[list[str], typer.Option(help="A pool of Uniswap v2 or v3 style; may be repeated.")],
    change: Annotated[str | None, typer.Option(help="added or removed; default: both.")] = None,
    where: Annotated[str | None, _where("liquidity.amount0 > 1000000")] = None,
    finality: FinalityOption = "latest",
    batch: Batch = False,
    heartbeat_blocks: Heartbeat = None,
    from_block: FromBlock = None,
    endpoint: EndpointOption = None,
    pull: Pull = False,
    description: Description = None,
    as_json: AsJson = False,
) -> None:
    """Hear of liquidity that is added to a pool or taken out."""
    source = _on(chain, "evm.liquidity", finality, where, {"pool": pool, "change": change})
    _subscribe(source, endpoint, pull, description, as_json, **_how(batch, heartbeat_blocks, from_block))


@subscribe.command("price")
def subscribe_price(
    chain: ChainOption,
    pool: Annotated[str, typer.Option(help="A pool of Uniswap v2 or v3 style.")],
    crosses: Annotated[str | None, typer.Option(help="Tell when the price gets to the other side of this.")] = None,
    moves: Annotated[str | None, typer.Option(help="Tell when it moves by so many per cent within the window.")] = None,
    window: Annotated[str, typer.Option(help="How far back a move is measured: 10s to 24h.")] = "1h",
    decimals: Annotated[tuple[int, int], typer.Option(help="Of the pool's two tokens.")] = (18, 18),
    inverted: Annotated[bool, typer.Option(help="Of token 1 in token 0, and not the other way round.")] = False,
    where: Annotated[str | None, _where("price.change_percent > 5")] = None,
    finality: FinalityOption = "latest",
    batch: Batch = False,
    heartbeat_blocks: Heartbeat = None,
    endpoint: EndpointOption = None,
    pull: Pull = False,
    description: Description = None,
    as_json: AsJson = False,
) -> None:
    """Hear of a price that crosses a level, or moves.

    tocsin subscribe price --chain eip155:8453 --pool 0x88A4…F97C --decimals 18 6 --crosses 3000
    """
    if (crosses is None) == (moves is None):
        raise typer.BadParameter("give either --crosses or --moves", param_hint="--crosses")
    rule: dict[str, Any] = (
        {"rule": "crosses", "level": crosses}
        if crosses is not None
        else {"rule": "moves", "percent": moves, "window": span(window, "--window")}
    )
    wanted = {
        "pool": pool,
        "decimals0": decimals[0],
        "decimals1": decimals[1],
        "inverted": inverted,
        "when": rule,
    }
    source = _on(chain, "evm.price", finality, where, wanted)
    _subscribe(source, endpoint, pull, description, as_json, **_how(batch, heartbeat_blocks))


@subscribe.command("call")
def subscribe_call(
    chain: ChainOption,
    address: Annotated[str, typer.Argument(help="The contract.")],
    function: Annotated[str, typer.Argument(help='Such as "balanceOf(address) returns (uint256)".')],
    arguments: Annotated[list[str] | None, typer.Argument(help="Its arguments; JSON, or text as it is.")] = None,
    where: Annotated[str | None, _where("current.decoded.value0 > 1000")] = None,
    finality: FinalityOption = "latest",
    batch: Batch = False,
    heartbeat_blocks: Heartbeat = None,
    endpoint: EndpointOption = None,
    pull: Pull = False,
    description: Description = None,
    as_json: AsJson = False,
) -> None:
    """Hear when a function of a contract answers something else.

    tocsin subscribe call --chain eip155:8453 0x8335…2913 "balanceOf(address) returns (uint256)" 0xd8dA…6045
    """
    wanted = {"address": address, "function": function, "arguments": [_argument(each) for each in arguments or []]}
    source = _on(chain, "evm.call", finality, where, wanted)
    _subscribe(source, endpoint, pull, description, as_json, **_how(batch, heartbeat_blocks))


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
    where: Annotated[str | None, _where("size(current.value) > 3")] = None,
    endpoint: EndpointOption = None,
    pull: Pull = False,
    description: Description = None,
    as_json: AsJson = False,
) -> None:
    """Hear of a value in a JSON document: whenever it changes, crosses a number, or gains an item.

    tocsin subscribe json https://api.example/price --pointer /usd --above 3000 --below 2900
    """
    source = {"kind": "http.json", "url": url, "pointer": pointer, "jmespath": jmespath, "where": where}
    source |= {"interval": span(every, "--every"), "rule": _rule(above, below, appeared, key)}
    _subscribe(source, endpoint, pull, description, as_json)


@subscribe.command("feed")
def subscribe_feed(
    url: Annotated[str, typer.Argument(help="https URL of an RSS, Atom or JSON feed.")],
    every: Annotated[str, typer.Option(help="How often to look: 5s to 1d.")] = "15m",
    updates: Annotated[bool, typer.Option("--updates", help="Also of items that are rewritten.")] = False,
    where: Annotated[str | None, _where("title.contains('security')")] = None,
    endpoint: EndpointOption = None,
    pull: Pull = False,
    description: Description = None,
    as_json: AsJson = False,
) -> None:
    """Hear of new items of a feed."""
    source = {"kind": "http.feed", "url": url, "updates": updates, "where": where}
    source |= {"interval": span(every, "--every")}
    _subscribe(source, endpoint, pull, description, as_json)


@subscribe.command("inbox")
def subscribe_inbox(
    verify: Annotated[
        str, typer.Option(help="How the sender signs: standard-webhooks, stripe, github, hmac-sha256, or none.")
    ],
    secret: Annotated[
        str | None,
        typer.Option(
            help="What the sender signs with, 8 to 500 characters; for standard-webhooks whsec_ and the base64 of "
            "24 to 64 bytes. Asked for if absent.",
            show_default=False,
        ),
    ] = None,
    header: Annotated[str | None, typer.Option(help="For hmac-sha256: the header of the signature.")] = None,
    encoding: Annotated[str | None, typer.Option(help="For hmac-sha256: hex or base64.")] = None,
    prefix: Annotated[str | None, typer.Option(help="For hmac-sha256: what stands before the signature.")] = None,
    where: Annotated[str | None, _where("body.action == 'opened'")] = None,
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
    _subscribe({"kind": "inbox", "verify": verification, "where": where}, endpoint, pull, description, as_json)


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
        found = relay.subscriptions.get(id)
        show.record(found, as_json)
    if found.state == "starting" and not as_json:
        show.hint("It begins with the first look that goes well. What came of the last one: tocsin watchers")


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
        found = relay.subscriptions.watchers()
        if as_json:
            return show.json_lines(found)
        columns = (
            "kind",
            "target",
            "state",
            "at",
            "subscriptions",
            "events",
            "upstream_calls",
            "looked_at",
            "last_error",
        )
        return show.rows(columns, [_watching(each) for each in found], "No watchers.")


def _watching(watcher: "Watcher") -> list[str]:
    """A watcher's row; of a chain with the block that it has come to."""
    from tocsin.schemas.subscriptions import BlockPosition

    at = f"block {watcher.position.number}" if isinstance(watcher.position, BlockPosition) else "-"
    looked_at = "-" if watcher.looked_at is None else show.local(watcher.looked_at)
    counted = [str(count) for count in (watcher.subscriptions, watcher.events, watcher.upstream_calls)]
    trouble = watcher.state_reason or watcher.last_error or "-"
    return [watcher.kind, watcher.target or "-", watcher.state, at, *counted, looked_at, trouble]


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

    if pull and endpoint is not None:
        raise typer.BadParameter("name an endpoint to ring, or ring none, not both", param_hint="--pull")
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


def _how(batch: bool, heartbeat_blocks: int | None, from_block: int | None = None) -> dict[str, Any]:
    """How it is to be told, beside what."""
    return {"batch": "block" if batch else None, "heartbeat_blocks": heartbeat_blocks, "from_block": from_block}


def _on(chain: str, kind: str, finality: str, where: str | None, wanted: dict[str, Any]) -> dict[str, Any]:
    """The source, without what was not said."""
    members = {"kind": kind, "chain": chain, "finality": finality, "where": where, **wanted}
    return {name: value for name, value in members.items() if value is not None}


def _argument(text: str) -> Any:
    """JSON where it is some: numbers, lists, objects. Anything else, such as an address, stands for itself."""
    import json

    try:
        return json.loads(text)
    except ValueError:
        return text


def _topics(given: list[str] | None) -> list[str | list[str] | None] | None:
    """Topics as the wire has them: null for anything, a list for any of several."""
    if not given:
        return None
    return [None if text in {"-", ""} else text.split(",") if "," in text else text for text in given]
