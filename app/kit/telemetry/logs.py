"""Log lines: ours and those of the libraries, through one renderer, to standard error."""

import logging
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import orjson
import structlog

LogFormat = Literal["text", "json"]
AttemptLog = Literal["all", "failures", "none"]

_handler: logging.StreamHandler[Any] | None = None
_format: LogFormat = "text"
_attempts: AttemptLog = "none"


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger that carries the module's name. Keyword arguments become fields; never pass a secret."""
    return structlog.stdlib.get_logger(name)


def configure(log_format: LogFormat, level: str, attempts: AttemptLog = "all") -> None:
    """Send our log lines and those of the libraries through one renderer to standard error. Call once a process."""
    global _handler, _format, _attempts
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _with_moments,
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
    _handler, _format = handler, log_format
    _attempts = attempts if level in ("debug", "info") else "none"
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    # Some of them write URLs, and with them the keys of chains' providers.
    for chatty in ("httpx", "httpcore", "websockets", "asyncio", "uvicorn.access", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # Warns of wakes that expired before a worker was there to hear them. What they were for is found by its sweep.
    logging.getLogger("arq").setLevel(logging.ERROR)


def attempts_logged() -> AttemptLog:
    """Which attempts get a line: none of them before `configure`, and where the level is above theirs."""
    return _attempts


def lines(name: str, event: str, now: datetime, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a line for each of these rows, none of them empty, as `logger(name).info(event, **row)` would one by one.

    For what happens thousands of times a second: a line costs a few microseconds here, and a hundred there.
    """
    if _handler is None:
        return
    stamp = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if _format == "json":
        # What all lines begin with is written once, and each row goes on where it ends.
        head = orjson.dumps({"event": event, "level": "info", "logger": name, "timestamp": stamp})[:-1] + b","
        text = b"".join([head + orjson.dumps(row, default=_moment, option=_json)[1:] for row in rows]).decode()
    else:
        begin = f"{stamp} [info     ] {event:<30} [{name}] "
        text = "".join([f"{begin}{_text(row)}\n" for row in rows])
    _handler.acquire()
    try:
        _handler.stream.write(text)
        _handler.flush()
    finally:
        _handler.release()


_json = orjson.OPT_APPEND_NEWLINE | orjson.OPT_PASSTHROUGH_DATETIME


def _text(row: Mapping[str, Any]) -> str:
    return " ".join([f"{k}={_word(v)}" for k, v in row.items()])


def _word(value: object) -> str:
    if type(value) is str:
        return repr(value) if " " in value else value
    return _moment(value) if isinstance(value, datetime) else str(value)


def _moment(at: object) -> str:
    """RFC 3339 in UTC, as the line's own timestamp is."""
    if not isinstance(at, datetime):
        raise TypeError(f"a line holds no {type(at).__name__}")
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _with_moments(logger: object, method: str, fields: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {name: _moment(value) if isinstance(value, datetime) else value for name, value in fields.items()}


def _renderers(log_format: LogFormat) -> list[structlog.typing.Processor]:
    remove_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    if log_format == "json":
        return [remove_meta, structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    # Plain tracebacks: the pretty ones show local variables, and with them passwords and secrets.
    plain = structlog.dev.plain_traceback
    return [remove_meta, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
