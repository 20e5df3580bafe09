"""With payments off, nothing of the x402 SDK is loaded, and two files are all that ever load it."""

import subprocess
import sys
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[2]

# Everything that a process loads to serve, without a price.
_EVERYTHING = """
import sys
from app import main, operations, services, tables
import app.payments.opening, app.payments.service, app.payments.routes
from workers import main
loaded = {name.partition(".")[0] for name in sys.modules}
print(*sorted(loaded & {"x402", "web3", "eth_account", "requests"}))
"""


def test_nothing_imports_the_sdk_until_something_has_a_price() -> None:
    python = subprocess.run([sys.executable, "-c", _EVERYTHING], cwd=ROOT, capture_output=True, text=True, check=True)
    assert python.stdout.strip() == ""


def test_two_files_import_the_sdk() -> None:
    graph = grimp.build_graph("app", "workers", "tocsin", include_external_packages=True, cache_dir=None)
    importers = graph.find_modules_that_directly_import("x402")
    assert importers == {"app.payments.seller", "app.payments.facilitator"}
