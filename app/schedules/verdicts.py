"""What a fire can come to when its time has come."""

from dataclasses import dataclass

__all__ = ["Buffer", "GiveUp", "Ring", "Skip", "Verdict"]


@dataclass(frozen=True, slots=True)
class Ring:
    """Tell the agent."""


@dataclass(frozen=True, slots=True)
class Skip:
    """Let the slot pass, for this reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Buffer:
    """Keep it until the run before it has ended."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Nobody could hand it over."""

    reason: str


Verdict = Ring | Skip | Buffer | GiveUp
