"""Requests leave by two ways only: one for strangers' URLs, one for the operator's own, with a door for sockets."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
WAYS_OUT = {"app/kit/outbound/pool.py", "app/kit/operator_http.py"}
# The process tree and the doctor ask servers of their own whether they are ready.
LOCAL = {"app/local/program.py", "app/local/reach.py", "app/local/valkey.py"}
CLIENTS = {"AsyncClient", "Client", "ClientSession", "urlopen", "HTTPConnection", "HTTPSConnection"}
# One level below: who opens a connection of its own.
CONNECTING = {
    *("connect_ex", "create_connection", "create_datagram_endpoint", "create_unix_connection", "open_connection"),
    *("open_unix_connection", "sendto", "sock_connect", "sock_sendto", "start_tls"),
}
GUARDED = ROOT / "app/kit/outbound"


def _calls(path: Path) -> set[str]:
    calls = (node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    return {getattr(call, "attr", getattr(call, "id", "")) for call in calls}


def _callers(names: set[str]) -> set[str]:
    sources = [path for folder in ("app", "workers") for path in (ROOT / folder).rglob("*.py")]
    return {str(path.relative_to(ROOT)) for path in sources if names & _calls(path)}


def test_http_clients_and_connections_are_made_by_the_two_ways_out_only() -> None:
    assert _callers(CLIENTS | CONNECTING) == WAYS_OUT | LOCAL


def test_web_sockets_are_opened_by_one_file_only() -> None:
    sources = [path for folder in ("app", "workers") for path in (ROOT / folder).rglob("*.py")]
    importers = {str(path.relative_to(ROOT)) for path in sources if "websockets" in _imported(path)}
    assert importers == {"app/kit/operator_socket.py"}


def _imported(path: Path) -> set[str]:
    tree = ast.walk(ast.parse(path.read_text()))
    modules = [name.name for node in tree if isinstance(node, ast.Import) for name in node.names]
    modules += [node.module or "" for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    return {module.partition(".")[0] for module in modules}


def test_nobody_else_sees_a_socket() -> None:
    # A socket from outside of the pool would be one that nobody vetted.
    makers = {caller for caller in _callers({"socket", "socketpair", "fromfd"}) if caller.startswith("app/kit/")}
    assert makers == {"app/kit/outbound/pool.py", "app/kit/outbound/guard.py"}


def test_what_is_dialled_is_given_by_the_guard() -> None:
    makers = {path.name for path in GUARDED.rglob("*.py") if "Place" in _calls(path)}
    assert makers == {"guard.py"}
