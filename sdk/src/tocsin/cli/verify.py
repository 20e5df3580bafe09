"""Checking what a relay told you, without believing it."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from tocsin.cli import show
from tocsin.cli.session import AsJson, client
from tocsin.problems import BlockGone, Problem

if TYPE_CHECKING:
    from tocsin.cli.anchors import Canonical
    from tocsin.proofs import Proven

__all__ = ["verify"]

verify = typer.Typer(no_args_is_help=True, help="Check what a relay told you, without believing it.")

refuted_code, undecided_code = 1, 3
_another_fork = (
    "A reorganisation may have taken it, or the node is on another fork: ask again, or look for a retraction."
)
_HASH = re.compile(r"0x[0-9a-fA-F]{64}")


@verify.callback()
def _verify() -> None:
    pass


@dataclass(frozen=True)
class Told:
    """An event as it was told, and whether it was then taken back."""

    event: Mapping[str, Any]
    retracted: bool = False
    proof: Any = None
    """Where it came with one."""
    subscription: str | None = None
    """Whose telling it is, where the relay said so."""
    also_told_to: Sequence[str] = ()


@dataclass(frozen=True)
class Trusted:
    """The hash that the check rests on, and who says that it is the chain's."""

    block_hash: str
    said_by: str | None = None
    """None: nobody but the relay."""
    canonical: Canonical | None = None


@dataclass(frozen=True)
class Verdict:
    """What came of one event."""

    told: Told
    said: str
    code: int = 0
    hint: str | None = None
    proven: Proven | None = None
    trusted: Trusted = field(default_factory=lambda: Trusted(""))

    @property
    def members(self) -> dict[str, Any]:
        """For programs."""
        verdict = {0: "proven", refuted_code: "refuted", undecided_code: "undecided"}[self.code]
        members: dict[str, Any] = {"event_id": self.told.event.get("event_id"), "kind": self.told.event.get("kind")}
        members |= {"verdict": verdict, "retracted": self.told.retracted, "said": self.said}
        if self.told.subscription is not None:
            members |= {"subscription_id": self.told.subscription, "also_told_to": list(self.told.also_told_to)}
        if self.proven is not None:
            members |= self.proven.payload | {"unchecked": list(self.proven.unchecked)}
        canonical = self.trusted.canonical
        members["trusted"] = {"block_hash": self.trusted.block_hash, "said_by": self.trusted.said_by}
        if canonical is not None:
            members["trusted"] |= {"canonical_hash": canonical.block_hash, "head": canonical.head}
            members["trusted"]["finalized"] = canonical.finalized
        return members


@verify.command("event")
def verify_event(
    event: Annotated[
        str,
        typer.Argument(
            metavar="FILE_OR_ID",
            help="A file with a ring's body, its data, an answer with a proof, or several of them, one a line; - for "
            "stdin; or an event's id, evt_…",
        ),
    ],
    rpc: Annotated[
        str | None,
        typer.Option(
            envvar="TOCSIN_RPC",
            show_default=False,
            help="A node of your own: which block of this height is on the chain. Its URL is shown to nobody.",
        ),
    ] = None,
    proof: Annotated[
        str | None, typer.Option(help="A file with the proof; default: it is asked of the relay.", show_default=False)
    ] = None,
    block_hash: Annotated[
        str | None, typer.Option(help="Instead of --rpc: the hash of the block, from wherever you trust it.")
    ] = None,
    signature: Annotated[
        str | None,
        typer.Option(help="Of an evm.log: the event's signature that your filter names, to check what was decoded."),
    ] = None,
    subscription: Annotated[
        str | None,
        typer.Option(
            metavar="SUB_ID",
            help="Of an event's id: as this subscription was told it; default: the oldest of yours that was.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check an event against its chain: that its block holds exactly this, and that the block is on the chain.

    All is computed here. The proof may come from anybody; what has to be trusted is the hash of the block, which --rpc
    asks of a node of your own. Of a retraction it is checked that the block is not on the chain any more; for that the
    node is enough, and so it is for an event whose block has gone.

    Exits with 0 if it is so, with 1 if it is not: do not act on it then; and with 3 if it could not be decided, as
    there is no proof, nobody answers, or nobody but the relay says that there is such a block.

        tocsin verify event evt_6bx… --rpc https://my-node.example

        tocsin verify event ring.json --proof proof.json --block-hash 0x92a4…
    """
    if block_hash is not None and not _HASH.fullmatch(block_hash):
        raise typer.BadParameter("a block's hash is 0x and 64 hexadecimal digits", param_hint="--block-hash")
    asked = _Asked(rpc if block_hash is None else None, block_hash, signature)
    try:
        verdicts = _verdicts(_told(event, subscription), proof, asked)
    except Problem as problem:
        show.refusal(problem)
        if isinstance(problem, BlockGone):
            show.hint(
                "  With --rpc, a file of what you were told is enough: which block of its height is on the chain."
            )
        raise typer.Exit(undecided_code) from None
    except (*_unasked(), ImportError) as error:
        # Keccak-256 is not installed with all else.
        show.failure(str(error))
        raise typer.Exit(undecided_code) from None
    for each in verdicts:
        if as_json:
            show.json_line(each.members)
        else:
            _show(each)
    raise typer.Exit(_worst(verdicts))


@dataclass(frozen=True)
class _Asked:
    """What the check is to rest on."""

    rpc: str | None
    block_hash: str | None
    signature: str | None


def _verdicts(told: Sequence[Told], proof: str | None, asked: _Asked) -> list[Verdict]:
    """What is to be thought of each event, once it is clear that the options can be of them."""
    if asked.signature is not None:
        _require_decodable(told, asked.signature)
    if proof is not None and len(told) > 1:
        raise typer.BadParameter(f"there are {len(told)} events, and a proof is of one", param_hint="--proof")
    given = None if proof is None else _read(proof, "--proof")
    return [_judged(each, given, asked.rpc, asked.block_hash, asked.signature) for each in told]


def _worst(verdicts: Sequence[Verdict]) -> int:
    """The exit code of several: one that is refuted counts more than any that could not be decided."""
    return max((each.code for each in verdicts), key=(0, undecided_code, refuted_code).index)


def _unasked() -> tuple[type[Exception], ...]:
    """Why the relay could not be asked, other than that it refused."""
    from tocsin.auth import NoKey, NoRelay
    from tocsin.client import ClientError
    from tocsin.client.calls import NoId

    return NoKey, NoRelay, NoId, ClientError, OSError


def _judged(told: Told, given: Any, rpc: str | None, block_hash: str | None, signature: str | None) -> Verdict:
    """What is to be thought of one event."""
    from tocsin.cli.anchors import NoAnswer, ask
    from tocsin.proofs import NO_PROOF, RULES, NoProof, ProofError
    from tocsin.proofs import verify as verified

    kind = str(told.event.get("kind"))
    if kind not in RULES:
        why = NO_PROOF.get(kind, "what it is about is not known to this version")
        return Verdict(told, f"an event of kind {kind} has no proof: {why}", undecided_code)
    chain, named = _block(told.event)
    document = _document(told, given)
    trusted = Trusted(block_hash or named["hash"], None if block_hash is None else "you")
    if rpc is not None:
        try:
            canonical = ask(rpc, chain, named["number"])
        except NoAnswer as none:
            return Verdict(told, str(none), undecided_code, trusted=trusted)
        trusted = Trusted(named["hash"], canonical.said_by, canonical)
    if isinstance(document, Verdict):
        return document if rpc is None else _unproven(document, rpc, trusted)
    try:
        proven = verified(
            document, trusted_chain=chain, trusted_block_hash=trusted.block_hash, event=told.event, signature=signature
        )
    except NoProof as none:
        return Verdict(told, none.reason, undecided_code, trusted=trusted)
    except ProofError as error:
        return Verdict(told, f"{error.part}: {error.reason}", refuted_code, str(type(error).__doc__), trusted=trusted)
    return _anchored(told, proven, trusted)


def _unproven(without: Verdict, rpc: str, trusted: Trusted) -> Verdict:
    """What the node alone decides: an event has gone with its block, whatever that held."""
    from tocsin.cli.anchors import NoAnswer, height

    told, canonical = without.told, trusted.canonical
    chain, named = _block(told.event)
    if canonical is None or canonical.block_hash in {None, named["hash"]}:
        return replace(without, trusted=trusted)
    said_by = canonical.said_by
    try:
        # Of a block that is told with another's number it would look as if it had gone.
        found = height(rpc, named["hash"])
    except NoAnswer as none:
        return Verdict(told, str(none), undecided_code, trusted=trusted)
    if found not in {None, named["number"]}:
        said = f"{named['hash']} is block {found} of {chain}, says {said_by}, and not {named['number']}"
        return Verdict(told, said, refuted_code, trusted=trusted)
    place = f"block {named['number']} of {chain}"
    if told.retracted:
        said = f"it is told as taken back, and its block {named['hash']} is not on the chain, says {said_by}"
        hint = f"What that block held was not checked: {without.said}"
        return Verdict(told, said, hint=hint, trusted=trusted)
    said = f"{place} is {canonical.block_hash}, says {said_by}; the event is told of {named['hash']}"
    return Verdict(told, said, refuted_code, _another_fork, trusted=trusted)


def _anchored(told: Told, proven: Proven, trusted: Trusted) -> Verdict:
    """What follows once it is proven that the block holds the event."""
    place = f"block {proven.block_number} of {proven.chain}"
    canonical = trusted.canonical
    if canonical is None:
        said = f"{place} holds it, if the chain has a block {trusted.block_hash}"
        code, hint = undecided_code, None
        if trusted.said_by is None:
            # Whoever makes up a block can make up the proofs of what is in it.
            hint = "Whether the chain has this block only the relay says so far: --rpc URL asks a node of yours."
        elif told.retracted:
            hint = "It was told as taken back: whether the block has gone, --rpc URL asks a node of yours."
        else:
            code = 0
        return Verdict(told, said, code, hint, proven, trusted)
    if canonical.block_hash is None:
        said = f"{canonical.said_by} has no block of the height of {place}"
        hint = "It may be behind: ask again, or another node."
        return Verdict(told, said, undecided_code, hint, proven, trusted)
    stands = canonical.block_hash == proven.block_hash
    if stands == told.retracted:
        if told.retracted:
            said = f"it is told as taken back, and {place} stands and holds it, says {canonical.said_by}"
            hint = "If the chain has come back to this block, it will be told once more."
            return Verdict(told, said, refuted_code, hint, proven, trusted)
        said = f"{place} is {canonical.block_hash}, says {canonical.said_by}; the event is in {proven.block_hash}"
        return Verdict(told, said, refuted_code, _another_fork, proven, trusted)
    if told.retracted:
        said = f"it was in {place}, and that block is not on the chain, says {canonical.said_by}"
        return Verdict(told, said, proven=proven, trusted=trusted)
    depth = "" if canonical.head is None else f", {_below_head(max(0, canonical.head - proven.block_number))}"
    final = canonical.finalized is not None and proven.block_number <= canonical.finalized
    said = f"{place} holds it and is on the chain, says {canonical.said_by}{depth}{', and final' if final else ''}"
    return Verdict(told, said, proven=proven, trusted=trusted)


def _below_head(blocks: int) -> str:
    match blocks:
        case 0:
            return "at its head"
        case 1:
            return "1 block below its head"
        case _:
            return f"{blocks} blocks below its head"


def _document(told: Told, given: Any) -> Any:
    """The proof: the one that was given, the one that came with the event, or the relay's. Or why there is none."""
    if given is not None:
        # An answer of the relay has the document within.
        return cast(dict[str, Any], given).get("proof", given) if isinstance(given, dict) else given
    if told.proof is not None:
        return told.proof
    try:
        with client() as relay:
            return relay.events.proof(str(told.event.get("event_id")), subscription=told.subscription).proof
    except Problem as problem:
        return Verdict(told, f"the relay gives no proof: {problem.detail}", undecided_code, problem.advice())
    except _unasked() as error:
        return Verdict(told, f"the relay gives no proof: {error}", undecided_code)


def _require_decodable(told: Sequence[Told], signature: str) -> None:
    """Refuse a signature that could not be applied to all of these, or that may not be the one which they tell by."""
    from tocsin.abi import BadSignature, read_event

    try:
        read_event(signature)
    except BadSignature as bad:
        raise typer.BadParameter(str(bad), param_hint="--signature") from None
    for each in told:
        kind = each.event.get("kind")
        if kind != "evm.log":
            raise typer.BadParameter(
                f"it is of an evm.log, and {each.event.get('event_id')} is told as {kind}: leave --signature out, as "
                "what such an event says is computed without one; or name the subscription that is told the log",
                param_hint="--signature",
            )
        if each.also_told_to:
            # Told by another filter, it is true and says otherwise: that would look like a lie.
            others = ", ".join((str(each.subscription), *each.also_told_to))
            raise typer.BadParameter(
                f"it is of one filter, and several subscriptions were told {each.event.get('event_id')}: name the one "
                f"that is meant with --subscription, of {others}",
                param_hint="--signature",
            )


def _told(named: str, subscription: str | None) -> Sequence[Told]:
    """The events that a file or an id stands for."""
    if named.startswith("evt_") and not Path(named).exists():
        with client() as relay:
            found = relay.events.proof(named, subscription=subscription)
        if found.event.event_id != named:
            # True as that may be, it is not what was asked about.
            show.failure(f"{named} is not so: the relay answers with another event, {found.event.event_id}")
            raise typer.Exit(refuted_code)
        if subscription is not None and found.subscription_id != subscription:
            show.failure(f"{named} could not be decided: the relay does not say what {subscription} was told")
            raise typer.Exit(undecided_code)
        event = found.event.model_dump(mode="json")
        others = () if subscription is not None else found.also_told_to
        return [Told(event, found.retracted, found.proof, found.subscription_id, others)]
    if subscription is not None:
        raise typer.BadParameter(
            "it is for an event that is named by its id; a file says what somebody was told",
            param_hint="--subscription",
        )
    told = _events(_read(named, "FILE_OR_ID"))
    if not told:
        raise typer.BadParameter("there is no event in it", param_hint="FILE_OR_ID")
    return told


def _events(said: Any) -> Sequence[Told]:
    """The events of a ring, its data, an answer with a proof, or a page of what was told."""
    match said:
        case {"event": {"event_id": str()} as event, "proof": proof}:
            return [Told(cast(Mapping[str, Any], event), said.get("retracted") is True, proof)]
        case {"type": "subscription.heartbeat"}:
            return []
        case {"data": {"items": [*items]}}:
            return [told for each in items for told in _events({"type": _type(each), "data": each})]
        case {"data": {"event_id": str()} as event}:
            return [Told(cast(Mapping[str, Any], event), said.get("type") == "event.retracted")]
        case {"items": [*items]}:
            return [told for each in items for told in _events(each)]
        case {"event_id": str()}:
            return [Told(said, "retracts" in said)]
        case _:
            raise typer.BadParameter(
                "no event: give a ring's body, its data, or what GET /v1/events/{id}/proof answers",
                param_hint="FILE_OR_ID",
            )


def _type(item: Any) -> Any:
    """Which an item of a batch says itself."""
    return cast(dict[str, Any], item).get("type") if isinstance(item, dict) else None


def _block(event: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The chain and the block that an event names."""
    match event.get("payload"):
        case {"chain": str() as chain, "block": {"number": int(), "hash": str()} as block}:
            return chain, cast(Mapping[str, Any], block)
        case _:
            raise typer.BadParameter("the event names no block of a chain", param_hint="FILE_OR_ID")


def _read(path: str, option: str) -> Any:
    from pydantic_core import from_json

    try:
        content = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be read: {error.strerror}", param_hint=option) from None
    try:
        return from_json(content, allow_inf_nan=False)
    except ValueError:
        pass
    try:
        # As `tocsin subscriptions events` and `tocsin listen --json` print them, one a line.
        return {"items": [from_json(line, allow_inf_nan=False) for line in content.splitlines() if line.strip()]}
    except ValueError:
        raise typer.BadParameter(f"{path} is no JSON", param_hint=option) from None


def _show(verdict: Verdict) -> None:
    """For people."""
    named = f"{verdict.told.event.get('event_id')} ({verdict.told.event.get('kind')})"
    match verdict.code:
        case 0:
            show.done(f"{named}: {verdict.said}")
        case 1:
            show.failure(f"{named} is not so: {verdict.said}")
        case _:
            show.failure(f"{named} could not be decided: {verdict.said}")
    if verdict.code != refuted_code and verdict.proven is not None:
        show.members(_told_of(verdict.proven), "  ")
    if verdict.told.also_told_to:
        others = ", ".join(verdict.told.also_told_to)
        show.hint(f"  As {verdict.told.subscription} was told it; --subscription shows it as told to {others}.")
    if verdict.hint is not None:
        show.hint(f"  {verdict.hint}")


def _told_of(proven: Proven) -> dict[str, Any]:
    shown: dict[str, Any] = {"block": proven.block_hash}
    if proven.transaction_hash is not None:
        shown["transaction"] = f"{proven.transaction_hash} (number {proven.transaction_index})"
    if proven.log_index is not None:
        shown["log"] = f"number {proven.log_index}, of {proven.address}"
    if proven.unchecked:
        shown["only said"] = ", ".join(name.removeprefix("payload.") for name in proven.unchecked)
    return shown
