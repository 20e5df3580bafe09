"""Handing a fire over: the rule."""

from dataclasses import dataclass
from datetime import datetime

from app.kit import limits
from app.schedules.overlap import Tally, decide
from app.schedules.verdicts import Buffer, GiveUp, Ring, Skip, Verdict

__all__ = ["Buffer", "GiveUp", "Ring", "Ripe", "Skip", "Verdict", "judge"]


@dataclass(frozen=True, slots=True)
class Ripe:
    """A fire that we hold and whose time has come, with its schedule as it is now (None: there is none any more)."""

    id: str
    attempts: int
    agent_id: str
    schedule_id: str
    kind: str
    planned_version: int
    scheduled_at: datetime
    fire_at: datetime
    run: int | None
    previous: datetime | None
    overlap: str
    # The run before it has ended, and it was let go: it counts as outstanding already.
    has_turn: bool
    chosen_id: str | None
    version: int | None
    state: str | None
    next_fire: datetime | None
    endpoint_id: str | None
    spec: str | None
    starts_at: datetime | None
    ends_at: datetime | None
    payload: str | None
    schedule_overlap: str | None
    buffer_max: int | None
    max_fires: int | None
    fired: int | None

    @property
    def is_own(self) -> bool:
        """Whether it is a slot of the schedule itself, and neither triggered by hand nor backfilled."""
        return self.kind == "auto"

    @property
    def policy(self) -> str:
        """The overlap policy that it is judged by."""
        return (self.schedule_overlap or "allow") if self.is_own else self.overlap

    @property
    def is_tracked(self) -> bool:
        """Whether its run is outstanding to others: they wait for it, or it has waited for them."""
        return self.has_turn or self.overlap != "allow" or self.schedule_overlap not in ("allow", None)

    @property
    def is_guarded(self) -> bool:
        """Whether it may be judged only under the lock of its schedule: more than the fire itself changes with it."""
        ends = self.is_own and (self.max_fires is not None or self.next_fire is None)
        return self.version is not None and (self.is_tracked or ends)

    @property
    def is_ahead(self) -> bool:
        """Whether it was carried along by a change that committed while we waited for its lock, so that its schedule
        was still read as it had been before."""
        return self.version is not None and self.planned_version > self.version


def judge(fire: Ripe, tally: Tally) -> Verdict:
    """What to do with a fire whose time has come. The tally is of its schedule, up to and without this fire."""
    if fire.version is None:
        return Skip("deleted")
    if fire.is_own and fire.state == "paused":
        return Skip("paused")
    if fire.is_own and fire.version != fire.planned_version:
        return Skip("changed")
    if fire.endpoint_id is None:
        return Skip("endpoint_deleted")
    if fire.attempts > limits.fire_takeovers_max:
        return GiveUp(f"{limits.fire_takeovers_max} workers in a row stopped while they held it")
    if fire.is_own and fire.max_fires is not None and tally.fired >= fire.max_fires:
        return Skip("max_fires")
    if fire.has_turn:
        return Ring()
    return decide(fire.policy, tally, is_own=fire.is_own, buffer_max=fire.buffer_max or limits.buffer_fires_default)
