"""Laws of overlapping runs: whatever comes and ends in whatever order, no two of them run at once, and none is lost."""

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from app.schedules.overlap import Tally, after, decide
from app.schedules.verdicts import Buffer, Ring, Skip

policies = st.sampled_from(["skip", "buffer_one", "buffer_all"])
# A slot of the schedule, one of a backfill, or the end of a run.
happenings = st.lists(st.sampled_from(["slot", "backfill", "end"]), max_size=80)


@dataclass
class Model:
    """A schedule as plain lists: who runs, who waits, and who has passed."""

    policy: str
    buffer_max: int
    running: list[int] = field(default_factory=list[int])
    waiting: dict[bool, deque[int]] = field(default_factory=lambda: {True: deque[int](), False: deque[int]()})
    began: list[int] = field(default_factory=list[int])
    passed: list[int] = field(default_factory=list[int])

    @property
    def tally(self) -> Tally:
        return Tally(len(self.running), len(self.waiting[True]), len(self.waiting[False]), len(self.began))

    def come(self, number: int, *, is_own: bool) -> None:
        policy = self.policy if is_own else "buffer_all"
        verdict = decide(policy, self.tally, is_own=is_own, buffer_max=self.buffer_max)
        expected = after(self.tally, verdict, is_own=is_own, is_tracked=True, had_turn=False)
        match verdict:
            case Ring():
                self._begin(number)
            case Buffer():
                self.waiting[is_own].append(number)
            case _:
                self.passed.append(number)
        told = self.tally
        assert (expected.outstanding, expected.buffered, expected.backfill_buffered) == (
            told.outstanding,
            told.buffered,
            told.backfill_buffered,
        )

    def end(self) -> None:
        if self.running:
            self.running.pop()
        following = self.waiting[True] or self.waiting[False]
        if following and not self.running:
            self._begin(following.popleft())

    def _begin(self, number: int) -> None:
        self.running.append(number)
        self.began.append(number)


@given(policy=policies, buffer_max=st.integers(1, 5), happenings=happenings)
def test_one_runs_at_a_time_and_all_others_wait_or_pass(
    policy: str, buffer_max: int, happenings: list[Literal["slot", "backfill", "end"]]
) -> None:
    model = Model(policy, buffer_max)
    own: list[int] = []
    for number, what in enumerate(happenings):
        if what == "end":
            model.end()
        else:
            own += [number] if what == "slot" else []
            model.come(number, is_own=what == "slot")
        assert len(model.running) <= 1
        # Whoever waits waits for a run: nobody is forgotten.
        assert model.tally.is_empty or model.running
        assert len(model.waiting[True]) <= {"skip": 0, "buffer_one": 1, "buffer_all": buffer_max}[policy]
    coming = [number for number, what in enumerate(happenings) if what != "end"]
    waiting = [*model.waiting[True], *model.waiting[False]]
    assert sorted([*model.began, *model.passed, *waiting]) == coming
    # A backfill is never refused, and each of the two keeps its own order.
    assert set(model.passed) <= set(own)
    for kind in (own, [number for number in coming if number not in own]):
        assert [number for number in model.began if number in kind] == sorted(set(model.began) & set(kind))


tallies = st.builds(Tally, st.integers(0, 3), st.integers(0, 9), st.integers(0, 9))


@given(policy=st.sampled_from(["allow", "skip", "buffer_one", "buffer_all"]), tally=tallies, own=st.booleans())
def test_who_finds_nobody_before_it_rings_and_who_allows_overlap_always_does(
    policy: str, tally: Tally, own: bool
) -> None:
    verdict = decide(policy, tally, is_own=own, buffer_max=5)
    assert (verdict == Ring()) == (policy == "allow" or tally.is_idle)


@given(verdict=st.sampled_from([Ring(), Buffer(), Skip("paused")]), tally=tallies, own=st.booleans())
def test_a_turn_is_given_back_only_by_whoever_had_it(verdict: Ring | Buffer | Skip, tally: Tally, own: bool) -> None:
    without = after(tally, verdict, is_own=own, is_tracked=False, had_turn=False)
    assert without.outstanding == tally.outstanding
    with_turn = after(tally, verdict, is_own=own, is_tracked=True, had_turn=True)
    assert with_turn.outstanding == tally.outstanding - (1 if isinstance(verdict, Skip) else 0)
