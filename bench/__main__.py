"""`make bench`: runs everything and prints it."""

from bench import deliveries
from bench.stage import stage


def main() -> None:
    with stage() as on:
        bare = deliveries.bare_per_second(on)
        print(f"bare aiohttp loop        {bare:8.0f}/s", flush=True)
        engine = deliveries.engine_per_second(on)
        print(f"deliveries, one worker   {engine:8.0f}/s  {engine / bare:.0%} of the bare loop", flush=True)
        plain = deliveries.plain_per_second(on)
        print(f"one job, one httpx post  {plain:8.0f}/s  the engine is {engine / plain:.1f}x", flush=True)
        bare = deliveries.bare_per_second(on)
        print(f"bare aiohttp loop        {bare:8.0f}/s  {engine / bare:.0%}", flush=True)
        commits, latencies = deliveries.open_loop(on)
        print("publish, one commit     ", deliveries.spread(commits), flush=True)
        print("accepted to received    ", deliveries.spread(latencies), flush=True)


if __name__ == "__main__":
    main()
