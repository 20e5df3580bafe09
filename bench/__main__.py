"""`make bench`: measures, prints a table beside the baselines, and says on what machine."""

import os
import platform
from collections.abc import Sequence

from bench import deliveries, fires
from bench.stage import stage


def main() -> None:
    """Everything, one after the other; the bare loop again and again, because a machine has moods."""
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}")
    print(f"load before: {os.getloadavg()[0]:.1f}\n", flush=True)
    with stage() as on:
        throughput(on)
        deliveries.forget(on)
        commits, latencies = deliveries.open_loop(on)
        each = f"at {deliveries.open_loop_per_second}/s"
        show(f"publish, one commit, {each}", commits)
        show(f"accepted to received, {each}", latencies)
        lateness(on)
    line("verify a signed request", f"{deliveries.verification_cost():.0f} us CPU")


def throughput(on: deliveries.Stage) -> None:
    """Deliveries a second, between two runs of the bare loop."""
    before = deliveries.bare_per_second(on)
    line("bare aiohttp loop, before", f"{before:.0f}/s")
    engine = deliveries.engine_per_second(on)
    line("deliveries, one worker process", f"{engine:.0f}/s")
    after = deliveries.bare_per_second(on)
    line("bare aiohttp loop, after", f"{after:.0f}/s")
    plain = deliveries.plain_per_second(on)
    line("one arq job, one httpx post", f"{plain:.0f}/s")
    line(
        "the worker is at",
        f"{engine / ((before + after) / 2):.0%} of the bare loop, {engine / plain:.1f}x the plain way",
    )


def lateness(on: deliveries.Stage) -> None:
    """How late fires are, at a steady rate and in a herd."""
    steady = fires.steady(on)
    show(f"fires at {fires.steady_per_second}/s, handed over", steady.handed_over)
    show(f"fires at {fires.steady_per_second}/s, request sent", steady.begun)
    herd = fires.herd(on)
    line(f"{fires.herd_count} fires at once", f"the last handed over after {max(herd.handed_over):.0f} ms")
    line("fires before their time", f"{steady.early + herd.early}")


def show(what: str, milliseconds: Sequence[float]) -> None:
    line(what, ", ".join(f"{name} {value:.1f} ms" for name, value in deliveries.spread(milliseconds).items()))


def line(what: str, measured: str) -> None:
    print(f"{what:36} {measured}", flush=True)


if __name__ == "__main__":
    main()
