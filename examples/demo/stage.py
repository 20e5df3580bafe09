"""What the demo plays on: real processes, all on this machine, in a home that is gone afterwards."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from examples.devchain import DevChain, Token, payments_chain_id, payments_network

price = "$0.001"
# The operator is paid here: the last but one of the accounts that every anvil has.
PAY_TO = "0x23618e81E3f5cdF7f54C3d65f7FBc0aBf5B21E8f"

up_seconds_max = 45.0
stop_seconds_max = 20.0
# What the relay says while it starts that is worth repeating.
progress = ("takes connections", "brought the database", "runs as process")


class StageError(Exception):
    """A process did not do what the demo stands on."""


@dataclass(frozen=True)
class Stage:
    """Where everything is."""

    home: Path
    chain: DevChain
    token: Token
    relay: "Relay"


@dataclass
class Relay:
    """`tocsin up` as a process, with its output in a file."""

    url: str
    process: subprocess.Popen[bytes]
    output: Path

    def said(self) -> str:
        return self.output.read_text(errors="replace")

    def stop(self) -> int:
        """What Ctrl-C does. Returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(stop_seconds_max)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


@asynccontextmanager
async def stage(tell: Callable[[str, str], None]) -> AsyncGenerator[Stage]:
    """A chain with a dollar token, a facilitator that settles payments on it, and a relay that watches and sells.

    `tell` is called with who has started, and how they say so.
    """
    with tempfile.TemporaryDirectory(prefix="tocsin-demo-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        # Postgres refuses to run as root, so it may run as somebody who has to find its folder.
        home.chmod(0o755)
        async with DevChain.start(chain_id=payments_chain_id) as chain:
            token = await Token.plant(chain)
            tell("chain", f"a private chain mines at {chain.url}, with a dollar token")
            port = _free_port()
            facilitated, relayed = _facilitator(chain.url, port), _relay(home, chain.url, f"http://127.0.0.1:{port}")
            with facilitated as facilitator, relayed as relay:
                _wait_until_up(relay, tell)
                tell("chain", _announced(facilitator))
                yield Stage(home, chain, token, relay)


@contextmanager
def _facilitator(rpc: str, port: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "app.payments.facilitator", "--rpc", rpc, "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def _announced(facilitator: subprocess.Popen[str]) -> str:
    assert facilitator.stdout is not None
    line = facilitator.stdout.readline().strip()
    if not line:
        raise StageError("the facilitator did not start")
    return f"a {line}"


@contextmanager
def _relay(home: Path, rpc: str, facilitator: str) -> Iterator[Relay]:
    port, output = _free_port(), home / "relay.log"
    command = [sys.executable, "-m", "app.cli", "up", "--port", str(port), "--home", str(home / "relay")]
    with output.open("wb") as log:
        process = subprocess.Popen(
            command,
            env=_environment(rpc, facilitator),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    relay = Relay(f"http://127.0.0.1:{port}", process, output)
    try:
        yield relay
    finally:
        relay.stop()


def _wait_until_up(relay: Relay, tell: Callable[[str, str], None]) -> None:
    ends_at, told = time.monotonic() + up_seconds_max, 0
    while not ("Tocsin is up" in relay.said() and "the worker listens" in relay.said()):
        if relay.process.poll() is not None:
            raise StageError(f"the relay ended with exit code {relay.process.returncode}:\n{relay.said()}")
        if time.monotonic() > ends_at:
            raise StageError(f"the relay was not up after {up_seconds_max:g} s:\n{relay.said()}")
        lines = [line for line in relay.said().split("\n")[:-1] if any(sign in line for sign in progress)]
        for line in lines[told:]:
            tell("relay", line)
        told = len(lines)
        time.sleep(0.05)


def _environment(rpc: str, facilitator: str) -> Mapping[str, str]:
    """Nothing of the caller's own relay, and the settings of this one."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
    return kept | {
        "TOCSIN_CHAINS": json.dumps({payments_network: {"rpc_url": rpc, "poll_seconds": 0.25}}),
        "TOCSIN_PRICES": json.dumps({"POST /v1/schedules": price}),
        "TOCSIN_PAYMENTS_PAY_TO": PAY_TO,
        "TOCSIN_PAYMENTS_NETWORK": payments_network,
        "TOCSIN_PAYMENTS_FACILITATOR": facilitator,
        "TOCSIN_PAYMENTS_RPC_URL": rpc,
        "PYTHONUNBUFFERED": "1",
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
