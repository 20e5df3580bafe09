"""Requests leave by two files only: one for strangers' URLs, one for the operator's own."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
WAYS_OUT = {"app/kit/outbound.py", "app/kit/operator_http.py"}
# The process tree asks its own child whether it is ready.
LOCAL = {"app/local/program.py"}
CLIENTS = {"AsyncClient", "Client", "ClientSession", "urlopen", "HTTPConnection", "HTTPSConnection"}


def _makes_a_client(tree: ast.AST) -> bool:
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    named = (getattr(call, "attr", getattr(call, "id", "")) for call in calls)
    return bool(CLIENTS & set(named))


def test_http_clients_are_made_by_the_two_ways_out_only() -> None:
    sources = [path for folder in ("app", "workers") for path in (ROOT / folder).rglob("*.py")]
    makers = {str(path.relative_to(ROOT)) for path in sources if _makes_a_client(ast.parse(path.read_text()))}
    assert makers == WAYS_OUT | LOCAL
