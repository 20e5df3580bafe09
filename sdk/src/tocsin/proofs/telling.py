"""Whether an event tells what is proven: nothing that a block commits to may be told otherwise, or left out."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from tocsin.proofs.errors import NoProof, WrongEvent
from tocsin.proofs.kinds import IN_PART, NO_PROOF, RULES, Said, sent
from tocsin.proofs.proven import Proven

__all__ = ["compared"]

_SENT = ("from", "to", "value")


def compared(proven: Proven, event: Mapping[str, Any], signature: str | None) -> tuple[str, ...]:
    """Names of members that are the relay's word, all or in part; `WrongEvent` where the event tells something else."""
    if event.get("event_id") != proven.event_id:
        raise WrongEvent("event.event_id", f"it is {str(event.get('event_id'))[:80]!r}, not {proven.event_id!r}")
    kind = event.get("kind")
    if not isinstance(kind, str):
        raise WrongEvent("event.kind", "it is no text")
    rule = RULES.get(kind)
    if rule is None:
        raise NoProof("event.kind", NO_PROOF.get(kind, f"events of kind {kind[:80]!r} are not known here"))
    if signature is not None and kind != "evm.log":
        raise ValueError(f"signature: it is of an evm.log, and this event is told as {kind[:80]}: leave it out")
    payload = event.get("payload")
    said: Said = cast(Said, payload) if isinstance(payload, Mapping) else {}
    expected = _joined(proven.payload, rule(proven, said, signature))
    transaction: object = said.get("transaction")
    if isinstance(transaction, Mapping) and any(cast(Said, transaction).get(name) is not None for name in _SENT):
        expected = _joined(expected, {"transaction": sent(proven)})
    in_part = IN_PART.get(kind, ()) if proven.log_index is not None else ()
    return (*_unchecked(said, expected, "payload"), *in_part)


def _joined(one: Said, other: Said) -> dict[str, Any]:
    """Both, where objects of the same name are one."""
    return {**one, **other} | {
        name: {**one[name], **value} for name, value in other.items() if isinstance(value, dict) and name in one
    }


def _unchecked(said: object, expected: Mapping[str, object], part: str) -> Iterator[str]:
    """Names of members that are said beyond what is expected; all that is expected must be said, exactly."""
    members: Mapping[str, object] = cast(Mapping[str, object], said) if isinstance(said, Mapping) else {}
    for name, value in expected.items():
        here = f"{part}.{name}"
        if isinstance(value, dict):
            yield from _unchecked(members.get(name), cast(Mapping[str, object], value), here)
        elif not _same(members.get(name), value):
            told, true = str(members.get(name))[:80], str(value)[:80]
            raise WrongEvent(f"event.{here}", f"it is {told!r}, and on the chain {true!r}")
    yield from (f"{part}.{name}" for name in members if name not in expected)


def _same(said: object, expected: object) -> bool:
    # Python takes True, 1 and 1.0 for equal, in lists and objects, too.
    if type(said) is not type(expected):
        return False
    if isinstance(expected, list):
        ours, theirs = cast(Sequence[object], expected), cast(Sequence[object], said)
        return len(ours) == len(theirs) and all(map(_same, theirs, ours))
    if isinstance(expected, dict):
        known, told = cast(Said, expected), cast(Said, said)
        return known.keys() == told.keys() and all(_same(told[name], value) for name, value in known.items())
    return said == expected
