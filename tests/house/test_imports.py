"""Who may import whom, and who may touch the outside."""

import ast
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
OUTSIDE = {"sqlmodel", "sqlalchemy", "psycopg", "starlette", "httpx", "aiohttp", "arq", "redis", "websockets"}
NO_FEATURE = {"app.kit", "app.local", "app.discovery", "app.console"}
# What a feature folder may hold beside its rules. Every other file in it decides, and reaches nothing outside.
ROLES = {"models", "store", "service", "routes"}
ACTORS = {
    "app.deliveries.challenger",
    "app.deliveries.conclusions",
    "app.deliveries.archive",
    "app.deliveries.courier",
    "app.deliveries.ending",
    "app.deliveries.endpoints",
    "app.deliveries.flights",
    "app.deliveries.history",
    "app.deliveries.landings",
    "app.deliveries.lane_book",
    "app.deliveries.notices",
    "app.deliveries.order",
    "app.deliveries.partitions",
    "app.deliveries.recoveries",
    "app.deliveries.register",
    "app.deliveries.relay_key",
    "app.deliveries.resealing",
    "app.deliveries.retention",
    "app.deliveries.rounds",
    "app.deliveries.sending",
    "app.deliveries.standing",
    "app.deliveries.watching",
    "app.deliveries.spans",
    "app.payments.chain",
    "app.payments.facilitator",
    "app.payments.gate",
    "app.payments.opening",
    "app.payments.seller",
    "app.schedules.backfills",
    "app.schedules.found",
    "app.schedules.journal",
    "app.schedules.lifecycle",
    "app.schedules.register",
    "app.schedules.shown",
    "app.schedules.fires",
    "app.schedules.handover",
    "app.schedules.ring",
    "app.schedules.runs",
    "app.schedules.timekeeper",
    "app.schedules.turns",
    "app.schedules.upkeep",
    "app.schedules.versions",
    "app.subscriptions.feed_store",
    "app.subscriptions.feeding",
    "app.subscriptions.forgetting",
    "app.subscriptions.streams",
    "app.subscriptions.inbox_book",
    "app.subscriptions.inboxes",
    "app.subscriptions.tail",
    "app.watchers.backfill",
    "app.watchers.chains",
    "app.watchers.documents",
    "app.watchers.fetching",
    "app.watchers.heads",
    "app.watchers.jsonrpc",
    "app.watchers.opening",
    "app.watchers.providers",
    "app.watchers.rpc",
}
PURE_ELSEWHERE = {
    "app.kit.addresses",
    "app.kit.headers",
    "app.kit.ids",
    "app.kit.limits",
    "app.kit.sealing",
    "app.kit.urls",
    "tocsin.keys",
    "tocsin.problems",
    "tocsin.proofs",
    "tocsin.recurrence",
    "tocsin.signatures",
    "tocsin.webhooks",
}


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("app", "workers", "migrations", "tocsin", include_external_packages=True, cache_dir=None)


def test_the_import_contracts_hold() -> None:
    lint = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command; lint_imports_command()",
            "--no-cache",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert lint.returncode == 0, lint.stdout + lint.stderr


def test_rules_reach_nothing_outside(graph: grimp.ImportGraph) -> None:
    touched = [
        f"{module} reaches {library}"
        for module in sorted(_rules(graph) | (PURE_ELSEWHERE & graph.modules))
        for library in sorted(_roots(graph.find_upstream_modules(module)) & OUTSIDE)
    ]
    assert touched == [], "a file that acts is named in ACTORS; one that decides imports nothing that acts"


def test_only_the_settings_read_the_environment() -> None:
    readers = {
        str(path.relative_to(ROOT))
        for folder in ("app", "workers", "migrations")
        for path in (ROOT / folder).rglob("*.py")
        if _reads_environment(ast.parse(path.read_text()))
    }
    assert readers <= {"app/settings.py"}


def _rules(graph: grimp.ImportGraph) -> set[str]:
    features = graph.find_children("app") - NO_FEATURE
    return {
        module
        for feature in features
        for module in graph.find_children(feature)
        if module.rpartition(".")[2] not in ROLES and module not in ACTORS
    }


def _roots(modules: set[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules}


def _reads_environment(tree: ast.Module) -> bool:
    return any(
        (isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv"))
        or (isinstance(node, ast.ImportFrom) and node.module == "os" and {"environ", "getenv"} & _names(node))
        for node in ast.walk(tree)
    )


def _names(node: ast.ImportFrom) -> set[str]:
    return {alias.name for alias in node.names}
