"""Many stories, on every core: `python -m tests.simulation --cases 20000`, or `--seed 18` to tell one again."""

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from app.local import migrations
from app.local.postgres import Postgres
from app.local.watchdog import Watchdog
from tests.simulation.crew import take_database, tell_each
from tests.simulation.telling import Told

stories_a_batch = 5
seconds_between_lines = 10.0


def main() -> int:
    """Tell stories until there were enough cases. Returns 1 when one of them went wrong."""
    asked = _asked()
    with tempfile.TemporaryDirectory(prefix="tocsin-simulation-") as home, closing(Watchdog()) as watchdog:
        postgres = Postgres.start(Path(home), durable=False, watchdog=watchdog)
        try:
            return _run(postgres, asked)
        finally:
            postgres.stop()


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000, help="how many schedules' histories (default: 20000)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="default: as many as cores")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--seed", type=int, help="tell the story of this seed and no other")
    return parser.parse_args()


@dataclass
class _Tally:
    cases: int = 0
    stories: int = 0
    failed: int = 0
    started: float = 0.0

    def add(self, told: list[Told]) -> None:
        self.cases += sum(each.schedules for each in told)
        self.stories += len(told)
        self.failed += sum(each.complaint is not None for each in told)

    def __str__(self) -> str:
        seconds = time.monotonic() - self.started
        return (
            f"{self.cases:,} cases in {self.stories:,} stories, {self.failed} against the law; "
            f"{seconds:.0f} s, {self.cases / max(seconds, 0.001):.0f} a second"
        )


def _run(postgres: Postgres, asked: argparse.Namespace) -> int:
    processes = 1 if asked.seed is not None else asked.processes
    urls = multiprocessing.get_context("spawn").Queue()
    for number in range(processes):
        url = postgres.url_of(f"simulation_{number}")
        migrations.migrate(url)
        urls.put(url)
    tally = _Tally(started=time.monotonic())
    with ProcessPoolExecutor(
        processes, mp_context=multiprocessing.get_context("spawn"), initializer=take_database, initargs=(urls,)
    ) as pool:
        if asked.seed is not None:
            _report(tally, pool.submit(tell_each, [asked.seed]).result())
        else:
            _tell_until(pool, processes, tally, asked)
    print(f"journal law: {tally}", flush=True)
    return 1 if tally.failed else 0


def _tell_until(pool: ProcessPoolExecutor, processes: int, tally: _Tally, asked: argparse.Namespace) -> None:
    """Keep every process busy until there were enough cases, or one went wrong."""
    batches = _batches(asked.first)
    running = {pool.submit(tell_each, next(batches)) for _ in range(2 * processes)}
    said = tally.started
    while running:
        done: Future[list[Told]] = next(as_completed(running))
        running.discard(done)
        _report(tally, done.result())
        if tally.cases < asked.cases and not tally.failed:
            running.add(pool.submit(tell_each, next(batches)))
        if time.monotonic() - said > seconds_between_lines:
            said = time.monotonic()
            print(f"  {tally}", flush=True)


def _batches(first: int) -> Iterator[list[int]]:
    return (list(range(start, start + stories_a_batch)) for start in count(first, stories_a_batch))


def _report(tally: _Tally, told: list[Told]) -> None:
    tally.add(told)
    for each in told:
        if each.complaint is not None:
            print(f"{each}\nTell it again: python -m tests.simulation --seed {each.story.seed}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
