"""Ports: which are free, and which only this machine reaches."""

import errno
import ipaddress
import socket

from app.local.errors import LocalError
from app.settings import WorkerSettings

LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """A port that nobody listens on at this moment; somebody may before we do."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens on this address. A name other than localhost may be anything."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require_free(host: str, port: int, remedy: str) -> None:
    """Refuse, with a remedy, when something listens on this port already."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        # As servers do: a port that only waits out its old connections is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise LocalError(f"port {port} is in use; {remedy}") from error
            raise LocalError(f"cannot listen on {host}:{port} ({error.strerror}); {remedy}") from error


def require_free_metrics(worker: WorkerSettings) -> None:
    """Refuse, before anything runs, what the worker could not serve its metrics on."""
    if worker.metrics_port is not None:
        remedy = "choose another with TOCSIN_WORKER_METRICS_PORT, where each worker of a machine has its own"
        require_free(worker.metrics_host, worker.metrics_port, remedy)
