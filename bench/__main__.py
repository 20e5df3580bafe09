"""`make bench`: runs everything and prints it."""

from bench import deliveries, fires
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
        late = fires.steady(on)
        print(f"fires at {fires.steady_per_second}/s, handed over ", deliveries.spread(late.handed_over), flush=True)
        print(f"fires at {fires.steady_per_second}/s, request sent", deliveries.spread(late.begun), flush=True)
        herd = fires.herd(on)
        print(f"{fires.herd_count} fires at once, the last after {max(herd.handed_over):.0f} ms", flush=True)
        print(f"fires before their time  {late.early + herd.early:8d}", flush=True)


if __name__ == "__main__":
    main()
