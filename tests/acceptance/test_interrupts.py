"""Ctrl-C at any time of a command: exit code 130, and no traceback."""

import subprocess
import sys

import pytest

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("cli")]

# Reads its code with an interruption at the first import of each of these, as Ctrl-C makes it.
INTERRUPTED = """
import os, signal, sys

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "{module}":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
sys.argv = ["tocsin", "--url", "http://127.0.0.1:1", "me"]
from tocsin.__main__ import main
main()
"""


@pytest.mark.parametrize("module", ["typer", "tocsin.cli.show", "app.cli", "tocsin.auth", "tocsin.client"])
def test_an_interruption_while_code_is_read_ends_quietly(module: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", INTERRUPTED.format(module=module)], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (130, "")
