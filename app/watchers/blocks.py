"""What can be known of a block beside its logs, where somebody wants to know it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["REVERTED", "ContractCall", "Extra", "Mined", "Needs"]

# Instead of what a call answered: the contract refused.
REVERTED = "reverted"


@dataclass(frozen=True, slots=True)
class Mined:
    """A transaction of a block, and what became of it. Hexadecimal is lower case."""

    hash: str
    index: int
    sender: str
    to: str | None
    value: int
    succeeded: bool
    created: str | None
    """The contract that it made."""
    verified: Literal["transactions-root", "rpc"] = "rpc"
    """How far its hash is checked, and with it what was signed; who signed is as the node says."""


@dataclass(frozen=True, slots=True)
class ContractCall:
    """What is asked of a contract at each block."""

    address: str
    data: str


@dataclass(frozen=True, slots=True)
class Needs:
    """What has to be asked for besides logs."""

    full: bool = False
    calls: frozenset[ContractCall] = frozenset()
    known: Mapping[tuple[str, ContractCall], str] = field(default_factory=dict[tuple[str, ContractCall], str])
    """What calls answered at blocks that were looked at before, by their hashes."""

    def __bool__(self) -> bool:
        return self.full or bool(self.calls)

    def cover(self, others: Needs) -> bool:
        """Whether what others need was asked for as well."""
        return self.full >= others.full and self.calls >= others.calls


@dataclass(frozen=True, slots=True)
class Extra:
    """What was needed of a block."""

    mined: tuple[Mined, ...] | None = None
    answers: Mapping[ContractCall, tuple[str, str]] = field(default_factory=dict[ContractCall, tuple[str, str]])
    """What each call answered before this block, and in it; without those of which either is unknown."""
