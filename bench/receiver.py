"""A receiver that costs as little as Python allows, in a process of its own: it counts, and takes the time.

It answers 204 to every post; at once, or `--answer-after` so many seconds (inf: never). `GET /taken` tells what
arrived: how many, when the first and the last (CLOCK_MONOTONIC, the same for all processes of a machine), and when each
number `"no":<…>` in a body did, or that of the block which an event is in. What is posted to `/fires` is told by its
fire's id and nominal time, with the wall clock's time of its arrival. `GET /count` only counts.
"""

import argparse
import asyncio
import json
import re
import time
from math import inf
from typing import cast

import uvloop

_NUMBER = re.compile(rb'"no":([0-9]+)')
_BLOCK = re.compile(rb'"block":\{"number":([0-9]+)')
_FIRE = re.compile(rb'"fire_id":"([^"]+)".{0,40}?"scheduled_at":"([^"]+)"')
_THANKS = b"HTTP/1.1 204 No Content\r\n\r\n"


class Taken:
    """What arrived since the last question."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.count, self.first, self.last = 0, 0.0, 0.0
        self.arrivals: list[tuple[int, float]] = []
        self.fires: list[tuple[str, str, float]] = []

    def add(self, body: bytes) -> None:
        now = time.monotonic()
        self.first = self.first or now
        self.last = now
        self.count += 1
        if (number := _NUMBER.search(body) or _BLOCK.search(body)) is not None:
            self.arrivals.append((int(number[1]), now))

    def add_fire(self, body: bytes) -> None:
        now = time.time()
        self.count += 1
        if (fire := _FIRE.search(body)) is not None:
            self.fires.append((fire[1].decode(), fire[2].decode(), now))

    def told(self) -> bytes:
        told = json.dumps(vars(self)).encode()
        self.clear()
        return told


class Conversation(asyncio.Protocol):
    """One connection: requests with Content-Length, answered in order."""

    def __init__(self, taken: Taken, answer_after: float) -> None:
        self._taken = taken
        self._answer_after = answer_after
        self._heard = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._heard += data
        while (end := self._heard.find(b"\r\n\r\n")) >= 0:
            head = self._heard[:end].lower()
            place = head.find(b"content-length:")
            length = int(head[place + 15 :].split(b"\r\n", 1)[0]) if place >= 0 else 0
            if len(self._heard) < end + 4 + length:
                return
            body, self._heard = self._heard[end + 4 : end + 4 + length], self._heard[end + 4 + length :]
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"get /count"):
            self._tell(b"%d" % self._taken.count)
        elif head.startswith(b"get /taken"):
            self._tell(self._taken.told())
        else:
            # Timed before it is answered: what follows is not the sender's lateness.
            self._taken.add_fire(body) if head.startswith(b"post /fires") else self._taken.add(body)
            self._thank()

    def _thank(self) -> None:
        if self._answer_after == 0:
            self._transport.write(_THANKS)
        elif self._answer_after < inf:
            asyncio.get_running_loop().call_later(self._answer_after, self._transport.write, _THANKS)

    def _tell(self, told: bytes) -> None:
        self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(told), told))


async def serve(answer_after: float) -> None:
    taken = Taken()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Conversation(taken, answer_after), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--answer-after", type=float, default=0, help="seconds; inf: never")
    uvloop.run(serve(parser.parse_args().answer_after))
