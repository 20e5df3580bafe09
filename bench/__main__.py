"""`make bench`: measures, prints what came of it beside the baselines, and says on what machine.

`python -m bench fires herd` runs these parts only.
"""

import argparse
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import psutil

from app.kit import telemetry
from bench import (
    backlog,
    blocks,
    deliveries,
    dormant,
    evaluation,
    fires,
    isolation,
    matching,
    open_loop,
    plain,
    publishing,
    streams,
    watching,
)
from bench.stage import Stage, stage


@dataclass(frozen=True)
class Part:
    """A measurement that prints its figures: on a stage of its own, with that many workers."""

    about: str
    run: Callable[[Stage, int], None]


PARTS: Mapping[str, Part] = {
    "fires": Part("lateness of 1,000 fires a second, for a minute", fires.report_steady),
    "herd": Part("10,000 hourly schedules that fire at one instant", fires.report_herd),
    "instants": Part("10,000 schedules of one single instant", fires.report_instants),
    "plain": Part("lateness of arq's own delayed jobs, the plain way", plain.report_plain),
    "dormant": Part("what a million schedules that are not due cost an idle planner", dormant.report_idle),
    "evaluation": Part("next times of a cron text beside cronsim and croniter", evaluation.report_speed),
    "deliveries": Part("deliveries a second, beside the bare loop and the plain way", deliveries.report_throughput),
    "open-loop": Part(
        "200 publishes a second: each commit, and from there to the receiver", open_loop.report_open_loop
    ),
    "publishing": Part("a signed POST /v1/messages, beside an insert", publishing.report_publishing),
    "isolation": Part("what a dead and a slow endpoint cost the other 98", isolation.report_isolation),
    "backlog": Part("100,000 deliveries that are due at once, and the worker's memory", backlog.report_backlog),
    "blocks": Part("a block of 300 receipts checked, beside pyrlp and py-trie", blocks.report_blocks),
    "matching": Part("750 logs asked of 100,000 filters, beside a linear scan", matching.report_matching),
    "watching": Part("from a block to 1,000 webhooks, beside 1,000 pollers", watching.report_latency),
    "streams": Part("what 1,000 open streams cost that have nothing to say", streams.report_idle),
    "verification": Part("the CPU that a signed request costs before anything else", deliveries.report_verification),
}


def main() -> None:
    asked = _arguments()
    telemetry.configure("text", "error")
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}")
    for name in asked.parts or PARTS:
        print(f"\n{name}: {PARTS[name].about} (load before: {os.getloadavg()[0]:.1f})", flush=True)
        before = psutil.cpu_times()
        with stage() as on:
            PARTS[name].run(on, asked.workers)
        _tell_of_host(before, psutil.cpu_times())


def _tell_of_host(before: Any, after: Any) -> None:
    """On a virtual machine: how much of the processors its host gave to others meanwhile."""
    if hasattr(after, "steal"):
        share = (after.steal - before.steal) / (sum(after) - sum(before))
        print(f"(meanwhile the host gave {share:.1%} of the processors to others)", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure the relay beside baselines, on real servers in a temporary home.",
        epilog="\n".join(f"  {name:14} {part.about}" for name, part in PARTS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", choices=[[], *PARTS], help="which (all of them if none)")
    parser.add_argument("--workers", type=int, default=1, help="worker processes that fire and deliver (default: 1)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
