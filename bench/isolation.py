"""What a dead endpoint and a slow one cost the others: the same open loop with and without them, by turns."""

from collections.abc import Sequence
from math import inf

from bench import report
from bench.open_loop import per_second, published
from bench.stage import Stage

endpoints_count = 100


def report_isolation(on: Stage, workers: int) -> None:
    """Print how long deliveries to 98 endpoints take while two others are well, and while they are dead and slow."""
    well, dead, slow = on.receiver, on.start_receiver(inf), on.start_receiver(5)
    without = [well] * endpoints_count
    beside = [*[well] * (endpoints_count - 2), dead, slow]
    # In this order, what a machine does by and by in these minutes is done to both alike.
    turns = {"a": without, "b": beside, "c": beside, "d": without}
    took = {turn: _accepted_to_received(on, urls, turn) for turn, urls in turns.items()}
    everyone_well, with_them = [*took["a"], *took["d"]], [*took["b"], *took["c"]]
    report.show(f"98 of 100 endpoints at {per_second}/s, all well", everyone_well)
    report.show("the same 98 beside a dead and a 5 s slow one", with_them)
    raised = report.spread(with_them)["p95"] / report.spread(everyone_well)["p95"] - 1
    report.line("their p95 is raised by", f"{raised:.0%}")


def _accepted_to_received(on: Stage, urls: Sequence[str], turn: str) -> Sequence[float]:
    """Milliseconds from each commit to the receiver, for all endpoints but the last two."""
    arrivals = published(on, urls, turn, unheard=2).arrivals
    report.show(f"  turn {turn}", arrivals)
    return arrivals
