"""A client that was written from docs/protocol/ alone works with a real relay; it shares no code with us."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.conftest import StartRelay
from tests.acceptance.relays import Account, environment

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("relay")]

FOLDER = Path(__file__).parent / "independent"
# The one that `make` installs beside Python, or the machine's own.
NODE = shutil.which("node", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}") or "node"
LIBRARIES = {"http_message_signatures", "standardwebhooks", "httpx", "cryptography"}


def test_it_registers_schedules_and_verifies_the_ring(start: StartRelay, home: Path) -> None:
    relay = start([sys.executable, "-m", "app.cli", "up"], Account("us")).wait_until_up()

    agent = _run([sys.executable, "-I", FOLDER / "agent.py", relay.url], home)
    assert agent.returncode == 0, agent.stderr + relay.output

    node = _run([NODE, FOLDER / "verify.mjs"], home, agent.stdout)
    assert node.returncode == 0, node.stderr
    assert json.loads(node.stdout)["data"]["payload"] == {"say": "good morning"}

    forged = json.dumps({**json.loads(agent.stdout), "body": "{}"})
    assert _run([NODE, FOLDER / "verify.mjs"], home, forged).returncode != 0


@pytest.mark.parametrize("program", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_it_imports_nothing_of_ours(program: Path) -> None:
    roots = set[str]()
    for node in ast.walk(ast.parse(program.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            roots |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            roots.add((node.module or "").partition(".")[0])
    assert roots - sys.stdlib_module_names <= LIBRARIES


def _run(command: list[str | Path], home: Path, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command],
        input=given,
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
