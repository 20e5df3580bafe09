"""Runs that wait for one another: what becomes of a fire while an earlier run is outstanding. Rules over tallies.

A run is outstanding from its ring until its delivery concludes, or until the agent has reported it done. Fires that
wait are let go one at a time: each holds the turn from the moment when the run before it ends, until its own has ended.
"""

from dataclasses import dataclass, replace

from app.schedules.verdicts import Buffer, GiveUp, Ring, Skip, Verdict

__all__ = ["Tally", "after", "decide"]


@dataclass(frozen=True, slots=True)
class Tally:
    """What a schedule has under way: runs and the fire whose turn it is, fires of its own slots that wait, and others
    that wait; and how many of its own slots have fired."""

    outstanding: int = 0
    buffered: int = 0
    backfill_buffered: int = 0
    fired: int = 0

    @property
    def is_idle(self) -> bool:
        """Whether a fire would find nobody before it."""
        return self.outstanding == 0 and self.is_empty

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return self.buffered == 0 and self.backfill_buffered == 0


def decide(policy: str, tally: Tally, *, is_own: bool, buffer_max: int) -> Verdict:
    """Whether a fire rings, waits or passes, by the policy that it is judged by."""
    if policy == "allow" or tally.is_idle:
        return Ring()
    if policy == "skip":
        return Skip("overlap")
    if not is_own:
        # A backfill is as long as it is: all of it has been counted and accepted.
        return Buffer()
    return Buffer() if tally.buffered < (1 if policy == "buffer_one" else buffer_max) else Skip("buffer_full")


def after(tally: Tally, verdict: Verdict, *, is_own: bool, is_tracked: bool, had_turn: bool) -> Tally:
    """The tally for the next fire of the same schedule."""
    match verdict:
        case Ring():
            began = 1 if is_tracked and not had_turn else 0
            return replace(tally, outstanding=tally.outstanding + began, fired=tally.fired + (1 if is_own else 0))
        case Buffer() if is_own:
            return replace(tally, buffered=tally.buffered + 1)
        case Buffer():
            return replace(tally, backfill_buffered=tally.backfill_buffered + 1)
        case Skip() | GiveUp():
            return replace(tally, outstanding=tally.outstanding - 1) if had_turn else tally
