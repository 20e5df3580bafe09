"""What operators see: one wide log line a step, and metrics at `/metrics`."""

import logging
import sys
from typing import Literal

import structlog
from prometheus_client import Counter, Gauge, Histogram

LogFormat = Literal["text", "json"]

requests = Counter("tocsin_requests", "Requests answered, by operation and status.", ["operation", "status"])
request_seconds = Histogram(
    "tocsin_request_seconds",
    "From the first byte of a request to its answer, by operation.",
    ["operation"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
fire_lateness_seconds = Histogram(
    "tocsin_fire_lateness_seconds",
    "From the time of a fire, its slot's and its share of jitter, until it was handed over, committed.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600),
)
fires_skipped = Counter("tocsin_fires_skipped", "Entries of journals that do not fire, by reason.", ["reason"])
fires_given_up = Counter("tocsin_fires_given_up", "Fires whose delivery, or hand-over, was given up.")
schedules_overdue = Gauge(
    "tocsin_schedules_overdue", "Schedules with a slot that has passed and is not in the journal; should be 0."
)
wakes_lost = Counter("tocsin_wakes_lost", "Wakes that did not reach Valkey; the sweep found the work.", ["feature"])


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger that carries the module's name. Keyword arguments become fields; never pass a secret."""
    return structlog.stdlib.get_logger(name)


def configure(log_format: LogFormat, level: str) -> None:
    """Send our log lines and those of the libraries through one renderer to standard error. Call once a process."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(processors=_renderers(log_format), foreign_pre_chain=shared)
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for chatty in ("httpx", "httpcore", "arq", "asyncio", "uvicorn.access", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _renderers(log_format: LogFormat) -> list[structlog.typing.Processor]:
    remove_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    if log_format == "json":
        return [remove_meta, structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    # Plain tracebacks: the pretty ones show local variables, and with them passwords and secrets.
    plain = structlog.dev.plain_traceback
    return [remove_meta, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
